"""Wiping on a real file system: markers are planted in volumes and searched for on the device below."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.node import proof
from agents.node.extents import file_extents
from agents.node.main import run
from agents.node.medium import medium
from agents.node.overwrite import zeros
from agents.node.place import Place
from agents.node.protocol import AgentError
from agents.node.records import Records
from tests.disk import Disk, disk, tool
from tests.lab.environment import Lab

MARKER = b"customer-data:4f1d9a77c2"
MEGABYTE = 1024 * 1024
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Iterator[Disk]:
    """A new disk for each test: no marker of another one can be on it."""
    with disk(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def luks_image(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A qcow2 with LUKS inside, as libvirt makes it, with the marker written through QEMU's encryption; beside it its key."""
    directory = tmp_path_factory.mktemp("luks")
    path, key, source = directory / "image.qcow2", directory / "key", directory / "source"
    key.write_bytes(PASSPHRASE)
    source.write_bytes(marked(2 * MEGABYTE))
    secret = ("--object", f"secret,id=s,file={key}")
    options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o", options, str(path), "16M"]
    for _ in range(50):  # QEMU gives up where its measuring of the key derivation shows no time at all: a busy machine
        made = subprocess.run(create, capture_output=True, timeout=60, check=False)
        if b"Unable to get accurate CPU usage" not in made.stderr:
            break
    assert made.returncode == 0, made.stderr
    write = f"write -s {source} 0 2M"
    tool("qemu-io", *secret, "--image-opts", f"driver=qcow2,file.filename={path},encrypt.key-secret=s", "-c", write)
    return path


Make = Callable[[Disk, Path], Path]
"""Puts a volume on the disk; the second argument is the encrypted image."""


def call(on: Disk, command: str, **request: object) -> tuple[int, list[dict[str, Any]]]:
    out = io.BytesIO()
    code = run([command], io.BytesIO(json.dumps(request).encode()), out, place=on.place)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


def wipe(on: Disk, path: Path, method: str = "overwrite", samples: int = 8) -> dict[str, Any]:
    code, lines = call(on, "volume-wipe", path=str(path), method=method, samples=samples)
    assert code == 0, lines[-1]
    report: dict[str, Any] = lines[-1]["result"]
    return report


def error(on: Disk, path: Path | str, method: str = "overwrite") -> tuple[str, str]:
    code, lines = call(on, "volume-wipe", path=str(path), method=method)
    assert code != 0
    return lines[-1]["error"]["code"], lines[-1]["error"]["message"]


