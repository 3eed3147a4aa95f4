"""The desk of the deploy image, over TLS, with the agent as a process of its own on a directory that stands for a machine."""

from __future__ import annotations

import socket
import sqlite3
import urllib.error
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.deploy.desk import Desk as Client
from agents.deploy.desk import OtherController, Refused
from agents.deploy.seed import of_command_line
from orchestrator.cli.local.desk import beside_desk
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.desk_identity import desk_identity, fingerprint
from orchestrator.ports.deployment import Expected, Network, Task
from orchestrator.store import audit, deployments
from orchestrator.store.database import Database
from tests.deploy_machine import DISK_BYTES, MAC, UUID, Stand, machine_root, seed_of, stand
from tests.live import Live
from tests.store_files import KINDS

JOB = "job-1"
KNOWN = Expected(uuid=UUID, serials=("SER0",))
FINISH = Task(key="finish", kind="finish", arguments={"power": "off"})


@pytest.fixture
def desk(tmp_path: Path, db: Database) -> Iterator[Stand]:
    with stand(tmp_path / "desk", db) as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return machine_root(tmp_path / "machine", serials=("SER0", "SER1"))


def run(desk: Stand, root: Path, *tasks: Task, expected: Expected = KNOWN, job_id: str = JOB) -> dict[str, Any]:
    """Boot the machine for these tasks, until it ends; what became of each."""
    medium = desk.book.open("m1", job_id=job_id, expected=expected, network=Network())
    for task in (*tasks, FINISH):
        desk.book.give("m1", task, job_id=job_id)
    desk.boot(root, medium)
    process = desk.agent(root)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    found = desk.book.deployment("m1", job_id=job_id)
    assert found is not None
    assert (root / "run/ended").read_text() == "off"
    return {task.key: task for task in found.tasks}


_clients: list[Client] = []


def client_of(desk: Stand) -> Client:
    """The agent's own, which waits for nothing."""
    _clients.append(Client(desk.url, desk.sha256, wait=lambda seconds: None))
    return _clients[-1]


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def whole(db: Database) -> str:
    """All that the database says."""
    with closing(sqlite3.connect(str(db.url.database))) as conn:
        return "\n".join(conn.iterdump())


def trail(db: Database, what: str) -> list[dict[str, Any]]:
    with db.read() as conn:
        return [entry.facts for entry in audit.list_page(conn, limit=500)[0] if entry.what == what]


def identity(uuid: str = UUID, serials: tuple[str, ...] = ("SER0",)) -> dict[str, Any]:
    return {"uuid": uuid, "serials": list(serials), "macs": [MAC]}


def test_a_machine_is_booted_claimed_and_inspected(desk: Stand, root: Path) -> None:
    tasks = run(desk, root, Task(key="look", kind="inspect", arguments={}))
    assert tasks["look"].state == "done"
    found = desk.book.deployment("m1", job_id=JOB)
    assert found is not None
    assert found.inspection is not None
    assert found.claimed_at is not None
    assert (found.inspection.uuid, found.inspection.serial, found.inspection.cpus) == (UUID, "MACHINE-7", 2)
    assert [(disk.name, disk.serial, disk.bytes) for disk in found.inspection.disks] == [
        ("sda", "SER0", DISK_BYTES),
        ("sdb", "SER1", DISK_BYTES),
    ]
    assert [(nic.mac, nic.link) for nic in found.inspection.nics] == [(MAC, True)]


def test_an_image_is_written_to_the_disk_that_is_meant_and_to_no_other(desk: Stand, root: Path) -> None:
    image = bytes(range(256)) * 4096 * 9 + b"odd"
    (root / "dev/sda").write_bytes(b"x" * DISK_BYTES)
    told = desk.put_image("debian.raw", image)
    tasks = run(desk, root, Task(key="w", kind="write", arguments={**told, "serial": "SER1"}))
    assert tasks["w"].state == "done", tasks["w"].says
    assert tasks["w"].result["read_back_sha256"] == told["sha256"]
    assert (root / "dev/sdb").read_bytes()[: len(image)] == image
    assert (root / "dev/sda").read_bytes() == b"x" * DISK_BYTES


def test_an_image_that_is_another_than_was_told_is_a_failure(desk: Stand, root: Path) -> None:
    told = desk.put_image("debian.raw", b"a" * (1 << 20))
    desk.put_image("debian.raw", b"b" * (1 << 20))
    tasks = run(desk, root, Task(key="w", kind="write", arguments={**told, "serial": "SER0"}))
    assert tasks["w"].state == "failed"
    assert "the image that came has the SHA-256" in tasks["w"].says


