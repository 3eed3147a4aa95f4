"""What is new in a repository is read once: what was read stays read, and what is no damage is not called so."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.node.protocol import AgentError
from agents.node.restic import packs

CONTENT = {sha256(bytes([number])).hexdigest(): bytes([number]) for number in range(6)}
STORED = dict.fromkeys(CONTENT, 1)


class Shelf:
    """A place whose packs are told one by one. ``gone``: went after they were listed; ``wrong``: are not what was written."""

    def __init__(self, *, gone: Sequence[str] = (), wrong: Sequence[str] = ()) -> None:
        self.gone, self.wrong = gone, wrong
        self.read: list[str] = []

    def digests(self, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
        for name in wanted:
            self.read.append(name)
            yield name, "" if name in self.gone else "0" * 64 if name in self.wrong else name

    def sizes(self, kind: str) -> dict[str, int]:
        assert kind == "data"
        return {name: 1 for name in STORED if name not in self.gone}


class Reader:
    def __init__(self, directory: Path) -> None:
        self.call: Any = SimpleNamespace(
            place=SimpleNamespace(state=directory),
            arguments={"limits": SimpleNamespace(download_kib=0)},
            progress=lambda _fraction, _words: None,
        )

    def __call__(self, shelf: Any, *, seconds: float = 60.0) -> dict[str, Any]:
        return packs.read_new(self.call, shelf, "/srv/s1.1", STORED, end=time.monotonic() + seconds)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_all_that_is_new_is_read_once(reader: Reader) -> None:
    first, second = Shelf(), Shelf()
    assert (reader(first), sorted(first.read)) == ({}, sorted(STORED))
    assert (reader(second), second.read) == ({}, [])


def test_what_was_read_before_the_time_was_up_is_not_read_again(reader: Reader) -> None:
    seen: list[str] = []
    for _ in STORED:
        shelf = Shelf()
        with pytest.raises(AgentError, match="did not end in time"):
            reader(shelf, seconds=-1.0)
        seen += shelf.read
    assert sorted(seen) == sorted(STORED)
    assert reader(Shelf()) == {}


def test_a_pack_that_is_not_what_was_written_is_told_each_time(reader: Reader) -> None:
    wrong = sorted(STORED)[2]
    for _ in range(2):
        found = reader(Shelf(wrong=[wrong]))
        assert (found["errors"], found["broken_packs"]) == (1, [wrong])
    assert wrong[:8] in found["messages"][0]


def test_a_pack_that_somebody_pruned_meanwhile_is_no_damage(reader: Reader) -> None:
    with pytest.raises(AgentError, match="somebody prunes") as caught:
        reader(Shelf(gone=[min(STORED)]))
    assert caught.value.code == "driver-transient"
