"""Dedicated machines for the tests: guests of the lab's libvirt that have no operating system, behind a Redfish BMC.

The BMC is sushy-emulator on the loopback, with TLS and a password. What it lacks against a real one: it keeps what it was told to
boot from, and has neither logs nor serial numbers.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.redfish import Connection
from tests.lab import daemons, guests
from tests.lab.environment import Lab

USER = "orchestrator"
_POOL = "default"  # where the emulator keeps what is inserted
_XML = """<domain type='{type}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
  {firmware}<features><acpi/></features>
  <on_reboot>restart</on_reboot>
  <devices>
    {disks}
    <interface type='bridge'><source bridge='{bridge}'/><mac address='{mac}'/><model type='virtio'/></interface>
    <serial type='file'><source path='{console}'/></serial>
  </devices>
  <qemu:commandline>{arguments}</qemu:commandline>
</domain>"""
_BIOS = "<os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>"
_UEFI = "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>"
_DISK = """<disk type='file'><driver name='qemu' type='raw'/><source file='{path}'/><target dev='sd{letter}' bus='sata'/>
    <serial>{serial}</serial></disk>"""
# libvirt has no words of its own for an NVMe drive of a guest.
_SLOT = 0x10  # behind those that libvirt gives out itself
_NVME = "<qemu:arg value='{0}'/><qemu:arg value='{1}'/>"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """``disks``: the raw files behind its disks; ``serials`` are theirs."""

    name: str
    uuid: str
    mac: str
    disks: tuple[Path, ...]
    serials: tuple[str, ...]
    console: Path


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """A BMC that answers for all machines of the lab, each at ``path(machine)``."""

    url: str
    password: str
    certificate_sha256: str
    certificate: Path
    key: Path

    def path(self, machine: Machine) -> str:
        return f"/redfish/v1/Systems/{machine.uuid}"


def virsh(lab: Lab, *words: str) -> str:
    done = subprocess.run(["virsh", "-q", "-c", lab.uri, *words], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@contextmanager
def machine(
    lab: Lab,
    number: int,
    *,
    disks: int = 1,
    size: int = 1 << 30,
    memory_mib: int = 1024,
    uefi: bool = False,
    nvme: bool = False,
) -> Iterator[Machine]:
    """Machine ``number`` of the lab, off, its disks empty. ``nvme``: that they are, instead of SATA's."""
    name, directory = f"machine-{number}", lab.directory / "machines" / str(number)
    directory.mkdir(parents=True)
    made = Machine(
        name=name,
        uuid=str(uuid.uuid4()),
        mac=f"52:54:00:ee:00:{number:02x}",
        disks=tuple(directory / f"disk{each}.raw" for each in range(disks)),
        serials=tuple(f"LAB{number:02}D{each}{secrets.token_hex(3).upper()}" for each in range(disks)),
        console=directory / "console.log",
    )
    for path in made.disks:
        with path.open("wb") as file:
            file.truncate(size)
    drives = tuple(enumerate(zip(made.disks, made.serials, strict=True)))
    rows = (_DISK.format(path=path, serial=serial, letter=chr(ord("a") + each)) for each, (path, serial) in drives)
    xml = directory / "domain.xml"
    kind = "kvm" if guests.kvm() else "qemu"
    xml.write_text(
        _XML.format(
            type=kind,
            firmware=_UEFI if uefi else _BIOS,
            name=name,
            uuid=made.uuid,
            memory=memory_mib,
            disks="" if nvme else "".join(rows),
            arguments="".join(_nvme(each, *drive) for each, drive in drives) if nvme else "",
            bridge=lab.bridge,
            mac=made.mac,
            console=made.console,
        )
    )
    virsh(lab, "define", str(xml))
    try:
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            virsh(lab, "destroy", name)
        virsh(lab, "undefine", name, "--nvram")


def _nvme(each: int, path: Path, serial: str) -> str:
    """What QEMU is told of such a drive. libvirt, which does not see it, does not give it to the user that QEMU runs as."""
    path.chmod(0o666)
    drive = _NVME.format("-drive", f"if=none,id=nvme{each},format=raw,file={path}")
    return drive + _NVME.format("-device", f"nvme,id=ctrl{each},addr={_SLOT + each:#x},drive=nvme{each},serial={serial}")


@contextmanager
def emulator(lab: Lab, *, port: int = 8443) -> Iterator[Emulator]:
    """A BMC for all machines of the lab."""
    directory = lab.directory / "bmc"
    directory.mkdir()
    password = secrets.token_urlsafe(12)
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    (directory / "htpasswd").write_text(f"{USER}:{hashed}\n")
    certificate, key = directory / "bmc.pem", directory / "bmc.key"
    words = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=bmc"]
    subprocess.run(
        ["openssl", *words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    config = directory / "emulator.conf"
    config.write_text(
        f"SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\n"
        f"SUSHY_EMULATOR_SSL_CERT = {str(certificate)!r}\nSUSHY_EMULATOR_SSL_KEY = {str(key)!r}\n"
        f"SUSHY_EMULATOR_LIBVIRT_URI = {lab.uri!r}\nSUSHY_EMULATOR_AUTH_FILE = {str(directory / 'htpasswd')!r}\n"
    )
    _pool(lab, directory / "media")
    log = (directory / "emulator.log").open("wb")
    program = Path(sys.executable).with_name("sushy-emulator")
    process = subprocess.Popen([program, "--config", str(config)], stdout=log, stderr=log, cwd=directory)
    try:
        daemons.wait_until("the BMC", lambda: _listens(port), log=directory / "emulator.log")
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        yield Emulator(
            url=f"https://127.0.0.1:{port}",
            password=password,
            certificate_sha256=hashlib.sha256(der).hexdigest(),
            certificate=certificate,
            key=key,
        )
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def connection(emulator: Emulator, machine: Machine, **changes: str) -> Connection:
    """The product's way to the machine; ``changes`` are other words for Connection."""
    known = {
        "user": USER,
        "password": emulator.password,
        "certificate_sha256": emulator.certificate_sha256,
        "system": emulator.path(machine),
        "machine": machine.name,
    } | changes
    return Connection(known.pop("url", emulator.url), **known, clock=SystemClock())


def _pool(lab: Lab, directory: Path) -> None:
    directory.mkdir()
    if _POOL not in virsh(lab, "pool-list", "--all", "--name").split():
        virsh(lab, "pool-define-as", _POOL, "dir", "--target", str(directory))
        virsh(lab, "pool-start", _POOL)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