@pytest.mark.parametrize("kind", ["write", "erase"])
def test_a_disk_that_is_not_there_stops_what_would_destroy(desk: Stand, root: Path, kind: str) -> None:
    before = (root / "dev/sda").read_bytes()
    told = desk.put_image("debian.raw", b"a" * (1 << 20))
    arguments = {**told, "serial": "OTHER"} if kind == "write" else {"disks": ["OTHER"]}
    tasks = run(desk, root, Task(key="t", kind=kind, arguments=arguments))
    assert tasks["t"].state == "failed"
    assert "there is no disk with the serial number OTHER in this machine; there are: sda SER0, sdb SER1" in tasks["t"].says
    assert (root / "dev/sda").read_bytes() == before


def test_a_qcow2_image_is_refused_with_what_makes_it_raw(desk: Stand, root: Path) -> None:
    told = desk.put_image("debian.raw", b"QFI\xfb" + b"a" * (1 << 20))
    tasks = run(desk, root, Task(key="w", kind="write", arguments={**told, "serial": "SER0"}))
    assert "is qcow2, and disks take raw" in tasks["w"].says


def test_every_drive_is_overwritten_and_read_back_and_told_of(desk: Stand, root: Path) -> None:
    for name in ("sda", "sdb"):
        (root / "dev" / name).write_bytes(b"SECRET-MARKER" * (DISK_BYTES // 13) + b"." * (DISK_BYTES % 13))
    tasks = run(desk, root, Task(key="e", kind="erase", arguments={"disks": ["SER0", "SER1"]}))
    assert tasks["e"].state == "done", tasks["e"].says
    rows = tasks["e"].result["drives"]
    assert [(row["serial"], row["method"], row["problem"], row["bytes"]) for row in rows] == [
        ("SER0", "overwrite", "", DISK_BYTES),
        ("SER1", "overwrite", "", DISK_BYTES),
    ]
    assert all(row["samples"] > 200 and row["unreached"] for row in rows)
    assert (root / "dev/sda").read_bytes() == (root / "dev/sdb").read_bytes() == bytes(DISK_BYTES)


def test_one_drive_that_cannot_be_erased_fails_the_whole_and_the_others_are_told_of(desk: Stand, root: Path) -> None:
    tasks = run(desk, root, Task(key="e", kind="erase", arguments={"disks": ["SER0", "GONE"]}))
    assert tasks["e"].state == "failed"
    assert {row["serial"]: bool(row["problem"]) for row in tasks["e"].result["drives"]} == {"SER0": False, "GONE": True}


def test_memory_and_disks_are_tried_and_nothing_on_them_changes(desk: Stand, root: Path) -> None:
    (root / "dev/sda").write_bytes(b"x" * DISK_BYTES)
    tasks = run(desk, root, Task(key="t", kind="test", arguments={"memory": True, "disks": ["SER0"], "seconds": 1}))
    assert tasks["t"].state == "done", tasks["t"].says
    assert tasks["t"].result["memory"]["rounds"] >= 1
    assert tasks["t"].result["disks"][0]["read_bytes"] > 0
    assert (root / "dev/sda").read_bytes() == b"x" * DISK_BYTES


def test_another_machine_is_sent_away_with_what_differs(desk: Stand, tmp_path: Path) -> None:
    other = machine_root(tmp_path / "other", uuid=UUID.replace("4", "5"), serials=("ELSE",))
    medium = desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network())
    desk.boot(other, medium)
    process = desk.agent(other)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "this is not the machine m1" in said
    found = desk.book.deployment("m1", job_id=JOB)
    assert found is not None
    assert found.claimed_at is None
    assert "its UUID is 5c5c" in found.refused
    assert "no disk with the serial number SER0" in found.refused
    assert trail(desk.db, "deployment refused")[0]["peer"] == "127.0.0.1"
    # The right one can still come.
    assert desk.book.claim(seed_of(other)["token"], _identity(), peer="") != ""


def _identity() -> Any:
    from orchestrator.store.deployments import Identity

    return Identity(uuid=UUID, serials=("SER0",), macs=())


def test_a_token_is_good_for_once_and_who_comes_second_is_noted(desk: Stand, root: Path) -> None:
    desk.boot(root, desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network()))
    token = seed_of(root)["token"]
    first, thief = client_of(desk), client_of(desk)
    first.session = first.ask("/deploy/v1/claim", {"token": token, "identity": identity()})["session"]
    with pytest.raises(Refused, match="claimed before"):
        thief.ask("/deploy/v1/claim", {"token": token, "identity": identity()})
    thief.session = token
    with pytest.raises(Refused, match="this session is over"):
        thief.ask("/deploy/v1/next", {})
    assert [row["why"] for row in trail(desk.db, "deployment refused")] == ["this token was claimed before, and is good for once"]