def marked(size: int) -> bytes:
    """Content with the marker in every block, and no two blocks alike."""
    blocks = (MARKER + index.to_bytes(8, "big") for index in range(size // 4096))
    return b"".join(block + hashlib.shake_128(block).digest(4096 - len(block)) for block in blocks)


def plain_raw(on: Disk, _luks_image: Path = Path()) -> Path:
    path = on.pool / "orch.vps-1.root.j1.raw"
    path.write_bytes(marked(6 * MEGABYTE))
    return path


def odd_sized(on: Disk, _luks_image: Path = Path()) -> Path:
    path = on.pool / "orch.vps-1.seed.j1.iso"
    path.write_bytes(marked(MEGABYTE) + MARKER)
    return path


def with_holes(on: Disk, _luks_image: Path = Path()) -> Path:
    path = on.pool / "orch.vps-1.root.j1.raw"
    with path.open("wb") as stream:
        for index in range(8):
            stream.seek(index * 4 * MEGABYTE)
            stream.write(marked(128 * 1024))
        stream.truncate(64 * MEGABYTE)
    return path


def fragmented(on: Disk, _luks_image: Path = Path()) -> Path:
    """Two files written in turns, so that neither lies in one piece; the other one stays."""
    path, other = on.pool / "orch.vps-1.root.j1.raw", on.pool / "other"
    with path.open("wb", buffering=0) as stream, other.open("wb", buffering=0) as between:
        for _ in range(24):
            stream.write(marked(96 * 1024))
            os.fsync(stream.fileno())
            between.write(b"\xbb" * 64 * 1024)
            os.fsync(between.fileno())
    return path


def plain_qcow2(on: Disk, _luks_image: Path = Path()) -> Path:
    path = on.pool / "orch.vps-1.root.j1.qcow2"
    source = on.pool / "source"
    source.write_bytes(marked(4 * MEGABYTE))
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, path)
    wiped = on.pool / "orch.vps-9.root.j9.raw"
    source.rename(wiped)
    wipe(on, wiped)
    return path


@pytest.mark.parametrize("make", [plain_raw, odd_sized, with_holes, fragmented, plain_qcow2])
def test_overwriting_leaves_no_marker_on_the_device(make: Make, ground: Disk, luks_image: Path) -> None:
    path = make(ground, luks_image)
    before = ground.count(MARKER)
    assert before > 100
    allocated = path.stat().st_blocks * 512
    report = wipe(ground, path)
    assert ground.count(MARKER) == 0
    assert not path.exists()
    assert not path.with_name(path.name + ".wiping").exists()
    assert report["bytes_overwritten"] == report["allocated_bytes"]
    assert 0 <= allocated - report["bytes_overwritten"] <= 64 * 1024  # the file system's own blocks (extent tree) count too
    assert report["verified"] is True


def test_markers_are_found_as_long_as_a_file_is_only_removed(ground: Disk) -> None:
    """The search itself is proven: without wiping the markers stay."""
    path = plain_raw(ground)
    os.sync()
    path.unlink()
    assert ground.count(MARKER) > 1000


def test_a_hole_stays_a_hole(ground: Disk) -> None:
    path = with_holes(ground)
    report = wipe(ground, path)
    assert report["size"] == 64 * MEGABYTE
    assert report["bytes_overwritten"] == 8 * 128 * 1024


def test_preallocated_blocks_that_still_hold_older_data_are_overwritten_too(ground: Disk) -> None:
    older = ground.pool / "older"
    with older.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(marked(MEGABYTE))
        except OSError:
            os.fsync(stream.fileno())
    older.unlink()
    path = ground.pool / "orch.vps-1.root.j1.raw"
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, 16 * MEGABYTE)
        os.fsync(stream.fileno())
        places = [(e.physical, e.length) for e in file_extents(stream.fileno())]
    raw = ground.raw()
    assert sum(raw[offset : offset + length].count(MARKER) for offset, length in places) > 3000
    report = wipe(ground, path)
    raw = ground.raw()
    assert sum(raw[offset : offset + length].count(MARKER) for offset, length in places) == 0
    assert report["bytes_overwritten"] == 16 * MEGABYTE


def test_the_samples_can_be_checked_against_the_device(ground: Disk) -> None:
    path = plain_raw(ground)
    before = ground.raw()
    report = wipe(ground, path, samples=5)
    after = ground.raw()
    assert len(report["samples"]) == 5
    for sample in report["samples"]:
        place = slice(sample["device_offset"], sample["device_offset"] + sample["length"])
        assert MARKER in before[place]
        assert hashlib.sha256(before[place]).hexdigest() == sample["sha256_before"]
        assert hashlib.sha256(after[place]).hexdigest() == sample["sha256_after"] != sample["sha256_before"]


def test_the_report_names_medium_and_limits(ground: Disk) -> None:
    report = wipe(ground, plain_raw(ground))
    assert report["medium"]["device"] == str(ground.device)
    assert report["medium"]["filesystem"] == "ext4"
    assert isinstance(report["medium"]["rotational"], bool)
    assert any("gave back earlier" in sentence for sentence in report["limits"])
    assert any("another system" in sentence for sentence in report["limits"])
    assert report["started_at"] <= report["finished_at"]


def encrypted(on: Disk, luks_image: Path) -> Path:
    path = on.pool / "orch.vps-1.root.j1.qcow2"
    tool("cp", "--sparse=always", luks_image, path)
    return path


