"""Where in accounts restic may write, and what of them belongs to no backup."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.node.hosting import restored, walk
from agents.node.hosting.attended import attend
from agents.node.place import Place
from agents.node.protocol import AgentError

PLACE = Place()


def still() -> None:
    """Nobody asks how far it is."""


@pytest.mark.parametrize(
    ("path", "account"),
    [
        ("/srv/h/h100001", ("h100001", "")),
        ("/srv/h/h100001/restored/b-1.x", ("h100001", "b-1.x")),
        ("/srv/data", None),
        ("/srv/h", None),
        ("/srv/h/other", None),
        ("/srv/h2/h100001", None),
    ],
)
def test_an_account_is_known_by_its_directory(path: str, account: tuple[str, str] | None) -> None:
    found = restored.of_path(PLACE, path)
    assert (found and (found[0].user, found[1])) == account


@pytest.mark.parametrize("below", ["home", "home/sites", "backup", "restored", "restored/.removing", "restored/b1/home", "x"])
def test_no_other_place_in_an_account_is_one_for_a_restore(below: str) -> None:
    with pytest.raises(AgentError, match="no place") as raised:
        restored.of_path(PLACE, f"/srv/h/h100001/{below}")
    assert raised.value.code == "refused"


def test_what_lies_aside_belongs_to_no_backup_of_an_account_and_to_every_other() -> None:
    assert "restored" in restored.left_out(PLACE, "/srv/h/h100001")
    for path in ("/srv/h/h100001/home", "/srv/h/other", "/srv/data", "/srv/x/h100001", "/"):
        assert restored.left_out(PLACE, path) == ()


def test_what_is_in_the_way_is_told_by_its_path_and_no_link_is_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "deep" / "er").mkdir(parents=True)
    (home / "plain").write_text("x")
    (home / "own").write_text("x")
    os.link(home / "own", tmp_path / "other name")
    os.mkfifo(home / "deep" / "er" / "pipe")
    (tmp_path / "outside").mkdir()
    os.mkfifo(tmp_path / "outside" / "pipe")
    (home / "link").symlink_to(tmp_path / "outside")
    here = Path.cwd()
    os.chdir(home)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
    os.chdir(here)
    found = walk.in_the_way(home, os.geteuid(), beat=still)
    assert (found.foreign, sorted(found.unread)) == ([], ["deep/er/pipe", "sock"])
    assert walk.in_the_way(home, os.geteuid() + 1, beat=still).foreign == ["own"]
    walk.unlink(home, "deep/er/pipe")
    walk.unlink(home, "deep/er/pipe")
    assert walk.in_the_way(home, os.geteuid(), beat=still).unread == ["sock"]
    with pytest.raises(OSError, match="link"):
        walk.unlink(home, "link/pipe")
    assert (tmp_path / "outside" / "pipe").exists()


def test_a_program_gets_all_of_its_input_and_says_how_it_ended(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        done = attend(["sh", "-c", "wc -c; echo why >&2; exit 3"], look=still, given=[b"x" * 100_000] * 30, into=out)
    assert ((tmp_path / "out").read_text().strip(), done.status, done.said) == ("3000000", 3, "why")


def test_a_program_that_reads_no_more_is_not_waited_for() -> None:
    done = attend(["sh", "-c", "exec <&-; echo enough >&2; exit 1"], look=still, given=[b"x" * (1 << 20)] * 8)
    assert (done.status, done.said) == (1, "enough")


@pytest.mark.parametrize("given", [None, [b"x" * (1 << 20)]])
def test_a_program_is_ended_when_nobody_waits_for_it_any_more(tmp_path: Path, given: list[bytes] | None) -> None:
    def gone() -> None:
        raise BrokenPipeError

    mark = tmp_path / "pid"
    with pytest.raises(BrokenPipeError):
        attend(["sh", "-c", f"echo $$ >{mark}; exec sleep 60"], look=gone, given=given)
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


def test_a_program_is_ended_where_its_input_turns_out_to_be_none(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"SELECT 1;\n"
        raise AgentError("refused", "of several databases")

    mark = tmp_path / "pid"
    with pytest.raises(AgentError, match="several"):
        attend(["sh", "-c", f"echo $$ >{mark}; exec cat"], look=still, given=pieces())
    assert not mark.exists() or not Path(f"/proc/{mark.read_text().strip()}").exists()