def test_what_is_over_gets_nothing_any_more(desk: Stand, root: Path) -> None:
    old = desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network())
    desk.boot(root, old)
    client = client_of(desk)
    client.session = client.ask("/deploy/v1/claim", {"token": seed_of(root)["token"], "identity": identity()})["session"]
    desk.book.open("m1", job_id="job-2", expected=KNOWN, network=Network())
    with pytest.raises(Refused, match="this session is over"):
        client.ask("/deploy/v1/next", {})
    with pytest.raises(Refused, match="is over"):
        client.ask("/deploy/v1/claim", {"token": seed_of(root)["token"], "identity": identity()})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        desk.fetch(old)
    desk.book.close("m1", job_id="job-2")
    assert desk.book.deployment("m1", job_id="job-2") is None


def test_the_agent_says_nothing_to_another_controller(desk: Stand, root: Path) -> None:
    with pytest.raises(OtherController):
        Client(desk.url, "0" * 64).ask("/deploy/v1/claim", {"token": "t" * 43, "identity": identity()}, patient=False)
    assert trail(desk.db, "deployment refused") == []


def test_an_image_is_given_only_to_who_was_told_to_write_it(desk: Stand, root: Path) -> None:
    told = desk.put_image("debian.raw", b"a" * 100)
    desk.boot(root, desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network()))
    client = client_of(desk)
    with pytest.raises(Refused):
        next(client.image("debian.raw", 100))
    client.session = client.ask("/deploy/v1/claim", {"token": seed_of(root)["token"], "identity": identity()})["session"]
    with pytest.raises(Refused, match="was not told to write"):
        next(client.image("debian.raw", 100))
    desk.book.give("m1", Task(key="w", kind="write", arguments={**told, "serial": "SER0"}), job_id=JOB)
    assert client.ask("/deploy/v1/next", {})["task"]["key"] == "w"
    assert b"".join(client.image("debian.raw", 100, start=40)) == b"a" * 60


def test_the_medium_is_served_in_ranges_each_with_its_part_of_the_seed(desk: Stand) -> None:
    medium = desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network(mac=MAC, address="10.0.0.5/24", gateway="10.0.0.1"))
    status, whole = desk.fetch(medium)
    assert status == 200
    parts = [desk.fetch(medium, Range=f"bytes={at}-{at + 99}") for at in range(0, len(whole), 100)]
    assert {status for status, _ in parts} == {206}
    assert b"".join(part for _, part in parts) == whole
    seed = of_command_line("deploy.seed=" + whole[5 : 5 + 640].decode())
    assert (seed.url, seed.sha256, seed.machine) == (desk.url, desk.sha256, "m1")
    assert (seed.mac, seed.address, seed.gateway) == (MAC, "10.0.0.5/24", "10.0.0.1")


def test_whoever_guesses_is_stopped_after_some_tries(desk: Stand) -> None:
    client = client_of(desk)
    for _ in range(20):
        with pytest.raises(Refused, match="nobody was given this token"):
            client.ask("/deploy/v1/claim", {"token": "t" * 43, "identity": identity()})
    with pytest.raises(OSError, match="429"):
        client.ask("/deploy/v1/claim", {"token": "t" * 43, "identity": identity()}, patient=False)


def test_a_body_that_is_too_large_is_refused(desk: Stand) -> None:
    with pytest.raises((Refused, OSError)):
        client_of(desk).ask("/deploy/v1/claim", {"token": "t" * 400_000}, patient=False)


