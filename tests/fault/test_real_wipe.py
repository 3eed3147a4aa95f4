"""The wipe, on real guests: what their owners wrote is searched for on the raw device below the pool, before and after.

Every search is first seen to find what it has to find: plain markers on the device, sealed ones through the key.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import subprocess
from dataclasses import dataclass
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
    """What a customer wrote: some of it is there still, some was discarded."""

    kept: tuple[bytes, ...]
    discarded: bytes

    @property
    def all(self) -> tuple[bytes, ...]:
        return (*self.kept, self.discarded)


def new_markers() -> Markers:
    return Markers(kept=tuple(secrets.token_bytes(32) for _ in OFFSETS), discarded=secrets.token_bytes(32))


def plant(stand: Stand, service: str, markers: Markers) -> None:
    address = sight.address(stand.site, service)
    for offset, marker in zip(OFFSETS, markers.kept, strict=True):
        tiny.plant(address, offset, marker, copies=COPIES)
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
    device = stand.site.lab.pool_device
    services = {plan: stand.take("running", 1, plan=plan)[0] for plan in (PLAIN, PLAIN_COPY)}
    markers = {plan: new_markers() for plan in services}
    for plan, service in services.items():
        plant(stand, service, markers[plan])
    every = [marker for planted in markers.values() for marker in planted.all]
    before = occurrences(device, *every)
    assert min(before.values()) >= COPIES, "the search does not find what is there"
    for service in services.values():
        discard(stand, service)
    terminate(stand, list(services.values()))
    kept = [marker for planted in markers.values() for marker in planted.kept]
    after = occurrences(device, *every)
    assert {marker: after[marker] for marker in kept} == dict.fromkeys(kept, 0)
    certificates = [json.loads(stand.site.cli("certificate", "show", service)) for service in services.values()]
    # What the guest discarded belonged to the file system when the wipe came; the certificate has to say so where it is left.
    for planted, certificate in zip(markers.values(), certificates, strict=True):
        assert after[planted.discarded] == 0 or "discard" in str(certificate).lower()


def test_what_was_written_to_sealed_disks_is_never_in_the_clear_and_their_headers_are_gone(stand: Stand, tmp_path: Path) -> None:
    device = stand.site.lab.pool_device
    services = {service: plan for plan in (SEALED, SEALED_COPY) for service in stand.take("running", 1, plan=plan)}
    markers = {service: new_markers() for service in services}
    keys, where, headers = {}, {}, {}
    for service in services:
        plant(stand, service, markers[service])
        path = sight.disk(stand.site, service)
        keys[service], where[service] = key_of(path), extents(path)
        copy = from_device(device, where[service], tmp_path / f"{service}.copy")
        assert opened(copy, keys[service], tmp_path / "clear"), "the copy and its key do not open: the test proves nothing"
        assert all(occurrences(tmp_path / "clear", *markers[service].all).values())
        headers[service] = luks_header(copy)
    written = [marker for planted in markers.values() for marker in planted.all]
    seen = occurrences(device, *written, *headers.values())
    assert [seen[marker] for marker in written] == [0] * len(written)
    assert [seen[header] for header in headers.values()] == [1, 1]
    for service in services:
        discard(stand, service)
    terminate(stand, list(services))
    assert set(occurrences(device, *written, *headers.values(), *(key.encode() for key in keys.values())).values()) == {0}
    for service in services:
        rest = from_device(device, where[service], tmp_path / f"{service}.rest")
        assert not opened(rest, keys[service], tmp_path / "opened")


def luks_header(image: Path) -> bytes:
    """Salt and digest of the key, which are in no second header anywhere."""
    data = image.read_bytes()
    at = data.index(b"LUKS\xba\xbe")
    return data[at + 112 : at + 112 + 52]
