"""Whose a lock in a repository is, and whether its owner is dead: by the agent's own record, and by nothing less."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agents.node.place import Place
from agents.node.restic import processes
from agents.node.restic.locks import Lock, owner
from agents.node.restic.processes import RunRecord

LOCK = Lock(id="1" * 64, host="hv1", pid=4711, since="2026-11-27T03:00:00Z", exclusive=False)
RECORD = RunRecord(location="/srv/s1.1", host="hv1", boot="b", pid=4711, start=99)


@pytest.mark.parametrize(
    ("record", "ours"),
    [
        (RECORD, True),
        (replace(RECORD, location="/srv/s1.2"), False),
        (replace(RECORD, host="hv2"), False),
        (replace(RECORD, pid=4712), False),
    ],
)
def test_a_lock_is_ours_by_a_record_of_the_same_run_only(record: RunRecord, ours: bool) -> None:
    assert (owner(LOCK, "/srv/s1.1", [record]) == record) is ours
    assert owner(LOCK, "/srv/s1.1", []) is None


def test_a_process_is_dead_when_its_number_is_anothers_or_the_machine_was_booted_since() -> None:
    mine = processes.started(os.getpid())
    assert mine is not None
    now = replace(RECORD, boot=processes.boot_id(), pid=os.getpid(), start=mine)
    assert now.alive()
    assert not replace(now, start=mine - 1).alive()
    assert not replace(now, boot="another").alive()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not replace(now, pid=ended.pid).alive()


def test_a_zombie_is_dead() -> None:
    left = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{left.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert processes.started(left.pid) is None
    left.wait()


def test_a_process_whose_first_thread_has_ended_runs_on_in_its_others() -> None:
    script = (
        "import ctypes, threading, sys, time\n"
        "threading.Thread(target=lambda: sys.stdin.read(1)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    left = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    try:
        while Path(f"/proc/{left.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            pass
        assert processes.started(left.pid) is not None
        assert processes.session_members(left.pid) == [left.pid]
    finally:
        left.kill()
        left.communicate()


def test_a_record_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    directory = processes.directory(place)
    assert processes.records(place) == []
    directory.mkdir(parents=True)
    processes.note(place, "/srv/s1.1")
    for number, text in enumerate(("", "{", "[]", '{"location": "/srv/s1.1"}')):
        (directory / f"b.{number}").write_text(text)
    ((path, record),) = processes.records(place)
    assert path == processes.record_path(place, os.getpid())
    assert (record.pid, record.alive()) == (os.getpid(), True)
