"""A real hosting node on which something else is broken: nginx's configuration by hand, MariaDB down, a full disk.

A job that cannot be done says what is wrong and where. What it has not reached it calls neither suspended nor wiped, what others
have goes on, and once an operator has mended it the same job goes on to its right end.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from orchestrator.domain.errors import NoCapacity, PermanentDriverError, TransientDriverError
from tests.e2e.tenant import Watcher
from tests.fault.hosting_ground import Ground, still
from tests.fault.strikes import AFTER, BEFORE, BY_HAND, FULL, NO_MARIADB, Order
from tests.hosting_account import Account
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.rare, pytest.mark.timeout(3000)]

UIDS = iter(range(101_400, 101_500))
# At which of a call's programs the disk gets full. What is made has the most files to write, so it is tried at the most of them;
# of the others before anything is done, and amid it: each takes minutes on an emulated node.
FULL_AT = {"account-apply": (1, 3, 5, 8), "account-suspend": (1, 3, 5), "account-unsuspend": (1, 5), "account-pack": (1, 3)}
HALF = r"""
find /etc /var/lib/orchestrator-agent /var/spool/cron /srv/h -xdev \( -name '.*.new' -o -name '*.trial' \) -print
find /etc/nginx/orchestrator /etc/orchestrator/accounts /var/lib/orchestrator-agent/accounts -type f -size 0 -print
find /etc/ssh/sshd_config.d /etc/systemd/system /etc/orchestrator/fpm -type f -size 0 -print
nginx -t -q; sshd -t
"""


@pytest.fixture
def ground(hosting_node: HostingServer, hosting_ground: Ground) -> Iterator[Ground]:
    """Whatever was broken is mended."""
    assert hosting_ground.server is hosting_node
    yield hosting_ground
    hosting_ground.strikes.arm({})
    hosting_ground.strikes.mend_nginx()
    hosting_ground.strikes.make_room()


@pytest.fixture
def account(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    made = Account(ground.server, next(UIDS), path.with_suffix(".pub").read_text().strip())
    yield made
    ground.strikes.arm({})
    ground.strikes.mend_nginx()
    ground.strikes.make_room()
    if made.facts()["service_id"]:
        made.act("account-wipe", job_id="j9")
    made.residue(clean=True)


def workers(ground: Ground) -> str:
    return ground.server.run("pgrep", "nginx", "-u", "www-data")


def test_what_nginx_refuses_is_never_reloaded_and_a_suspension_over_it_is_none(ground: Ground, account: Account) -> None:
    account.apply()
    account.page()
    before, serving = account.facts(), workers(ground)
    ground.strikes.break_nginx()
    with pytest.raises(PermanentDriverError, match=rf"no account's part of it: .*{BY_HAND}:1"):
        account.act("account-suspend", job_id="j2")
    assert (workers(ground), account.facts()["suspended"]) == (serving, False)
    assert account.page().startswith("rows ")
    ground.strikes.mend_nginx()
    account.act("account-suspend", job_id="j2")
    assert {name for name, way in account.ways(cron_seconds=0).items() if way["open"]} == set()
    ground.strikes.break_nginx()
    with pytest.raises(PermanentDriverError, match=BY_HAND):
        account.act("account-unsuspend", job_id="j3")
    ground.strikes.mend_nginx()
    assert account.act("account-unsuspend", job_id="j3")["difference"] == []
    assert still(account.facts()) == still(before)


def test_jobs_over_an_nginx_that_was_broken_by_hand_say_so_and_go_on_when_it_is_mended(ground: Ground) -> None:
    uma, vera, wim = ground.made("uma", "vera", "wim")
    (xenia,) = ground.new("xenia")
    was = ground.facts(uma)
    ground.strikes.break_nginx()
    serving = workers(ground)
    with Watcher(wim) as neighbour:
        asked = [ground.ask(*each) for each in (("provision", xenia), ("suspend", uma), ("terminate", vera))]
        for job_id in asked:
            ended = ground.rest(job_id)
            assert (ended["state"], f"in {BY_HAND}:1" in ended["error"]) == ("needs_operator", True)
    assert neighbour.only_served(), neighbour.answers
    assert (workers(ground), uma.visit() > 0, vera.visit() > 0) == (serving, True, True)
    assert not ground.hosting.service(uma)["suspension_proven_at"]

    ground.strikes.mend_nginx()
    for job_id in asked:
        ground.retry(job_id)
    ground.done(*asked, seconds=900)
    ground.settled(xenia)
    assert (xenia.visit(), ground.facts(xenia)["wiping"]) == (1, False)
    assert (uma.get("/").status, set(ground.ways(uma).values())) == (503, {False})
    assert ground.left(vera) == []
    ground.done(ground.ask("unsuspend", uma))
    assert ground.facts(uma) == was
    assert ground.strays() == []


def test_jobs_without_mariadb_say_so_and_call_nothing_suspended_or_wiped(ground: Ground) -> None:
    ada, bea, cleo, dora = ground.made("ada", "bea", "cleo", "dora")
    (emil,) = ground.new("emil")
    was = ground.facts(cleo)
    ground.done(ground.ask("suspend", cleo))
    ground.strikes.stop_mariadb()
    intents = (("provision", emil), ("suspend", ada), ("unsuspend", cleo), ("change-plan", dora))
    asked = {intent: ground.ask(intent, tenant) for intent, tenant in intents}
    for job_id in asked.values():
        ended = ground.rest(job_id, seconds=900)
        assert ended["state"] in ("failed", "needs_operator")
        assert "Can't connect to local server" in ended["error"]
    assert not ground.hosting.service(ada)["suspension_proven_at"]
    assert cleo.get("/").status == 503
    ground.strikes.start_mariadb()
    assert (ground.facts(ada)["suspended"], ada.visit() > 0) == (False, True)
    for job_id in asked.values():
        ground.retry(job_id)
    ground.done(*asked.values(), seconds=900)
    ground.settled(emil)
    assert emil.visit() == 1
    assert set(ground.ways(ada).values()) == {False}
    assert (ground.facts(cleo), cleo.visit() > 0) == (was, True)
    assert ground.facts(dora)["limits"]["inodes"] == 600

    # In the midst of a wipe: from then on there is no way back, so that it is waited for.
    ground.strikes.arm({"account-wipe": (Order(10, NO_MARIADB),)})
    job_id = ground.ask("terminate", bea)
    ground.hosting.until("MariaDB is stopped", lambda: ground.strikes.struck() != [], seconds=600)
    step = {"error": ""}

    def failed() -> bool:
        step.update(next(each for each in ground.job(job_id)["steps"] if each["id"] == "wipe"))
        return bool(step["error"])

    ground.hosting.until("an attempt fails", failed, seconds=300)
    assert "ERROR 2002" in step["error"]
    assert ground.facts(bea)["wiping"] is True
    ground.strikes.start_mariadb()
    ground.done(job_id, seconds=900)
    assert ground.left(bea) == []
    assert ground.strays() == []


def test_without_mariadb_nothing_is_wiped_and_nothing_counts_as_gone(ground: Ground, account: Account) -> None:
    account.apply()
    ground.strikes.stop_mariadb()
    with pytest.raises(TransientDriverError, match="nothing was removed, because the databases cannot be"):
        account.act("account-wipe", job_id="j4")
    left = account.act("account-residue", uid=account.uid, clean=False)
    assert [each.partition(":")[0] for each in left["unknown"]] == ["databases"]
    ground.strikes.start_mariadb()
    assert (account.facts()["wiping"], account.page().startswith("rows ")) == (False, True)
    assert account.act("account-wipe", job_id="j4")["report"]["databases"] == [f"{account.user}_shop"]
    assert account.residue() == []


def test_databases_that_a_suspension_never_reached_are_no_difference_when_it_is_let_go(ground: Ground, account: Account) -> None:
    account.apply()
    before = still(account.facts())
    ground.strikes.stop_mariadb()
    with pytest.raises(TransientDriverError, match="all but the databases"):
        account.act("account-suspend", job_id="j2")
    ground.strikes.start_mariadb()
    assert account.facts()["suspended"] is False
    assert account.act("account-unsuspend", job_id="j3")["difference"] == []
    assert still(account.facts()) == before


@pytest.mark.parametrize("command", list(FULL_AT))
def test_a_disk_that_is_full_amid_a_call_leaves_nothing_half_written(ground: Ground, account: Account, command: str) -> None:
    """At one program after another the last byte is taken; then there is room again, and the same call ends well."""
    account.apply()
    server, was = ground.server.server, account.facts()
    refused = 0
    for number in FULL_AT[command]:
        if command == "account-unsuspend":
            account.act("account-suspend", job_id="j2")
        if command == "account-apply":
            account.spec["limits"]["tasks"] += 1  # another unit, and something to do
        ground.strikes.arm({command: (Order(number, FULL, AFTER if number > 1 else BEFORE),)})
        try:
            called(account, command)
        except (TransientDriverError, NoCapacity):
            refused += 1
        halves = server.attempt("sh", "-c", HALF)
        assert (halves.stdout.decode(), halves.stderr.decode()) == ("", "")
        ground.strikes.make_room()
        ground.strikes.arm({})
        called(account, command)
        if command == "account-suspend":
            assert account.facts()["suspended"] is True
            account.act("account-unsuspend", job_id="j3")
        assert account.act("account-unpack") == {}
        now = account.facts()
        assert still({**now, "limits": {}}) == still({**was, "limits": {}})
    assert refused > 0
    assert account.apply()["changed"] == []


def called(account: Account, command: str) -> None:
    if command == "account-apply":
        account.apply()
    else:
        account.act(command, job_id="j2")


def test_jobs_on_a_full_disk_say_so_and_end_right_when_there_is_room(ground: Ground) -> None:
    finn, gero = ground.made("finn", "gero")
    (hugo,) = ground.new("hugo")
    ground.strikes.fill()
    asked = {intent: ground.ask(intent, each) for intent, each in (("provision", hugo), ("suspend", finn), ("change-plan", gero))}
    for job_id in asked.values():
        ended = ground.rest(job_id, seconds=900)
        assert ended["state"] in ("failed", "needs_operator")
        assert "No space left on device" in ended["error"]
    halves = ground.server.server.attempt("sh", "-c", HALF)
    assert (halves.stdout.decode(), halves.stderr.decode()) == ("", "")
    ground.strikes.make_room()
    assert (finn.get("/").status, ground.facts(finn)["suspended"]) == (200, False)
    for job_id in asked.values():
        ground.retry(job_id)
    ground.done(*asked.values(), seconds=900)
    ground.settled(hugo)
    assert hugo.visit() == 1
    assert set(ground.ways(finn).values()) == {False}
    assert ground.facts(gero)["limits"]["inodes"] == 600
    assert ground.strays() == []
