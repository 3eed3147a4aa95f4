"""A directory is measured before it is backed up and watched while it is: what is over its cap never counts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.node.restic.gate import GREW, Gate, Most
from orchestrator.ports.repositories import BackupFacts, RunLimits
from tests.integration.restic_ground import Ground, fill, ground
from tests.lab.daemons import wait_until
from tests.restic_runs import locks_in

__all__ = ["ground"]  # a fixture

MEGABYTE = 1 << 20
SLOWLY = RunLimits(upload_kib=300)


def test_what_has_exactly_as_much_as_it_may_is_backed_up_and_one_more_is_not(ground: Ground) -> None:
    ground.make()
    (ground.home / "letters").mkdir()
    (ground.home / "letters/one").write_bytes(b"x" * 100)
    os.link(ground.home / "letters/one", ground.home / "letters/the same")
    (ground.home / "letters/link").symlink_to("one")
    os.mkfifo(ground.home / "pipe")
    made = ground.backup(most_bytes=100, most_inodes=5)
    assert (made.over, made.whole) == (False, True)
    assert made.measured is not None
    assert (made.measured.bytes, made.measured.inodes) == (100, 5), "names of one file count once; the directory itself counts"
    for refused in (ground.backup(most_bytes=99), ground.backup(most_inodes=4)):
        assert (refused.over, refused.whole, refused.snapshot) == (True, False, "")
        assert refused.measured is not None
        assert [(share.path, share.bytes, share.inodes) for share in refused.measured.largest] == [("letters", 100, 2)]
    assert ground.held() == [made.snapshot]


def test_what_grows_past_its_cap_while_it_is_read_is_ended_and_leaves_nothing(ground: Ground) -> None:
    ground.make()
    (ground.home / "a").write_bytes(os.urandom(MEGABYTE))
    (ground.home / "z").mkdir()
    first = ground.backup()
    (ground.home / "a").write_bytes(os.urandom(MEGABYTE))
    told: list[BackupFacts] = []
    run = threading.Thread(target=lambda: told.append(ground.backup(limits=SLOWLY, most_bytes=2 * MEGABYTE)))
    run.start()
    wait_until("a lock", lambda: bool(locks_in(ground.repository)))
    (ground.home / "z/large").write_bytes(os.urandom(30 * MEGABYTE))
    began = time.monotonic()
    run.join()
    assert time.monotonic() - began < 60, "reading all of it would take 100 seconds"
    (made,) = told
    assert (made.over, made.whole, made.snapshot) == (True, False, "")
    assert made.measured is not None
    assert made.measured.bytes == 31 * MEGABYTE
    assert made.measured.largest[0].path == "z"
    assert (ground.held(), locks_in(ground.repository), ground.processes()) == ([first.snapshot], set(), [])
    assert ground.verify(first.snapshot).sound


def test_what_is_found_too_large_only_at_the_end_does_not_count(ground: Ground) -> None:
    ground.make()
    (ground.home / "a").write_bytes(os.urandom(MEGABYTE))
    told: list[BackupFacts] = []
    run = threading.Thread(target=lambda: told.append(ground.backup(limits=SLOWLY, most_inodes=20)))
    (ground.home / "z").mkdir()
    run.start()
    wait_until("a lock", lambda: bool(locks_in(ground.repository)))
    fill(ground.home / "z", 30)
    run.join()
    assert (told[0].over, told[0].whole) == (True, False)
    assert told[0].measured is not None
    assert told[0].measured.inodes == 33


# -- the gate itself ------------------------------------------------------------------------


def gate(home: Path, most: Most, **options: Any) -> Gate:
    made = Gate(str(home), most, say=lambda _fraction, _said: None, end=time.monotonic() + 60, **options)
    made.measure()
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three files of 100 bytes, one of them with two names: 5 inodes."""
    made = tmp_path / "home"
    (made / "sub").mkdir(parents=True)
    for name in ("one", "two", "sub/three"):
        (made / name).write_bytes(b"x" * 100)
    os.link(made / "one", made / "same")
    return made


def test_names_of_one_file_are_taken_off_restics_counters_and_what_it_does_not_count_is_added(home: Path) -> None:
    exact = gate(home, Most(bytes=300, inodes=5))
    assert (exact.over, exact.watch(4, 400)) == (False, "")
    (home / "four").write_bytes(b"x")
    assert (exact.watch(4, 400), exact.over) == ("", False), "what is in it already is not more than may be"
    assert exact.watch(4, 401) == GREW


def test_counters_that_say_too_much_are_not_believed(home: Path) -> None:
    calm = gate(home, Most(bytes=300))
    (home / "two").unlink()
    os.link(home / "one", home / "two")
    (home / "six").hardlink_to(home / "one")
    assert (calm.watch(5, 500), calm.over) == ("", False)


def test_a_long_run_is_measured_from_time_to_time_whatever_the_counters_say(home: Path) -> None:
    patient, watchful = (gate(home, Most(bytes=300), look_seconds=seconds) for seconds in (60.0, 0.0))
    (home / "one").write_bytes(b"x" * 101)
    assert (patient.watch(1, 100), watchful.watch(1, 100)) == ("", GREW)


def test_directories_that_came_to_it_count(home: Path) -> None:
    exact = gate(home, Most(inodes=5))
    (home / "new").mkdir()
    assert not exact.read(4, 400, more_directories=0)
    assert exact.read(4, 400, more_directories=1)


def test_without_a_cap_nothing_is_ever_too_much(home: Path) -> None:
    look: Callable[[int, int], str] = gate(home, Most(), look_seconds=0.0).watch
    assert look(10**9, 10**15) == ""
