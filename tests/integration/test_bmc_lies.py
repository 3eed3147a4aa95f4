"""A BMC that refuses, breaks, stalls or lies: every call ends by its deadline, nothing is believed that is not read back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.domain.errors import ConfigError, PermanentDriverError, TransientDriverError
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.redfish import Connection, RedfishBmc
from orchestrator.ports.bmc import BootFrom, MachinePower
from tests.lab import bmc as lab_bmc
from tests.lab import lying_bmc
from tests.lab.bmc import Emulator, Machine, connection
from tests.lab.environment import Lab
from tests.lab.lying_bmc import Liar, Lie

LONG = 120.0
SHORT = 6.0  # enough to ask for the act and to look once; what lies takes all of it
SYSTEM = r"/Systems/[0-9a-f-]{36}$"
RESET = r"ComputerSystem\.Reset$"


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    with lab_bmc.machine(lab, 2) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(bmc_emulator: Emulator) -> Iterator[Liar]:
    with lying_bmc.before(bmc_emulator.url, certificate=bmc_emulator.certificate, key=bmc_emulator.key) as running:
        yield running


@pytest.fixture
def liar(proxy: Liar) -> Iterator[Liar]:
    proxy.asked.clear()
    yield proxy
    proxy.lies.clear()


@pytest.fixture
def bmc(liar: Liar, bmc_emulator: Emulator, machine: Machine) -> RedfishBmc:
    return RedfishBmc(connection(bmc_emulator, machine, url=liar.url))


def resets(liar: Liar) -> int:
    return sum(method == "POST" and path.endswith("ComputerSystem.Reset") for method, path in liar.asked)


def test_a_wrong_password_is_refused_for_good(bmc_emulator: Emulator, machine: Machine) -> None:
    with pytest.raises(PermanentDriverError, match="refuses user or password"):
        RedfishBmc(connection(bmc_emulator, machine, password="wrong")).facts(deadline=LONG)


def test_another_certificate_than_the_pinned_one_is_refused_for_good_and_is_told_no_password(
    liar: Liar, bmc_emulator: Emulator, machine: Machine
) -> None:
    with pytest.raises(PermanentDriverError, match="another certificate"):
        RedfishBmc(connection(bmc_emulator, machine, url=liar.url, certificate_sha256="0" * 64)).facts(deadline=LONG)
    assert liar.asked == []


def test_a_bmc_where_nobody_listens_is_a_transient_error(bmc_emulator: Emulator, machine: Machine) -> None:
    with pytest.raises(TransientDriverError, match="cannot be reached"):
        RedfishBmc(connection(bmc_emulator, machine, url="https://127.0.0.1:9")).facts(deadline=SHORT)


@pytest.mark.parametrize(("url", "why"), [("http://bmc.example", "without TLS"), ("https://bmc.example", "pinned")])
def test_no_password_is_sent_without_tls_and_none_to_a_certificate_that_nobody_has_seen(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Connection(url, user="u", password="p", certificate_sha256="", machine="m1", clock=SystemClock())


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_fault_of_its_own_is_a_transient_error_and_nothing_is_asked_twice(liar: Liar, bmc: RedfishBmc, status: int) -> None:
    liar.lies.append(Lie("POST", RESET, status=status))
    with pytest.raises(TransientDriverError, match=f"HTTP {status}"):
        bmc.turn_on(deadline=LONG)
    assert resets(liar) == 1
    assert bmc.facts(deadline=LONG).power == MachinePower.OFF


def test_an_answer_that_does_not_come_ends_at_the_deadline_and_the_reset_is_not_asked_for_again(
    liar: Liar, bmc: RedfishBmc
) -> None:
    liar.lies.append(Lie("POST", RESET, stall=SHORT + 5, swallow=True))
    began = time.monotonic()
    with pytest.raises(TransientDriverError):
        bmc.turn_on(deadline=SHORT)
    assert time.monotonic() - began < SHORT + 5
    assert resets(liar) == 1


def test_an_answer_that_trickles_in_ends_at_the_deadline(liar: Liar, bmc: RedfishBmc) -> None:
    liar.lies.append(Lie("GET", SYSTEM, drip=True))
    began = time.monotonic()
    with pytest.raises(TransientDriverError, match="did not answer within"):
        bmc.facts(deadline=6.0)
    assert time.monotonic() - began < 12.0


def test_a_reset_that_is_ignored_is_not_taken_for_done(liar: Liar, bmc: RedfishBmc) -> None:
    liar.lies.append(Lie("POST", RESET, swallow=True))
    with pytest.raises(TransientDriverError, match=r"the machine is not on|did not answer"):
        bmc.turn_on(deadline=SHORT)
    assert resets(liar) == 1


def test_one_that_says_on_when_it_is_off_is_never_said_to_be_off(liar: Liar, bmc: RedfishBmc) -> None:
    liar.lies.append(Lie("GET", SYSTEM, rewrite=lambda told: told | {"PowerState": "On"}))
    with pytest.raises(TransientDriverError):
        bmc.turn_off(deadline=SHORT)


def test_one_that_does_not_know_whether_the_machine_is_on_is_asked_again_later(liar: Liar, bmc: RedfishBmc) -> None:
    def forget(told: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in told.items() if key != "PowerState"}

    liar.lies.append(Lie("GET", SYSTEM, rewrite=forget))
    with pytest.raises(TransientDriverError, match="does not say"):
        bmc.facts(deadline=LONG)


def test_a_choice_for_the_next_boot_that_is_not_kept_is_seen(liar: Liar, bmc: RedfishBmc) -> None:
    liar.lies.append(Lie("PATCH", SYSTEM, swallow=True))
    with pytest.raises(TransientDriverError):
        bmc.boot_once(BootFrom.CD, deadline=SHORT)


def test_an_image_that_is_lost_on_the_way_is_not_in_the_drive(liar: Liar, bmc: RedfishBmc) -> None:
    liar.lies.append(Lie("POST", r"VirtualMedia\.InsertMedia$", swallow=True))
    with pytest.raises(TransientDriverError):
        bmc.insert_media("http://127.0.0.1:9/a.iso", deadline=SHORT)
    liar.lies.clear()
    assert bmc.facts(deadline=LONG).media == ""


def test_an_image_that_cannot_be_had_is_not_in_the_drive(bmc: RedfishBmc) -> None:
    with pytest.raises((PermanentDriverError, TransientDriverError)):
        bmc.insert_media("http://127.0.0.1:9/none.iso", deadline=SHORT)
    assert bmc.facts(deadline=LONG).media == ""


def test_what_is_no_redfish_is_a_transient_error(liar: Liar, bmc: RedfishBmc) -> None:
    liar.lies.append(Lie("GET", "/redfish/v1/?$", body=b"<html>starting up</html>"))
    with pytest.raises(TransientDriverError, match="cannot be read"):
        bmc.facts(deadline=LONG)


def test_its_log_is_read_oldest_first_and_dates_that_are_none_are_none(liar: Liar, bmc: RedfishBmc) -> None:
    def with_log(told: dict[str, Any]) -> dict[str, Any]:
        return told | {"LogServices": {"@odata.id": "/redfish/v1/Log"}}

    entries = [
        {"Id": "2", "Created": "2026-11-02T10:00:00+07:00", "Severity": "Critical", "Message": "Fan  lost"},
        {"Id": "1", "Created": "2026-11-01T10:00:00Z", "Severity": "OK", "Message": "Started"},
        {"Id": "0", "Created": "0000-00-00T00:00:00", "Message": "Reset"},
    ]
    liar.lies += [
        Lie("GET", SYSTEM, rewrite=with_log),
        Lie("GET", "/redfish/v1/Log$", body=b'{"Members": [{"@odata.id": "/redfish/v1/Log/Sel"}]}'),
        Lie("GET", "/redfish/v1/Log/Sel$", body=b'{"Entries": {"@odata.id": "/redfish/v1/Log/Sel/Entries"}}'),
        Lie("GET", "/redfish/v1/Log/Sel/Entries$", body=json.dumps({"Members": entries}).encode()),
    ]
    found = bmc.log(deadline=LONG)
    assert [(each.id, each.severity, each.text) for each in found] == [
        ("0", "", "Reset"),
        ("1", "ok", "Started"),
        ("2", "critical", "Fan lost"),
    ]
    assert found[0].at is None
