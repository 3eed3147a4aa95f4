"""The wipe, on real guests: what their owners wrote is searched for on the raw device below the pool, before and after.

Every search is first seen to find what it has to find: plain markers on the device, sealed ones through the key.
"""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e import sight
from tests.e2e.stand import PLAIN, PLAIN_COPY, SEALED, SEALED_COPY, Stand
from tests.e2e.traces import virsh
from tests.lab import tiny
from tests.lab.guests import occurrences

pytestmark = pytest.mark.timeout(900)
OFFSETS = (1 << 20, (70 << 20) + 512, 150 << 20)
DISCARDED = 100 << 20
BLOCK = 4 << 20
COPIES = 64


@dataclass(frozen=True)
class Markers:
    """What the customers of a test write: some of it stays, some they discard. The same for all, so that one search finds all."""

    kept: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    discarded: bytes = field(default_factory=lambda: secrets.token_bytes(32))


def plant(stand: Stand, service: str, markers: Markers) -> None:
    address = sight.address(stand.site, service)
    for offset in OFFSETS:
        tiny.plant(address, offset, markers.kept, copies=COPIES)
    tiny.plant(address, DISCARDED, markers.discarded, copies=COPIES)


def discard(stand: Stand, service: str) -> None:
    tiny.ask(sight.address(stand.site, service), "discard", str(DISCARDED), str(BLOCK))


def key_of(path: Path) -> str:
    """The key that opens the volume, from where libvirt keeps it."""
    for line in virsh("secret-list").stdout.splitlines():
        uuid, _, usage = line.strip().partition(" ")
        if str(path) in usage:
            return base64.b64decode(Path(f"/etc/libvirt/secrets/{uuid}.base64").read_text()).decode()
    raise AssertionError(f"no key of {path}")


def opened(image: Path, key: str, out: Path) -> bool:
    """Whether the key opens the image; its clear content is then in ``out``."""
    (out.parent / "key").write_text(key)
    options = f"driver=qcow2,encrypt.format=luks,encrypt.key-secret=k,file.driver=file,file.filename={image}"
    done = subprocess.run(
        ["qemu-img", "convert", "--object", f"secret,id=k,file={out.parent / 'key'}", "--image-opts", options, "-O", "raw", out],
        capture_output=True,
        timeout=120,
    )
    return done.returncode == 0


def extents(path: Path) -> list[tuple[int, int, int]]:
    """Where the file lies: (offset in the file, offset on the device, length), in bytes (filefrag(8))."""
    subprocess.run(["sync"], check=True, timeout=120)
    told = subprocess.run(["filefrag", "-v", "-b4096", path], check=True, capture_output=True, text=True, timeout=60).stdout
    rows = re.findall(r"^\s*\d+:\s+(\d+)\.\.\s*\d+:\s+(\d+)\.\.\s*\d+:\s+(\d+):", told, re.MULTILINE)
    return [(int(logical) * 4096, int(physical) * 4096, int(blocks) * 4096) for logical, physical, blocks in rows]


def from_device(device: Path, where: list[tuple[int, int, int]], target: Path) -> Path:
    """The file again, out of the blocks that it had on the device."""
    with device.open("rb") as raw, target.open("wb") as out:
        for logical, physical, length in where:
            raw.seek(physical)
            out.seek(logical)
            out.write(raw.read(length))
    return target


def terminate(stand: Stand, services: list[str]) -> None:
    stand.done([stand.event("service.terminate", service, version=9, reason="cancelled") for service in services])
    for service in services:
        assert sight.left(stand.site, service) == {}
        assert sight.files(stand.site, service) == []


def test_nothing_that_was_written_to_plain_disks_can_be_read_from_the_device(stand: Stand) -> None:
    device, markers = stand.site.lab.pool_device, Markers()
    services = [stand.take("running", 1, plan=plan)[0] for plan in (PLAIN, PLAIN_COPY)]
    for service in services:
        plant(stand, service, markers)
    before = occurrences(device, markers.kept, markers.discarded)
    wanted = {markers.kept: len(services) * len(OFFSETS) * COPIES, markers.discarded: len(services) * COPIES}
    assert before == wanted, "the search does not find what is there"
    for service in services:
        discard(stand, service)
    terminate(stand, services)
    after = occurrences(device, markers.kept, markers.discarded)
    assert after[markers.kept] == 0
    # What the guest discarded belonged to the file system when the wipe came: where it is left, the certificate has to say so.
    told = [stand.site.cli("certificate", "show", service) for service in services]
    assert after[markers.discarded] == 0 or all("discarded by the guest" in certificate for certificate in told)


def test_what_was_written_to_sealed_disks_is_never_in_the_clear_and_their_headers_are_gone(stand: Stand, tmp_path: Path) -> None:
    device, markers = stand.site.lab.pool_device, Markers()
    services = [stand.take("running", 1, plan=plan)[0] for plan in (SEALED, SEALED_COPY)]
    keys, where, headers = {}, {}, {}
    for service in services:
        plant(stand, service, markers)
        path = sight.disk(stand.site, service)
        keys[service], where[service] = key_of(path), extents(path)
        copy = from_device(device, where[service], tmp_path / f"{service}.copy")
        assert opened(copy, keys[service], tmp_path / "clear"), "the copy and its key do not open: the test proves nothing"
        assert all(occurrences(tmp_path / "clear", markers.kept, markers.discarded).values())
        headers[service] = luks_header(copy)
    assert occurrences(device, markers.kept, *headers.values()) == {markers.kept: 0, **dict.fromkeys(headers.values(), 1)}
    for service in services:
        discard(stand, service)
    terminate(stand, services)
    secret = (*headers.values(), *(key.encode() for key in keys.values()))
    assert set(occurrences(device, markers.kept, markers.discarded, *secret).values()) == {0}
    for service in services:
        rest = from_device(device, where[service], tmp_path / f"{service}.rest")
        assert not opened(rest, keys[service], tmp_path / "opened")


def luks_header(image: Path) -> bytes:
    """Salt and digest of the key, which are in no second header anywhere."""
    data = image.read_bytes()
    at = data.index(b"LUKS\xba\xbe")
    return data[at + 112 : at + 112 + 52]
