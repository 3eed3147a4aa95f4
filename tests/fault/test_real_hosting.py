"""The agent on a real hosting node is killed, or loses its connection, at each of its steps; it is called again, as a job does.

A step begins and ends with one of the node's programs (see ``strikes``). What is there after the last call is what is there after
an undisturbed one. In ``make test`` a few strikes of each command, in the whole matrix at programs all along.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from orchestrator.domain.errors import TransientDriverError
from tests.fault.hosting_ground import Ground, still
from tests.fault.strikes import AFTER, AGENT, BEFORE, CONNECTION, DURING, Order
from tests.hosting_account import Account
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(3000)]

UIDS = iter(range(101_300, 101_400))
MOMENTS = (BEFORE, DURING, AFTER)
STRIDE = 4
FIRST = {AGENT: 1, CONNECTION: 1 + STRIDE // 2}
# Of each command: after its first act, amid the programs, and what comes late.
SAMPLE = {
    "account-apply": (Order(2, AGENT, AFTER), Order(12, CONNECTION, BEFORE)),
    "account-suspend": (Order(5, AGENT, BEFORE), Order(12, CONNECTION, DURING)),
    "account-unsuspend": (Order(4, AGENT, AFTER), Order(11, AGENT, DURING)),
    "account-wipe": (Order(11, AGENT, AFTER), Order(15, CONNECTION, BEFORE)),
}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture
def account(hosting_node: HostingServer, hosting_ground: Ground, key: str) -> Iterator[Account]:
    """One that is not there yet; nothing of it is left afterwards."""
    made = Account(hosting_node, next(UIDS), key)
    yield made
    hosting_ground.strikes.arm({})
    if made.facts()["service_id"]:
        made.act("account-wipe", job_id="j9")
    made.residue(clean=True)


def insist(account: Account, command: str, **more: object) -> tuple[dict[str, Any], int]:
    """Call until it goes well, as a job does; the answer, and how many calls failed."""
    for failed in range(6):
        try:
            if command == "account-apply":
                return account.apply(), failed
            return account.act(command, **more), failed
        except TransientDriverError:
            continue
    raise AssertionError(f"{command} never ended well: {account.facts()}")


def lives(ground: Ground, account: Account, orders: Mapping[str, Sequence[Order]]) -> list[str]:
    """It is made, suspended, let go and wiped, and struck as ordered; each time it is as it is to be. Returns what struck."""
    ground.strikes.arm(orders)
    insist(account, "account-apply")
    made = account.facts()
    again, _ = insist(account, "account-apply")  # the second strike may come as late as in this one
    assert again["changed"] == [], "what was made under strikes is whole"
    assert (made["limits"], made["fpm"], made["wiping"]) == (
        {**account.spec["limits"], "io_bytes_per_second": 0, "iops": 0},
        "active",
        False,
    )
    assert account.page() == f"rows 1 as {account.uid}"

    insist(account, "account-suspend", job_id="j2")
    shut = account.facts()
    assert (shut["suspended"], shut["suspended_by"]) == (True, "j2")
    assert {name for name, way in account.ways(cron_seconds=0).items() if way["open"]} == set()

    answer, _ = insist(account, "account-unsuspend", job_id="j3")
    assert (answer["difference"], still(account.facts())) == ([], still(made))
    assert account.page() != "rows 1"

    insist(account, "account-wipe", job_id="j4")
    assert account.residue() == []
    assert account.facts()["service_id"] == ""
    return ground.strikes.struck()


@pytest.mark.rare
def test_struck_amid_its_steps_and_called_again_all_is_as_if_nothing_had_happened(
    hosting_ground: Ground, account: Account
) -> None:
    struck = lives(hosting_ground, account, SAMPLE)
    assert {line.split()[0] for line in struck} == set(SAMPLE), struck
    assert hosting_ground.strays() == []


@pytest.mark.rare
@pytest.mark.parametrize("what", [AGENT, CONNECTION])
def test_struck_at_programs_all_along_and_called_again_all_is_as_if_nothing_had_happened(
    hosting_ground: Ground, key: str, what: str
) -> None:
    """Each life strikes each command at a program of its own, and the call that goes on once more; the moments and what comes
    between the two strikes are drawn, always the same. A life takes minutes on an emulated node: so it is every other program, by
    turns of the agent and of its connection."""
    drawn, struck, number = random.Random(what), list[str](), FIRST[what]
    while True:
        account = Account(hosting_ground.server, next(UIDS), key)
        orders = {
            name: tuple(Order(at, what, drawn.choice(MOMENTS)) for at in (number, number + drawn.randint(1, number)))
            for name in SAMPLE
        }
        found = lives(hosting_ground, account, orders)
        account.residue(clean=True)
        struck += found
        if not found:  # there are not so many programs
            break
        number += STRIDE
    assert {line.split()[0] for line in struck} == set(SAMPLE), struck
    assert len(struck) > 4 * 3
    assert hosting_ground.strays() == []


@pytest.mark.rare
def test_killed_amid_a_probe_all_that_was_lent_is_taken_back_by_the_next_call(hosting_ground: Ground, account: Account) -> None:
    account.apply()
    before = account.facts()
    secret = account.ground.server.run("getent", "shadow", account.user)
    hosting_ground.strikes.arm({"account-probe": (Order(6, AGENT, DURING),)})
    with pytest.raises(TransientDriverError):
        account.ways(cron_seconds=0)
    assert account.facts()["access"]["keys"] == before["access"]["keys"] + 1, "a key is lent"
    hosting_ground.strikes.arm({})
    assert account.apply()["changed"] == []
    assert still(account.facts()) == still(before)
    assert account.ground.server.run("getent", "shadow", account.user) == secret


@pytest.mark.rare
def test_an_account_that_was_made_again_after_its_removal_had_begun_counts_as_none_that_is_wiped(
    hosting_ground: Ground, account: Account
) -> None:
    """As where a job that makes one fails, is undone half way, and is then retried."""
    account.apply()
    hosting_ground.strikes.arm({"account-wipe": (Order(9, AGENT, AFTER),)})
    with pytest.raises(TransientDriverError):
        account.act("account-wipe", job_id="j1")
    assert account.facts()["wiping"] is True
    account.apply()
    assert account.facts()["wiping"] is False

    hosting_ground.strikes.arm({"account-wipe": (Order(9, AGENT, AFTER),)})
    with pytest.raises(TransientDriverError):
        account.act("account-wipe", job_id="j2")
    with pytest.raises(Exception, match="is being wiped"):
        account.apply()
    assert account.act("account-wipe", job_id="j2")["report"]["residue"] == []


@pytest.mark.rare
def test_what_a_call_that_was_killed_had_half_written_is_found_and_goes_with_the_account(account: Account) -> None:
    account.apply()
    left = [
        f"/etc/orchestrator/accounts/.{account.user}.json.new",
        f"/etc/orchestrator/keys/.{account.user}.new",
        f"/var/spool/cron/crontabs/.{account.user}.new",
        f"/var/lib/orchestrator-agent/accounts/.{account.user}.probe.json.new",
    ]
    account.ground.server.run("touch", *left)
    assert set(left) <= set(account.residue())
    account.act("account-wipe", job_id="j4")
    assert account.residue() == []
    assert account.ground.server.attempt("ls", *left).stdout == b""
