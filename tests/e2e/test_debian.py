"""The life of one full Debian guest, from its order to its end, seen by its owner through SSH and by its host through virsh.

In the whole matrix it is also restarted and shut down by its owner; and it is lived three times more, and in each life the
controller is killed once in every job: at its beginning, in the middle of its work, and at its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import sight
from tests.e2e.demo import Customer
from tests.e2e.stand import FULL, Stand
from tests.e2e.traces import virsh
from tests.fault.crashing import KILL, Order
from tests.terminal import SECONDS, command_on_a_terminal, shows

pytestmark = pytest.mark.timeout(1500)
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
CALM = "never"
MIDDLE = {
    "provision": "define/during",
    "check": "guest/before",
    "backup": "make/during",
    "stop": "stop/during",
    "start": "start/during",
    "reboot": "reboot/during",
    "suspend": "hold/during",  # not stop: a guest that its owner has shut down is not stopped
    "unsuspend": "release/during",
    "terminate": "wipe/during",
}
# A unit that runs at every boot of the guest, so that its boots can be counted.
COUNTER = (
    r"printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "
    r'"echo booted >>/root/boots"\n'
    r"[Install]\nWantedBy=multi-user.target\n'"
)
COUNTED = "cat /root/boots 2>/dev/null || true"
LOGIN_SECONDS = 300.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Undisturbed always; with kills in the whole matrix."""
    whole = metafunc.config.getoption("--matrix") == "whole"
    metafunc.parametrize("killed", [CALM, *(("begin", "middle", "end") if whole else ())])


class Life:
    """One service whose jobs are disturbed in the same way."""

    def __init__(self, stand: Stand, killed: str) -> None:
        self.stand = stand
        self.killed = killed
        (self.service,) = stand.new()

    def job(self, intent: str, ask: Callable[[], str]) -> dict[str, Any]:
        """Have it done; through a kill and a restart, where this life has them."""
        if self.killed != CALM:
            self.stand.board.arm(self.service, Order(self._point(intent), KILL))
        job_id = ask()
        assert job_id, f"{intent}: billing's word made no job"
        if self.killed != CALM:
            self.stand.dies([self.service], seconds=600)
            self.stand.site.start()
        self.stand.done([job_id], seconds=900)
        job: dict[str, Any] = self.stand.job(job_id)
        return job

    def command(self, intent: str) -> dict[str, Any]:
        return self.job(intent, lambda: self.stand.command(intent, self.service))

    def event(self, intent: str, kind: str, **data: Any) -> dict[str, Any]:
        return self.job(intent, lambda: self.stand.event(kind, self.service, **data))

    def pay(self) -> dict[str, Any]:
        return self.job("unsuspend", lambda: self.stand.pay(self.service))

    def _point(self, intent: str) -> str:
        steps = yaml.safe_load((PLAYBOOKS / f"vps-{intent}.yaml").read_text())["steps"]
        where = {"begin": f"{steps[0]['id']}/before", "middle": MIDDLE[intent], "end": "finish/before"}
        return f"vps-{intent}/{where[self.killed]}"


def test_the_life_of_a_debian_guest(stand: Stand, tmp_path: Path, whole_matrix: bool, killed: str) -> None:
    life, owner = Life(stand, killed), Customer(tmp_path)
    service, name, site = life.service, sight.guest(life.service), stand.site
    key = owner.make_key()
    life.job("provision", lambda: stand.order(service, plan=FULL, ssh_keys=[key]))
    address = sight.address(site, service)

    def inside(command: str, *, seconds: float = LOGIN_SECONDS) -> str:
        return owner.login(address, command, seconds=seconds)

    cpus, memory, disk = inside("nproc; awk '/MemTotal/{print $2*1024}' /proc/meminfo; blockdev --getsize64 /dev/vda").split()
    assert (int(cpus), int(disk)) == (1, 3 << 30)
    assert 0.75 * (512 << 20) < int(memory) <= 512 << 20
    inside(f"{COUNTER} >/etc/systemd/system/count.service && systemctl -q enable count; echo mine >/root/mine; sync")

    def is_suspended() -> None:
        assert (sight.power(service), sight.holds(service)) == ("shut off", ["nonpayment"])
        refused = virsh("start", name)
        assert refused.returncode != 0
        assert "held" in refused.stderr
        assert sight.power(service) == "shut off"
        assert name not in virsh("list", "--all", "--autostart", "--name").stdout.split()

    # Suspended for a while: it comes back as it was.
    life.event("suspend", "service.suspend", version=1, reason="nonpayment")
    is_suspended()
    life.pay()
    assert inside("cat /root/mine") == "mine"
    assert name in virsh("list", "--all", "--autostart", "--name").stdout.split()

    def is_restarted_once() -> None:
        stand.until("the boot after the suspension is counted", lambda: inside(COUNTED) == "booted")
        before = inside("cat /proc/sys/kernel/random/boot_id")
        life.command("reboot")
        stand.until("it booted again", lambda: inside("cat /proc/sys/kernel/random/boot_id") != before, seconds=LOGIN_SECONDS)
        stand.until("and counted it", lambda: inside(COUNTED) != "booted", seconds=LOGIN_SECONDS)
        assert inside(COUNTED).split() == ["booted", "booted"]

    def is_left_off_as_its_owner_shut_it_down() -> None:
        inside("systemctl --no-block poweroff", seconds=10)
        stand.until("its owner's shutdown", lambda: sight.power(service) == "shut off")
        life.event("suspend", "service.suspend", version=2, reason="nonpayment")
        is_suspended()
        life.pay()
        assert (sight.power(service), sight.holds(service)) == ("shut off", [])
        assert name in virsh("list", "--all", "--autostart", "--name").stdout.split()

        life.command("start")
        assert inside("cat /root/mine") == "mine"

    def has_its_login_on_the_serial_console() -> None:
        """From the terminal of an operator by the controller and libvirt over SSH to the guest's serial line."""
        words = ("--socket", str(site.socket), "service", "console", service)
        with command_on_a_terminal(*words) as (process, screen):
            shows(screen, b"Ctrl-] ends it")
            os.write(screen, b"\r")
            shows(screen, b"login: ", seconds=LOGIN_SECONDS)
            os.write(screen, b"\x1d")
            shows(screen, b"is closed")
            assert process.wait(SECONDS) == 0

    has_its_login_on_the_serial_console()
    if whole_matrix:
        is_restarted_once()
        is_left_off_as_its_owner_shut_it_down()
    life.command("check")

    # Backed up while its own agent holds its file systems still.
    life.command("backup")
    (made,) = site.http("GET", f"/v1/backups?service_id={service}&state=verified").json()["items"]
    assert made["consistency"] == "frozen"
    life.event("terminate", "service.terminate", version=3, reason="cancelled")
    assert (sight.left(site, service), sight.files(site, service)) == ({}, [])
    assert sight.rows(site, service)["certificates"] == 1
