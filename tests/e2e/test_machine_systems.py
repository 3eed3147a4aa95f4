"""A dedicated machine with a whole Debian, by the product's own commands: installed and booted by GRUB from its own disk, given
another password, looked at from a rescue system, tested, and erased. And a machine that boots by UEFI.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.deploy.rescue import fingerprint
from tests.e2e import rack as racks
from tests.e2e.rack import Rack, Tenant, verified
from tests.lab import whole_debian
from tests.lab.bmc import Emulator
from tests.lab.environment import Lab
from tests.lab.metal import Metal

# It takes minutes to write, boot and erase a whole system under emulation.
pytestmark = [pytest.mark.rare, pytest.mark.timeout(2400)]
DISK_BYTES = 800 << 20
PASSWORD = "a word that nobody guesses"
NOTE = "the tenant wrote this down"


@pytest.fixture(scope="module")
def debian(lab: Lab) -> Metal:
    return whole_debian.load(lab.images)


@pytest.fixture
def rack(
    lab: Lab, deploy_image: Path, bmc_emulator: Emulator, debian: Metal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rack]:
    directory = tmp_path_factory.mktemp("rack")
    with racks.standing(
        lab, directory, emulator=bmc_emulator, iso=deploy_image, metal=debian, numbers=(45,), size=DISK_BYTES
    ) as standing:
        standing.enrol(standing.machine)
        standing.available(standing.machine)
        yield standing


def test_a_whole_system_and_what_is_done_to_it_from_outside(rack: Rack) -> None:
    tenant = rack.tenant("w-1")
    rack.moves_in(tenant)
    assert "Debian" in tenant.run("cat /etc/os-release")
    assert tenant.run("cloud-init status --wait").endswith("done")
    assert tenant.run(f"echo {NOTE} >/root/note; sync; findmnt -no SOURCE /") == "/dev/sda1"
    _another_password(rack, tenant)
    _a_rescue_system(rack, tenant)
    _its_hardware_tested(rack, tenant)
    rack.done(rack.event("service.suspend", tenant.service, version=1, reason="nonpayment"))
    rack.done(rack.event("service.terminate", tenant.service, version=2, reason="cancelled"))
    assert [volume["verified"] for volume in verified(rack, tenant.service)] == [True]
    assert rack.machine.disks[0].read_bytes().count(0) == DISK_BYTES


def _asked(rack: Rack, tenant: Tenant, *words: str) -> None:
    """By a command of the service, which makes a job."""
    noun, *rest = words
    answer = rack.site.ask("service", noun, *rest, "--reason", "he asked for it", tenant.service)
    rack.done(answer["job_id"])


def _another_password(rack: Rack, tenant: Tenant) -> None:
    def hashed(*words: str) -> str:
        done = subprocess.run(
            ["openssl", "passwd", "-6", *words, PASSWORD], capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip()

    before = tenant.run("cat /etc/shadow").splitlines()
    file = rack.site.directory / "hash"
    file.write_text(hashed() + "\n", encoding="ascii")
    _asked(rack, tenant, "reset-password", "--hash-file", str(file))
    after = tenant.run("cat /etc/shadow").splitlines()
    found = after[0].split(":")[1]
    assert found == hashed("-salt", found.split("$")[2])
    assert after[1:] == before[1:], "nobody else's"
    assert tenant.run("cat /root/note") == NOTE


def _a_rescue_system(rack: Rack, tenant: Tenant) -> None:
    _asked(rack, tenant, "rescue", "on")
    told = rack.site.http("GET", f"/v1/services/{tenant.service}").json()["facts"]["rescue"]
    scanned = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", tenant.address], capture_output=True, text=True, check=True, timeout=60
    )
    assert fingerprint(" ".join(scanned.stdout.split()[1:3])) == told["fingerprint"]
    assert tenant.run("modprobe ext4; mkdir -p /mnt; mount -o ro /dev/sda1 /mnt && cat /mnt/root/note; umount /mnt") == NOTE
    assert "Debian" not in tenant.run("cat /etc/os-release 2>/dev/null; true")
    _asked(rack, tenant, "rescue", "off")
    assert "Debian" in tenant.run("cat /etc/os-release")


def _its_hardware_tested(rack: Rack, tenant: Tenant) -> None:
    _asked(rack, tenant, "test-hardware", "--memory", "--disks", "--seconds", "60")
    tested = rack.site.http("GET", f"/v1/services/{tenant.service}").json()["facts"]["test"]["tested"]
    assert [disk["serial"] for disk in tested["disks"]] == list(rack.machine.serials)
    assert tested["memory"]["bytes"] > 0
    assert tenant.run("cat /root/note") == NOTE


def test_a_machine_with_uefi_from_the_order_to_the_certificate(
    lab: Lab, deploy_image: Path, bmc_emulator: Emulator, metal_image: Metal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("uefi")
    with racks.standing(
        lab, directory, emulator=bmc_emulator, iso=deploy_image, metal=metal_image, numbers=(46,), uefi=True
    ) as rack:
        rack.enrol(rack.machine)
        rack.available(rack.machine)
        tenant = rack.tenant("u-1")
        rack.moves_in(tenant)
        assert rack.told(rack.machine)["inspection"]["firmware"] == "uefi"
        assert tenant.run("test -d /sys/firmware/efi && echo uefi") == "uefi"
        tenant.fill(64 << 20)
        rack.done(rack.event("service.suspend", tenant.service, version=1, reason="nonpayment"))
        rack.done(rack.event("invoice.paid", tenant.service, invoice_id="i-1", paid_until="2099-01-01T00:00:00Z"))
        assert rack.found(rack.machine, tenant.marker) > 0
        assert tenant.run("hostname") == "u-1.example.com"
        rack.done(rack.event("service.suspend", tenant.service, version=2, reason="nonpayment"))
        rack.done(rack.event("service.terminate", tenant.service, version=3, reason="cancelled"))
        assert [volume["verified"] for volume in verified(rack, tenant.service)] == [True]
        assert rack.found(rack.machine, tenant.marker) == 0
