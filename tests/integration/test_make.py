"""Making volumes by the node's agent: whole or not at all, whatever ends it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.node.files import processes_with
from agents.node.main import run
from tests.disk import Disk, disk, tool
from tests.lab import daemons
from tests.lab.environment import Lab
from tests.local_agent import words

MIB = 1 << 20
NAME = "orch.vps-1.root.j1.qcow2"
MAKING = "orch.vps-1.making.root.j1.qcow2"
KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SLOW: dict[str, Any] = {
    "capacity_bytes": 64 * MIB,
    "passphrase": KEY,
}  # takes QEMU more than a second, to measure the key derivation
STEADY_LIMIT = 100_000


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path) as made:
        source = tmp_path / "source"
        source.write_bytes(bytes(range(256)) * 4096)
        tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, made.pool / "template.qcow2")
        shutil.copyfile(source, made.pool / "template.raw")
        yield made


def asked(on: Disk, *, seconds: int = 60, name: str = NAME, **wanted: Any) -> dict[str, Any]:
    if "template" in wanted:
        wanted["template"] = str(on.pool / wanted["template"])
    return {"path": str(on.pool / name), "seconds": seconds, "capacity_bytes": 8 * MIB, **wanted}


def call(on: Disk, command: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    out = io.BytesIO()
    code = run([command], io.BytesIO(json.dumps(request).encode()), out, place=on.place)
    return code, json.loads(out.getvalue().splitlines()[-1])


def make(on: Disk, **wanted: Any) -> dict[str, Any]:
    code, answer = call(on, "volume-make", asked(on, **wanted))
    assert code == 0, answer
    result: dict[str, Any] = answer["result"]
    return result


def refused(on: Disk, **wanted: Any) -> tuple[str, str]:
    code, answer = call(on, "volume-make", asked(on, **wanted))
    assert code != 0, answer
    return answer["error"]["code"], answer["error"]["message"]


def ours(on: Disk) -> list[str]:
    return sorted(path.name for path in on.pool.glob("orch.*"))


def info(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tool("qemu-img", "info", "--output=json", path))
    return found


def same_content(path: Path, template: Path, key_file: Path | None) -> bool:
    """Whether the image, opened with its key, shows the template's content."""
    secret = () if key_file is None else ("--object", f"secret,id=k,file={key_file}")
    opened = f"driver=qcow2,file.filename={path}" + ("" if key_file is None else ",encrypt.key-secret=k")
    done = subprocess.run(
        ["qemu-img", "compare", "--image-opts", *secret, opened, f"driver=qcow2,file.filename={template}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0 and "identical" in done.stdout


@pytest.mark.parametrize("full_copy", [False, True])
@pytest.mark.parametrize("passphrase", ["", KEY])
def test_a_volume_is_what_was_asked_for(passphrase: str, full_copy: bool, ground: Disk, tmp_path: Path) -> None:
    secret = {"passphrase": passphrase} if passphrase else {}
    result = make(ground, template="template.qcow2", full_copy=full_copy, **secret)
    path, template = ground.pool / NAME, ground.pool / "template.qcow2"
    assert ours(ground) == [NAME]
    status, found = path.stat(), info(path)
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid, status.st_nlink) == (0o600, 0, 0, 1)
    assert (found["virtual-size"], found.get("encrypted", False)) == (8 * MIB, bool(passphrase))
    assert found.get("backing-filename", "") == ("" if full_copy else str(template))
    assert found.get("backing-filename-format", "") == ("" if full_copy else "qcow2")
    assert found["format-specific"]["data"]["compat"] == "1.1"
    key = tmp_path / "key"
    key.write_text(passphrase)
    assert same_content(path, template, key if passphrase else None)
    assert result == {
        "path": str(path),
        "capacity_bytes": 8 * MIB,
        "allocated_bytes": result["allocated_bytes"],
        "encrypted": bool(passphrase),
        "backing_path": "" if full_copy else str(template),
    }
    if passphrase:
        key.write_text("another-" + passphrase)
        assert not same_content(path, template, key)
        luks = found["format-specific"]["data"]["encrypt"]
        used = [slot["iters"] for slot in luks["slots"] if slot["active"]]
        assert [count < STEADY_LIMIT for count in (luks["master-key-iters"], *used)] == [True, True], luks


def test_a_template_may_be_raw(ground: Disk) -> None:
    make(ground, template="template.raw", template_format="raw", full_copy=True)
    assert same_content(ground.pool / NAME, ground.pool / "template.qcow2", None)


def test_an_empty_volume_needs_no_template(ground: Disk) -> None:
    assert make(ground, full_copy=True)["backing_path"] == ""
    assert info(ground.pool / NAME)["virtual-size"] == 8 * MIB


@pytest.mark.parametrize(
    ("there", "code"), [(NAME, "already-exists"), (f"{NAME}.wiping", "wrong-state")], ids=["volume", "wipe begun"]
)
def test_what_is_there_is_left_alone(there: str, code: str, ground: Disk) -> None:
    (ground.pool / there).write_bytes(b"a customer's data")
    assert refused(ground) == (code, f"{there} is already there")
    assert (ours(ground), (ground.pool / there).read_bytes()) == ([there], b"a customer's data")


def test_what_comes_in_between_is_never_replaced(ground: Disk) -> None:
    answers: list[tuple[str, str]] = []
    maker = threading.Thread(target=lambda: answers.append(refused(ground, **SLOW)))
    maker.start()
    daemons.wait_until("the volume to be begun", (ground.pool / MAKING).exists, seconds=30)
    (ground.pool / NAME).write_bytes(b"a customer's data")
    maker.join(timeout=120)
    assert answers == [("already-exists", f"{NAME} is already there")]
    assert (ours(ground), (ground.pool / NAME).read_bytes()) == ([NAME], b"a customer's data")


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        ({"template": "none.qcow2"}, "not-found", "none.qcow2"),
        ({"template": "template.raw"}, "driver-permanent", "template.raw as qcow2"),
        ({"template": "template.qcow2", "capacity_bytes": MIB // 2}, "driver-permanent", "smaller than its template"),
        ({"template": "link.qcow2"}, "refused", "not a regular file"),
        ({"template": "../template.qcow2"}, "request-invalid", "'template'"),
        ({"name": "template2.qcow2"}, "refused", "not the name of a service's volume"),
        ({"name": "orch.vps-1.a.b.c.d"}, "refused", "not the name of a service's volume"),
        ({"name": "sub/orch.vps-1.root.j1.qcow2"}, "refused", "not a storage pool"),
        ({"capacity_bytes": 8 * MIB + 1}, "driver-permanent", "instead of"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(wanted: dict[str, Any], code: str, said: str, ground: Disk) -> None:
    (ground.pool / "link.qcow2").symlink_to("template.qcow2")
    before = sorted(ground.pool.iterdir())
    found, message = refused(ground, **wanted)
    assert found == code, message
    assert said in message
    assert sorted(ground.pool.iterdir()) == before


@pytest.mark.parametrize("full_copy", [False, True])
@pytest.mark.parametrize("passphrase", ["", KEY])
def test_a_full_pool_is_told_and_nothing_is_left(passphrase: str, full_copy: bool, ground: Disk) -> None:
    subprocess.run(["dd", "if=/dev/zero", f"of={ground.pool}/ballast", "bs=4k"], check=False, capture_output=True, timeout=60)
    secret = {"passphrase": passphrase} if passphrase else {}
    assert refused(ground, template="template.qcow2", full_copy=full_copy, **secret)[0] == "no-capacity"
    assert ours(ground) == []


def test_a_pool_that_takes_no_more_files_is_full_too(ground: Disk) -> None:
    tool("mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs", ground.pool)
    try:
        assert refused(ground)[0] == "no-capacity"
    finally:
        tool("umount", ground.pool)


def test_the_time_is_kept(ground: Disk) -> None:
    assert refused(ground, seconds=1, **SLOW)[0] == "driver-transient"
    assert ours(ground) == []


# -- broken off ------------------------------------------------------------


def started(on: Disk, *, programs: str = "", **wanted: Any) -> subprocess.Popen[bytes]:
    """An agent of its own, once qemu-img is at work on the volume; ``programs`` is a directory to look for that in first."""
    process = subprocess.Popen(
        words(on.place, "volume-make"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked(on, **wanted)).encode())
    process.stdin.close()
    process.stdin = None  # communicate() would flush it
    daemons.wait_until("qemu-img", lambda: len(at_work(on)) > 1, seconds=60)
    return process


def program(directory: Path, text: str) -> str:
    """A directory with a qemu-img of that text."""
    path = directory / "bin" / "qemu-img"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o755)
    return str(path.parent)


# Opens the volume, and never ends by itself.
HANGING = """#!/bin/sh
for word; do
    case "$word" in *.making.*) exec sleep 3600 < "$word" ;; esac
done
"""


def at_work(on: Disk) -> list[str]:
    """Who has the half-made volume open."""
    try:
        fd = os.open(on.pool / MAKING, os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        return processes_with(fd)
    finally:
        os.close(fd)


def test_killed_it_leaves_what_the_next_call_makes_anew(ground: Disk) -> None:
    process = started(ground, **SLOW)
    process.kill()
    process.communicate(timeout=60)
    assert ours(ground) == [MAKING]
    _, found = call(ground, "residue", {"service_id": "vps-1", "pool_path": str(ground.pool), "clean": False})
    assert found["result"]["found"] == [str(ground.pool / MAKING)]
    make(ground, **SLOW)
    assert ours(ground) == [NAME]


def test_what_a_killed_one_left_can_be_wiped(ground: Disk) -> None:
    process = started(ground, **SLOW)
    process.kill()
    process.communicate(timeout=60)
    code, answer = call(ground, "volume-wipe", {"path": str(ground.pool / MAKING), "method": "overwrite"})
    assert (code, answer["result"]["method"]) == (0, "overwrite")
    assert ours(ground) == []


# Before the first file, before it is checked, before it is on the medium, before it is in place, and right after that.
@pytest.mark.parametrize(
    ("call_name", "number", "left"),
    [("memfd_create", 1, []), ("fsync", 1, [MAKING]), ("renameat2", 1, [MAKING]), ("fsync", 2, [NAME])],
)
def test_killed_at_any_moment_a_volume_is_whole_or_not_there(call_name: str, number: int, left: list[str], ground: Disk) -> None:
    request = asked(ground, template="template.qcow2", passphrase=KEY)
    inject = ["-e", f"trace={call_name}", "-e", f"inject={call_name}:signal=SIGKILL:when={number}"]
    done = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", *inject, *words(ground.place, "volume-make")],
        input=json.dumps(request).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, (done.returncode, done.stdout, done.stderr)
    assert ours(ground) == left
    code, answer = call(ground, "volume-make", request)
    assert code == 0 or answer["error"]["code"] == "already-exists"
    assert ours(ground) == [NAME]
    assert info(ground.pool / NAME)["encrypted"]


def test_qemu_img_ends_with_the_agent(ground: Disk, tmp_path: Path) -> None:
    process = started(ground, programs=program(tmp_path, HANGING))
    process.kill()
    process.communicate(timeout=60)
    daemons.wait_until("qemu-img to end", lambda: at_work(ground) == [], seconds=30)


def test_when_nobody_listens_any_more_it_ends_and_leaves_nothing(ground: Disk, tmp_path: Path) -> None:
    process = started(ground, programs=program(tmp_path, HANGING))
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 5
    assert ours(ground) == []


# Somebody removes the volume after it was looked at.
TAKING = """#!/bin/sh
{real} "$@" || exit 1
for word; do
    case "$1 $word" in "info "*.making.*) rm "$word" ;; esac
done
"""


def test_what_is_taken_away_while_it_is_made_does_not_come_back(ground: Disk, tmp_path: Path) -> None:
    answer = answered(ground, program(tmp_path, TAKING.format(real=shutil.which("qemu-img"))))
    assert answer["error"]["code"] == "driver-transient"
    assert ours(ground) == []


def answered(on: Disk, programs: str) -> dict[str, Any]:
    """The last line of an agent that finds qemu-img in the directory ``programs``."""
    done = subprocess.run(
        words(on.place, "volume-make"),
        input=json.dumps(asked(on)).encode(),
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_two_calls_for_one_volume_make_it_once(ground: Disk) -> None:
    codes: list[int] = []
    patient = replace(ground, place=replace(ground.place, lock_wait=120.0))
    makers = [
        threading.Thread(target=lambda: codes.append(call(patient, "volume-make", asked(ground, **SLOW))[0])) for _ in range(2)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(timeout=120)
    assert sorted(codes) == [0, 3]
    assert ours(ground) == [NAME]


# -- the key ------------------------------------------------------------


def test_the_passphrase_is_in_no_argument_no_environment_and_no_answer(ground: Disk) -> None:
    process = started(ground, template="template.qcow2", full_copy=True, passphrase=KEY)
    shown = b""
    for each in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            try:
                shown += (each / file).read_bytes()
            except OSError:
                continue  # it has ended
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert MAKING.encode() in shown
    assert KEY.encode() not in shown + output + b"".join(path.read_bytes() for path in ground.pool.glob("orch.*"))
    assert not any(KEY.encode() in path.read_bytes() for path in ground.place.root.rglob("*") if path.is_file())


UNMEASURED = """#!/bin/sh
if [ "$1" = create ] && [ "$(wc -l < {count})" -lt {times} ]; then
    echo >> {count}
    echo "qemu-img: Unable to get accurate CPU usage" >&2
    exit 1
fi
exec {real} "$@"
"""


@pytest.mark.parametrize(("times", "code"), [(3, ""), (1000, "driver-transient")])
def test_what_qemu_could_not_measure_is_tried_again_for_a_while(times: int, code: str, ground: Disk, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.touch()
    programs = program(tmp_path, UNMEASURED.format(count=count, times=times, real=shutil.which("qemu-img")))
    answer = answered(ground, programs)
    assert answer.get("error", {}).get("code", "") == code
    assert len(count.read_text().splitlines()) == min(times, 50)
    assert ours(ground) == ([] if code else [NAME])
