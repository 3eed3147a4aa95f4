"""Restores of real guests: the disk is as the backup was, byte for byte, what was replaced stands beside it, and whatever is
killed the guest comes up on one whole disk."""

from __future__ import annotations

import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import sight
from tests.e2e.stand import RUNNING, SEALED, Stand
from tests.fault.crashing import WAIT, Order
from tests.lab import tiny

pytestmark = pytest.mark.timeout(1200)
OFFSET, OTHER = 90 << 20, 106 << 20
COPIES = 2000
# Every moment of a restore in place, in the rounds in which they are tried: so many guests boot at a time.
ROUNDS = tuple(
    tuple(f"vps-restore/{step}/{moment}" for step in steps for moment in ("before", "during"))
    for steps in (("restore", "stop"), ("disk", "power"))
)
SAMPLE = (("vps-restore/disk/during",),)


def restore(stand: Stand, service: str, **body: Any) -> str:
    asked = {"reason": "a test", **body}
    answer = stand.site.http("POST", f"/v1/services/{service}/restore", json=asked, key=f"{time.time_ns()}-{service}")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def drill(stand: Stand, service: str) -> dict[str, Any]:
    """One is made now; how it is told."""
    answer = stand.site.http("POST", "/v1/backups/drills", json={"service_id": service}, key=f"{time.time_ns()}")
    stand.done([answer.json()["job_id"]])
    (told,) = stand.site.http("GET", f"/v1/backups/drills?service_id={service}").json()["items"]
    return dict(told)


def show(stand: Stand, service: str) -> dict[str, Any]:
    return dict(stand.site.http("GET", f"/v1/services/{service}").json())


def content(path: str, target: Path) -> bytes:
    """All that an encrypted volume would show to a guest."""
    listed = subprocess.run(["virsh", "secret-list"], capture_output=True, text=True, check=True).stdout
    (uuid,) = (line.split()[0] for line in listed.splitlines() if line.rstrip().endswith(path))
    secret = f"secret,id=key,format=base64,file=/etc/libvirt/secrets/{uuid}.base64"
    image = f"driver=qcow2,encrypt.key-secret=key,file.driver=file,file.filename={path}"
    convert = ["qemu-img", "convert", "-U", "--object", secret, "--image-opts", image, "-O", "raw", str(target)]
    subprocess.run(convert, check=True, timeout=300)
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def marked(stand: Stand) -> tuple[str, bytes, bytes, bytes]:
    """A running guest with two backups, of which the second holds two marks, and a newer mark in place of the first."""
    (service,) = stand.take(RUNNING, 1, plan=SEALED)
    address = sight.address(stand.site, service)
    first, second, newer = (secrets.token_bytes(64) for _ in range(3))
    tiny.plant(address, OFFSET, first, copies=COPIES)
    stand.done([stand.command("backup", service)])
    tiny.plant(address, OTHER, second, copies=COPIES)
    stand.done([stand.command("backup", service)])
    tiny.plant(address, OFFSET, newer, copies=COPIES)
    return service, first, second, newer


@pytest.mark.rare
def test_restored_in_place_and_beside_a_disk_is_as_the_backup_was_and_nothing_is_left_in_the_end(
    stand: Stand, tmp_path: Path
) -> None:
    service, first, second, newer = marked(stand)
    old = sight.disk(stand.site, service)
    boots = sight.boots(service)
    stand.done([restore(stand, service, beside=True)])
    assert (sight.power(service), sight.boots(service)) == ("running", boots)
    stand.done([restore(stand, service)])
    stand.answering([service])
    address = sight.address(stand.site, service)
    assert tiny.show(address, OFFSET, 128) == first * 2
    assert tiny.show(address, OTHER, 128) == second * 2
    assert (sight.power(service), sight.boots(service)) == ("running", boots + 1)
    beside, safety = show(stand, service)["kept"]
    assert ((beside["kind"], safety["kind"]), safety["path"]) == (("beside", "safety-copy"), str(old))
    was, held = content(safety["path"], tmp_path / "safety"), content(beside["path"], tmp_path / "beside")
    assert was[OFFSET : OFFSET + 64] == newer
    assert held == was[:OFFSET] + first * COPIES + was[OFFSET + 64 * COPIES :]  # but for what was written since
    assert held[OTHER : OTHER + 64 * COPIES] == second * COPIES
    stand.done([stand.command("check", service)])
    stand.done([stand.command("backup", service)])
    (newest,) = stand.site.http("GET", f"/v1/backups?service_id={service}&state=verified").json()["items"]
    assert newest["generation"] == 1
    assert drill(stand, service)["state"] == "passed"
    assert [volume["name"] for volume in sight.volumes(stand.site, service) if ".drill." in volume["name"]] == []
    stand.done([stand.command("terminate", service)])
    assert (sight.left(stand.site, service), sight.files(stand.site, service)) == ({}, [])
    certificate = stand.site.http("GET", f"/v1/certificates/{service}").json()
    assert {beside["name"], safety["name"]} < {volume["name"] for volume in certificate["certificate"]["volumes"]}


def test_killed_at_any_moment_the_guest_comes_up_on_one_whole_disk(stand: Stand, whole_matrix: bool) -> None:
    for points in ROUNDS if whole_matrix else SAMPLE:
        killed_at(stand, points)


def killed_at(stand: Stand, points: tuple[str, ...]) -> None:
    """A service's restore stands at each of the points when the controller is killed; it is started again, and all come up."""
    services = dict(zip(stand.take(RUNNING, len(points), plan=SEALED), points, strict=True))
    marks = {service: secrets.token_bytes(64) for service in services}
    for service, mark in marks.items():
        tiny.plant(sight.address(stand.site, service), OFFSET, mark)
    stand.done(stand.command("backup", service) for service in services)
    for service, point in services.items():
        tiny.plant(sight.address(stand.site, service), OFFSET, secrets.token_bytes(64))
        stand.board.arm(service, Order(point, WAIT))
    jobs = {service: restore(stand, service) for service in services}
    stand.reach(*services)
    stand.crash()
    stand.done(jobs.values(), seconds=600)
    stand.answering(services)
    for service, point in services.items():
        assert (point, tiny.show(sight.address(stand.site, service), OFFSET, 64)) == (point, marks[service])
        (kept,) = show(stand, service)["kept"]
        assert (point, kept["kind"], kept["job_id"]) == (point, "safety-copy", jobs[service])
        disks = {volume["name"] for volume in sight.volumes(stand.site, service) if ".disk." in volume["name"]}
        assert (point, disks) == (point, {kept["name"], f"orch.{service}.disk.{jobs[service]}.qcow2"})