@pytest.mark.parametrize("store_kind", KINDS, indirect=True)
def test_whatever_a_machine_says_is_kept_or_refused_with_a_sentence(desk: Stand, root: Path) -> None:
    desk.boot(root, desk.book.open("m1", job_id=JOB, expected=Expected(), network=Network()))
    client, token = client_of(desk), seed_of(root)["token"]
    broken = identity() | {"serials": ["\ud800"]}
    with pytest.raises(Refused, match=r"^body\."):
        client.ask("/deploy/v1/claim", {"token": token, "identity": broken}, patient=False)
    odd = identity() | {"serials": ["DISK\x00\x00", "\x1b[2J'; --"]}
    client.session = client.ask("/deploy/v1/claim", {"token": token, "identity": odd}, patient=False)["session"]
    desk.book.give("m1", Task(key="w", kind="write", arguments={}), job_id=JOB)
    assert client.ask("/deploy/v1/next", {})["task"]["key"] == "w"
    report = {"key": "w", "state": "running", "fraction": 0.5, "says": "so far\x00", "result": {"model": "\x00"}}
    for wrong in ({"key": "w\x00"}, {"says": "\ud800"}, {"result": {"seconds": float("nan")}}, {"fraction": float("inf")}):
        with pytest.raises(Refused, match=r"^body\."):
            client.ask("/deploy/v1/report", report | wrong, patient=False)
    client.ask("/deploy/v1/report", report, patient=False)
    client.ask("/deploy/v1/report", report | {"state": "failed", "says": "it broke\x00"}, patient=False)
    found = desk.book.deployment("m1", job_id=JOB)
    assert found is not None
    (task,) = found.tasks
    assert (task.state, task.says, task.result) == ("failed", "it broke\N{REPLACEMENT CHARACTER}", {"model": "\x00"})


def test_neither_token_nor_session_is_kept(desk: Stand, root: Path) -> None:
    medium = desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network())
    desk.boot(root, medium)
    client = client_of(desk)
    session = client.ask("/deploy/v1/claim", {"token": seed_of(root)["token"], "identity": identity()})["session"]
    dump = whole(desk.db)
    for secret in (session, seed_of(root)["token"], medium.split("/")[-2]):
        assert secret not in dump


def test_what_a_machine_was_told_is_forgotten_when_it_is_over(desk: Stand, root: Path) -> None:
    desk.book.open("m1", job_id=JOB, expected=KNOWN, network=Network())
    desk.book.give("m1", Task(key="w", kind="write", arguments={"seed": {"user-data": "PASSWORD-HASH"}}), job_id=JOB)
    assert "PASSWORD-HASH" in whole(desk.db)
    desk.book.close("m1", job_id=JOB)
    assert "PASSWORD-HASH" not in whole(desk.db)


def test_nothing_of_the_ordinary_api_is_there(desk: Stand) -> None:
    for path in ("/v1/services", "/metrics", "/v1/openapi.json", "/deploy/v1/openapi.json", "/docs"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            desk.fetch(desk.url + path)


def test_a_controller_serves_the_desk_where_one_is_configured_and_the_api_has_nothing_of_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = f"127.0.0.1:{free.getsockname()[1]}"
    deploy = f"{{listen: '{where}', url: 'https://{where}', image: deploy.iso, images: images}}"
    live = Live(tmp_path, deploy=deploy)
    try:
        assert live.controller.deployments is not None
        with beside_desk(live.controller):
            certificate, _ = desk_identity(live.config.settings.state_dir)
            client = Client(f"https://{where}", fingerprint(certificate))
            _clients.append(client)
            medium = live.controller.deployments.open("m1", job_id=JOB, expected=Expected(), network=Network())
            assert medium.startswith(f"https://{where}/deploy/v1/media/")
            with pytest.raises(Refused, match="nobody was given this token"):
                client.ask("/deploy/v1/claim", {"token": "t" * 43, "identity": identity()})
            client.close()
        live.start()
        for path in ("/deploy/v1/claim", "/deploy/v1/next"):
            assert live.http.post(path, json={}).status_code == 404
    finally:
        live.stop()


def test_what_was_closed_long_ago_is_forgotten_and_what_is_open_is_not(desk: Stand) -> None:
    for job in ("j1", "j2", "j3"):
        desk.book.open("m1", job_id=job, expected=KNOWN, network=Network())
    with desk.db.write() as conn:
        assert deployments.forget(conn, before=SystemClock().now() - timedelta(days=14)) == 0
        assert deployments.forget(conn, before=SystemClock().now() + timedelta(seconds=1)) == 2
    assert desk.book.deployment("m1", job_id="j3") is not None
