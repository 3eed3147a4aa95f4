"""A machine is enrolled by the command line through the real driver: its BMC's certificate compared, its facts read, differences
named; a guest of the lab behind a Redfish BMC.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.inventory import fingerprint
from orchestrator.store import machines as store
from tests.lab import bmc as lab_bmc
from tests.lab.bmc import USER, Emulator, Machine
from tests.lab.environment import Lab
from tests.live import Live
from tests.machine_words import inspection
from tests.served import Ran, command

pytestmark = pytest.mark.lab
ANOTHER_UUID = "7b1f6f0c-7f2c-4f62-9f4f-5c2a9d3c1e11"
ANOTHER_MAC = "52:54:00:ee:00:7f"


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    with lab_bmc.machine(lab, 3) as made:
        yield made


@pytest.fixture
def racked(bmc_emulator: Emulator, machine: Machine, tmp_path: Path) -> Iterator[Live]:
    secret = tmp_path / "bmc-secret"
    secret.touch(mode=0o600)
    secret.write_text(bmc_emulator.password + "\n", encoding="ascii")
    declared = {"bmc": bmc_emulator.url, "bmc_user": USER, "bmc_secret_file": secret, "bmc_system": bmc_emulator.path(machine)}
    lines = "".join(f"    {key}: {value}\n" for key, value in declared.items())
    head = f"machines:\n  - name: r1\n    zone: z1\n    class: small-1\n    macs: ['{machine.mac}', '{ANOTHER_MAC}']\n"
    twin = f"  - name: r2\n    zone: z1\n    class: small-1\n{lines}".replace(machine.uuid, machine.name)
    live = Live(tmp_path, files={"machines.yaml": head + lines + twin})
    live.start()
    try:
        yield live
    finally:
        live.stop()


def cli(live: Live, *words: str) -> Ran:
    return command("--socket", str(live.socket), "machine", *words)


def test_a_machine_behind_a_real_bmc_is_enrolled_examined_switched_and_free_when_it_was_inspected(
    racked: Live, bmc_emulator: Emulator, machine: Machine, lab: Lab
) -> None:
    """One test: a lab's machine takes its time."""
    ours = fingerprint(bmc_emulator.certificate_sha256)
    _pins_what_was_compared(racked, bmc_emulator, machine, ours)
    _is_examined_and_switched(racked, machine, lab)
    twice = cli(racked, "enrol", "r2", "--fingerprint", ours)
    assert (twice.returncode, "which is enrolled as r1" in twice.stderr) == (3, True), "one machine under two names"
    _is_free_when_it_was_inspected(racked, machine)
    _believes_no_other_certificate(racked)


def _pins_what_was_compared(racked: Live, bmc_emulator: Emulator, machine: Machine, ours: str) -> None:
    shown = cli(racked, "certificate", "r1")
    assert (shown.returncode, ours in shown.stdout, "CN=bmc" in shown.stdout) == (0, True, True), shown
    wrong = cli(racked, "enrol", "r1", "--fingerprint", "AB" * 32)
    assert (wrong.returncode, ours in wrong.stderr) == (3, True), "nothing but what was compared is pinned"
    done = cli(racked, "enrol", "r1", "--fingerprint", ours)
    assert done.returncode == 0, done
    assert f"the BMC tells of machine {machine.uuid}" in done.stdout
    assert f"differs: MAC {ANOTHER_MAC} is declared, and its BMC tells none such" in done.stdout
    assert "not available yet: the deploy image has to look into it" in done.stdout
    record = racked.controller.machines.machine("r1").record
    assert (record.uuid, record.certificate_sha256, record.up) == (machine.uuid, bmc_emulator.certificate_sha256, True)
    assert (record.told["power"], record.told["macs"]) == ("off", [machine.mac])
    assert record.told["memory_bytes"] > 0
    assert record.told["sensors"]


def _is_examined_and_switched(racked: Live, machine: Machine, lab: Lab) -> None:
    found = cli(racked, "doctor", "r1")
    assert found.returncode == 3, "it was not inspected"
    assert [line.split()[1] for line in found.stdout.splitlines() if line.startswith("NOT")] == ["inspected"]
    assert cli(racked, "power", "on", "r1", "--why", "a look").stdout == "r1 is on\n"
    assert "running" in lab_bmc.virsh(lab, "domstate", machine.name)
    assert cli(racked, "power", "off", "r1", "--why", "enough").stdout == "r1 is off\n"
    assert "shut off" in lab_bmc.virsh(lab, "domstate", machine.name)
    assert cli(racked, "log", "r1").returncode == 0


def _is_free_when_it_was_inspected(racked: Live, machine: Machine) -> None:
    nics = [{"name": "ens1", "mac": machine.mac, "link": True}]
    found = inspection(*machine.serials, uuid=machine.uuid, nics=nics, memory_bytes=1 << 30, cpus=1)
    pool = racked.controller.machines
    assert pool.inspected("r1", found | {"uuid": ANOTHER_UUID}).state == "declared"
    assert pool.inspected("r1", found).state == "available"


def _believes_no_other_certificate(racked: Live) -> None:
    with racked.db.write() as conn:
        told = store.get(conn, "r1").told
        store.set_enrolled(conn, "r1", certificate_sha256="cd" * 32, told=told, now=racked.clock.now(), who="test")
    found = cli(racked, "doctor", "r1")
    assert (found.returncode, "if it was renewed: orchestrator machine enrol r1" in found.stdout) == (3, True), found
    assert "another certificate than the one that is pinned" in racked.controller.machines.machine("r1").record.problem