def opens(luks_image: Path, path: Path) -> bool:
    """Whether QEMU, given the passphrase, reads the marker out of the image."""
    read = subprocess.run(
        [
            "qemu-io", "--object", f"secret,id=s,file={luks_image.parent / 'key'}", "--image-opts",
            f"driver=qcow2,file.filename={path},encrypt.key-secret=s", "-c", "read -v 0 512",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return read.returncode == 0 and "customer.data.4f" in read.stdout


def test_crypto_erase_leaves_nothing_that_opens_the_image(ground: Disk, luks_image: Path) -> None:
    path = encrypted(ground, luks_image)
    assert opens(luks_image, path)
    copy = ground.place.root / "copy.qcow2"
    copy.write_bytes(path.read_bytes())
    luks = copy.read_bytes().find(b"LUKS\xba\xbe")
    # The first key slot's material: its offset in sectors stands at byte 208 + 40 (LUKS1 on-disk format, figure 1 and 2).
    slot = int.from_bytes(copy.read_bytes()[luks + 248 : luks + 252], "big") * 512
    material = copy.read_bytes()[luks + slot : luks + slot + 4096]
    assert len(set(material)) > 200
    raw = ground.raw()
    assert raw.count(material) == 1
    assert raw.count(b"LUKS\xba\xbe") == 1
    assert raw.count(MARKER) == 0
    with path.open("rb") as stream:
        places = [(e.logical, e.physical, e.length) for e in file_extents(stream.fileno())]

    report = wipe(ground, path, "crypto-erase")

    raw = ground.raw()
    assert raw.count(material[:512]) == 0
    assert raw.count(b"LUKS\xba\xbe") == 0
    assert report["passes"] == ["random", "zeros"]
    assert report["verified"] is True
    assert 256 * 1024 <= report["bytes_overwritten"] < 3 * MEGABYTE  # what is allocated of header, L1 table and LUKS area
    # What a thief of the medium would have: the blocks put together again. They open with no passphrase.
    rebuilt = bytearray(copy.stat().st_size)
    for logical, physical, length in places:
        rebuilt[logical : logical + length] = raw[physical : physical + length]
    copy.write_bytes(rebuilt)
    assert not opens(luks_image, copy)
    assert rebuilt[:65536] == bytes(65536)
    assert not any(rebuilt[luks : luks + 2 * MEGABYTE - 65536])


def test_crypto_erase_samples_the_luks_header_first(ground: Disk, luks_image: Path) -> None:
    path = encrypted(ground, luks_image)
    raw = ground.raw()
    report = wipe(ground, path, "crypto-erase", samples=4)
    assert report["samples"][0]["device_offset"] == raw.find(b"LUKS\xba\xbe")
    assert {s["sha256_after"] for s in report["samples"]} == {hashlib.sha256(bytes(4096)).hexdigest()}


@pytest.mark.parametrize("make", [plain_raw, plain_qcow2])
def test_crypto_erase_of_a_plain_volume_is_refused_and_touches_nothing(make: Make, ground: Disk, luks_image: Path) -> None:
    path = make(ground, luks_image)
    content = path.read_bytes()
    code, message = error(ground, path, "crypto-erase")
    assert code == "refused"
    assert "cannot be erased by destroying its keys" in message
    assert path.read_bytes() == content


KILLED_BY = """
import os, signal, sys
from pathlib import Path
from agents.node.main import run
from agents.node.place import Place
sys.exit(run(["volume-wipe"], sys.stdin.buffer, sys.stdout.buffer, place=Place(Path(sys.argv[1]))))
"""


def killed_at(on: Disk, call_name: str, number: int, request: dict[str, object]) -> None:
    """Run the agent and end it with SIGKILL as it enters the given system call for the ``number``-th time."""
    done = subprocess.run(
        [
            "strace", "-qq", "-o", "/dev/null", "-e", f"trace={call_name}",
            "-e", f"inject={call_name}:signal=SIGKILL:when={number}", sys.executable, "-c", KILLED_BY, str(on.place.root),
        ],
        input=json.dumps(request).encode(), capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == -9, (done.returncode, done.stdout, done.stderr)


# Before the renaming, at writes of both passes, before the report is kept, before the volume is unlinked.
CRASHES = [
    ("renameat", 1), ("pwrite64", 1), ("pwrite64", 2), ("pwrite64", 4), ("unlinkat", 1),
]  # fmt: skip


@pytest.mark.parametrize(("call_name", "number"), CRASHES)
@pytest.mark.parametrize(("make", "method"), [(plain_raw, "overwrite"), (encrypted, "crypto-erase")])
def test_a_wipe_that_was_killed_is_finished_with_the_samples_of_the_beginning(
    call_name: str, number: int, make: Make, method: str, ground: Disk, luks_image: Path
) -> None:
    path = make(ground, luks_image)
    raw = ground.raw()
    request = {"path": str(path), "method": method, "samples": 6}
    killed_at(ground, call_name, number, request)
    code, lines = call(ground, "volume-state", path=str(path))
    assert (code, lines[-1]["result"]["state"]) == (0, "present" if call_name == "renameat" else "wiping")

    report = wipe(ground, path, method, samples=6)

    assert len(report["samples"]) == 6
    for sample in report["samples"]:
        place = slice(sample["device_offset"], sample["device_offset"] + sample["length"])
        assert hashlib.sha256(raw[place]).hexdigest() == sample["sha256_before"]
    assert (report["method"], report["verified"]) == (method, True)
    after = ground.raw()
    assert after.count(MARKER) == after.count(b"LUKS\xba\xbe") == 0
    assert list(ground.pool.glob("orch.*")) == []


def test_a_long_wipe_goes_on_where_it_was_left(ground: Disk) -> None:
    path = ground.pool / "orch.vps-1.root.j1.raw"
    path.write_bytes(marked(44 * MEGABYTE))
    killed_at(ground, "pwrite64", 40, {"path": str(path), "method": "overwrite"})
    code, lines = call(ground, "volume-wipe", path=str(path), method="overwrite")
    assert code == 0
    assert lines[0]["progress"]["message"].startswith("33 MiB of 44 MiB overwritten")
    assert lines[-1]["result"]["verified"] is True
    assert ground.count(MARKER) == 0


def test_what_came_to_a_volume_after_its_plan_was_made_is_overwritten_too(ground: Disk) -> None:
    path = plain_raw(ground)
    killed_at(ground, "pwrite64", 3, {"path": str(path), "method": "overwrite"})
    with path.with_name(f"{path.name}.wiping").open("ab") as stream:
        stream.write(marked(2 * MEGABYTE))
    assert wipe(ground, path)["bytes_overwritten"] == 8 * MEGABYTE
    assert ground.count(MARKER) == 0


def test_a_wipe_whose_record_is_lost_begins_again(ground: Disk) -> None:
    path = plain_raw(ground)
    killed_at(ground, "pwrite64", 3, {"path": str(path), "method": "overwrite"})
    Records(ground.place, str(path)).forget_plan()
    assert wipe(ground, path)["verified"] is True
    assert ground.count(MARKER) == 0


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"method": "overwrite", "extents": 7}'])
def test_a_wipe_whose_record_is_damaged_begins_again(damage: str, ground: Disk) -> None:
    path = plain_raw(ground)
    killed_at(ground, "pwrite64", 3, {"path": str(path), "method": "overwrite"})
    (plan,) = (ground.place.state / "wipes").glob("*.plan")
    plan.write_text(damage)
    assert wipe(ground, path)["verified"] is True
    assert ground.count(MARKER) == 0


def test_a_crypto_erase_whose_record_is_lost_is_refused_until_all_may_be_overwritten(ground: Disk, luks_image: Path) -> None:
    path = encrypted(ground, luks_image)
    killed_at(ground, "unlinkat", 1, {"path": str(path), "method": "crypto-erase"})
    Records(ground.place, str(path)).forget_plan()
    assert error(ground, path, "crypto-erase")[0] == "refused"
    assert wipe(ground, path, "overwrite")["method"] == "overwrite"


def test_a_plan_made_before_a_customer_paid_is_not_used_later(ground: Disk) -> None:
    """Killed before the renaming, the guest runs and writes more; the wipe that comes in the end covers that too."""
    path = plain_raw(ground)
    killed_at(ground, "renameat", 1, {"path": str(path), "method": "overwrite"})
    with path.open("ab") as stream:
        stream.write(marked(2 * MEGABYTE))
    assert wipe(ground, path)["bytes_overwritten"] == 8 * MEGABYTE
    assert ground.count(MARKER) == 0


def test_asking_again_gives_the_same_report_until_the_residue_is_cleaned(ground: Disk) -> None:
    path = plain_raw(ground)
    report = wipe(ground, path)
    assert wipe(ground, path) == report
    assert call(ground, "volume-state", path=str(path))[1][-1]["result"]["report"] == report
    call(ground, "residue", service_id="vps-1", pool_path=str(ground.pool), clean=True)
    assert wipe(ground, path) == {"path": str(path), "absent": True}


def test_a_wipe_goes_on_although_nobody_listens_any_more(ground: Disk) -> None:
    path = plain_raw(ground)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_BY, str(ground.place.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(json.dumps({"path": str(path), "method": "overwrite"}).encode())
    process.stdin.close()
    process.wait(timeout=60)
    assert ground.count(MARKER) == 0
    assert wipe(ground, path)["verified"] is True


def test_progress_is_told(ground: Disk) -> None:
    path = plain_raw(ground)
    _, lines = call(ground, "volume-wipe", path=str(path), method="overwrite")
    assert 0 < lines[0]["progress"]["fraction"] <= 1
    assert "iB overwritten" in lines[0]["progress"]["message"]


class Meddler(io.BytesIO):
    """Hears the agent, and does something to the pool at the first word."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act: Callable[[], object] | None = act

    def write(self, data: Any) -> int:
        act, self._act = self._act, None
        if act is not None:
            act()
        return super().write(data)


@pytest.mark.parametrize("put", ["link", "file", "nothing"])
def test_a_name_that_became_another_files_meanwhile_is_not_removed(put: str, ground: Disk) -> None:
    path, moved = plain_raw(ground), ground.pool / "moved"
    wiping = path.with_name(f"{path.name}.wiping")

    def swap() -> None:
        wiping.rename(moved)
        if put == "link":
            wiping.symlink_to("/etc/hostname")
        elif put == "file":
            wiping.write_bytes(b"precious")

    out = Meddler(swap)
    request = json.dumps({"path": str(path), "method": "overwrite"}).encode()
    code = run(["volume-wipe"], io.BytesIO(request), out, place=ground.place)
    said = json.loads(out.getvalue().splitlines()[-1])["error"]
    assert (code, said["code"]) == (6, "in-doubt")
    assert "moved or replaced" in said["message"]
    assert wiping.is_symlink() is (put == "link")
    assert wiping.is_file() is (put != "nothing")
    assert moved.exists()
    assert Records(ground.place, str(path)).report() is None


def test_a_volume_with_a_second_name_is_refused(ground: Disk) -> None:
    path = plain_raw(ground)
    os.link(path, ground.pool / "others.raw")
    code, message = error(ground, path)
    assert (code, "hard links" in message) == ("refused", True)
    assert (ground.pool / "others.raw").read_bytes() == marked(6 * MEGABYTE)


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory", "device"])
def test_what_is_no_plain_file_is_refused(kind: str, ground: Disk) -> None:
    path, target = ground.pool / "orch.vps-1.root.j1.raw", ground.place.root / "precious"
    target.write_bytes(marked(MEGABYTE))
    if kind == "link":
        path.symlink_to(target)
    elif kind == "dangling link":
        path.symlink_to("/nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    assert error(ground, path)[0] == "refused"
    assert target.read_bytes() == marked(MEGABYTE)
    if kind == "directory":
        path.rmdir()


def test_a_volume_that_is_open_elsewhere_is_left_alone_for_now(ground: Disk) -> None:
    path = plain_raw(ground)
    with path.open("rb") as stream:
        holder = subprocess.Popen(["sleep", "600"], stdin=stream)
    with holder:
        try:
            code, message = error(ground, path)
            assert code == "driver-transient"
            assert f"sleep ({holder.pid})" in message
            assert path.read_bytes() == marked(6 * MEGABYTE)
        finally:
            holder.kill()
    assert wipe(ground, path)["verified"] is True


def test_a_short_look_of_another_process_is_waited_for(ground: Disk) -> None:
    path = plain_raw(ground)
    with path.open("rb") as stream:
        looker = subprocess.Popen(["sleep", "0.7"], stdin=stream)
    with looker:
        assert wipe(ground, path)["verified"] is True


def test_two_calls_on_one_volume_do_not_interleave(ground: Disk) -> None:
    path = plain_raw(ground)
    impatient = replace(ground, place=Place(ground.place.root, lock_wait=0.2))
    with ground.place.lock(str(path)):
        assert error(impatient, path) == ("driver-transient", f"another call still works on {path}")
    assert path.read_bytes() == marked(6 * MEGABYTE)


def test_a_volume_beside_its_own_half_wiped_one_is_for_an_operator(ground: Disk) -> None:
    path = plain_raw(ground)
    path.with_name(path.name + ".wiping").write_bytes(b"x")
    assert error(ground, path)[0] == "wrong-state"
    assert path.read_bytes() == marked(6 * MEGABYTE)


def test_a_file_system_that_cannot_be_overwritten_in_place_is_refused(ground: Disk) -> None:
    memory = ground.place.root / "memory"
    memory.mkdir()
    tool("mount", "-t", "tmpfs", "none", memory)
    try:
        ground.place.config.write_text(json.dumps({"pool_paths": [str(memory), str(ground.pool)]}))
        path = memory / "orch.vps-1.root.j1.raw"
        path.write_bytes(marked(MEGABYTE))
        assert error(ground, path)[0] == "refused"
        assert path.read_bytes() == marked(MEGABYTE)
    finally:
        tool("umount", memory)


def test_a_device_that_holds_something_else_is_never_certified(ground: Disk) -> None:
    path = plain_raw(ground)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        extents, found = file_extents(stream.fileno()), medium(stream.fileno())
    samples = proof.samples_before(extents, found, count=4, block=4096)
    assert len(samples) == 4
    with pytest.raises(AgentError, match="does not hold at byte"):
        proof.read_back(extents, samples, found, zeros)


def test_a_device_that_cannot_be_read_is_said_and_nothing_claimed(ground: Disk) -> None:
    path = plain_raw(ground)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        extents, found = file_extents(stream.fileno()), medium(stream.fileno())
    hidden = type(found)("/dev/not-there", found.file_system, found.options, found.rotational, found.model)
    assert proof.samples_before(extents, hidden, count=4, block=4096) == ()
    rows, problem = proof.read_back(extents, (), hidden, zeros)
    assert (rows, "/dev/not-there" in problem) == ([], True)


def test_the_key_of_a_secret_is_gone_from_the_device_before_libvirt_removes_its_file(ground: Disk) -> None:
    uuid = "3f0c5cf0-5f3e-4a38-9a93-1c1d5a6f3a11"
    secrets = ground.place.root / "etc/libvirt/secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    tool("mount", "--bind", ground.pool, secrets)
    try:
        value = secrets / f"{uuid}.base64"
        key = base64.b64encode(hashlib.sha256(b"key").digest() + hashlib.sha256(b"more").digest())
        value.write_bytes(key)
        assert ground.count(key) == 1
        code, lines = call(ground, "secret-wipe", uuid=uuid)
        assert (code, lines[-1]["result"]["wiped"], lines[-1]["result"]["in_place"]) == (0, True, True)
        assert ground.count(key) == 0
        assert len(base64.b64decode(value.read_bytes(), validate=True)) == 64
    finally:
        tool("umount", secrets)
    assert call(ground, "secret-wipe", uuid=uuid)[1][-1]["result"] == {"uuid": uuid, "absent": True}
