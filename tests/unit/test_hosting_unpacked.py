"""What an import has put into a home goes again, and nothing that was its customer's. Unpacked by tar, as an import does it."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from agents.node.hosting import moving, tarball, unpacked
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.unpacked import TakenOut
from agents.node.place import Place
from tests.unit.test_hosting_tarball import folder, link, member, packed

WHEN = {"mtime": 1_500_000_000}
GOOD = packed(
    folder("home"),
    folder("home/sites", **WHEN),
    member("home/sites/page", b"new page", **WHEN),
    member("home/sites/second", b"second", **WHEN),
    link("home/www", "sites"),
    link("home/again", "home/sites/second", kind=b"1"),
    member("home/deep/er/letter", b"a letter", **WHEN),
    member("home/last", b"the last of all", **WHEN),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(Node(Place(tmp_path)), "h100001")
    (made.chroot / "home/sites").mkdir(parents=True)
    (made.chroot / "home/sites/page").write_text("old page")
    (made.chroot / "home/mine").write_text("mine")
    return made


def note(home: Home, *, job_id: str = "j1", data: bytes = GOOD) -> None:
    unpacked.note(home, tarball.in_home(io.BytesIO(data)), job_id=job_id, look=lambda: None)


def unpack(home: Home, *, data: bytes = GOOD, cut: int = 0) -> None:
    """By tar, with the words of an import; ``cut``: it ends so many bytes before the end."""
    plain = b"".join(tarball.files(io.BytesIO(data)))
    words = [*moving.TAR, f"--directory={home.chroot}/home"]
    done = subprocess.run(words, input=plain[: len(plain) - cut], capture_output=True, check=False)
    assert (done.returncode == 0) == (cut == 0), done.stderr


def take_out(home: Home, *, job_id: str = "j1", whole: bool = True) -> TakenOut:
    return unpacked.take_out(home, job_id=job_id, uid=os.getuid(), whole=whole, look=lambda: None)


def there(home: Home) -> dict[str, str]:
    top = home.chroot / "home"
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


BEFORE = {"mine": "mine", "sites/page": "new page"}


def test_what_it_made_goes_and_what_was_there_stays_also_where_it_was_written_over(home: Home) -> None:
    note(home)
    unpack(home)
    assert len(there(home)) == 6
    taken = take_out(home)
    assert (there(home), sorted(path.name for path in (home.chroot / "home").iterdir())) == (BEFORE, ["mine", "sites"])
    assert taken == TakenOut(removed=7)
    assert take_out(home) == TakenOut(), "again nothing"


def test_what_its_customer_has_changed_or_added_since_stays_and_is_named(home: Home) -> None:
    note(home)
    unpack(home)
    top = home.chroot / "home"
    (top / "sites/second").unlink()
    (top / "sites/second").write_text("second")  # the same words, and another time
    (top / "deep/er/mine").write_text("mine")
    (top / "www").unlink()
    (top / "www").symlink_to("mine")
    (top / "last").write_text("less")
    taken = take_out(home)
    assert there(home) == {
        **BEFORE,
        "sites/second": "second",
        "deep/er/mine": "mine",
        "www": "mine",
        "last": "less",
    }
    assert (taken.left_count, set(taken.left)) == (5, {"sites/second", "deep/er", "deep", "www", "last"})


def test_a_file_that_was_broken_off_half_way_goes_too(home: Home) -> None:
    note(home)
    unpack(home, cut=2 * 512 + 500)
    assert 0 < len(there(home)["last"]) < len("the last of all") or there(home)["last"] == ""
    assert take_out(home, whole=False).left_count == 0
    assert there(home) == BEFORE


def test_done_again_by_the_same_job_its_first_attempt_is_its_own_and_of_another_it_is_not(home: Home) -> None:
    note(home)
    unpack(home)
    note(home)
    unpack(home)
    assert take_out(home, job_id="j2") == TakenOut()
    assert take_out(home).removed == 7
    unpack(home)
    note(home, job_id="j3")
    unpack(home)
    assert take_out(home, job_id="j3") == TakenOut(), "all of it was there before"


def test_behind_a_link_nothing_is_removed(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    note(home)
    unpack(home)
    top = home.chroot / "home"
    (outside / "er").mkdir()
    (top / "deep/er/letter").rename(outside / "er/letter")
    (top / "deep/er").rmdir()
    (top / "deep").rmdir()
    (top / "deep").symlink_to(outside)
    assert set(take_out(home).left) == {"deep", "deep/er", "deep/er/letter"}
    assert (outside / "er/letter").read_text() == "a letter"


def test_what_lies_behind_a_link_before_is_nobodys_to_say(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home.chroot / "home/deep").symlink_to(outside)
    note(home)
    rows = (home.records / "import-files").read_text()
    assert "deep" not in rows
    assert "last" in rows


def test_another_users_file_is_not_taken_for_what_was_unpacked(home: Home) -> None:
    note(home)
    unpack(home)
    taken = unpacked.take_out(home, job_id="j1", uid=os.getuid() + 1, whole=True, look=lambda: None)
    assert (taken.removed, taken.left_count) == (0, 7)
