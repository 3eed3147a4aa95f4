"""A tarball by which an account moves in: what is taken, and that nothing of it is believed."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from agents.node.hosting import tarball
from agents.node.hosting.layout import Node
from agents.node.hosting.tarball import Contents, Most
from agents.node.place import Place
from agents.node.protocol import AgentError

MOST = Most(1 << 20, 100)
SETTINGS = {"sites": [{"name": "main", "domains": ["shop.example"]}]}


def member(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.uid, info.mode = len(content), 1003, 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def folder(name: str, **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **more})


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def packed(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if info.size and content else None)
    return out.getvalue()


def examined(data: bytes, most: Most = MOST) -> Contents:
    return tarball.examine(io.BytesIO(data), most, lambda _read: None)


def refused(*members: tuple[tarfile.TarInfo, bytes], code: str = "refused", most: Most = MOST) -> str:
    with pytest.raises(AgentError) as caught:
        examined(packed(*members), most)
    assert caught.value.code == code
    return caught.value.message


GOOD = (
    folder("home"),
    folder("home/sites"),
    folder("home/sites/main/public"),
    member("home/sites/main/public/index.php", b"<?php\n" * 1000),
    link("home/www", "sites/main/public"),
    link("home/sites/up", "../www"),
    link("home/again.php", "home/sites/main/public/index.php", tarfile.LNKTYPE),
    folder("databases", uid=0),
    member("databases/main.sql", b"CREATE TABLE t (i int);\n", uid=0),
    member("account.json", json.dumps(SETTINGS).encode(), uid=0),
)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_in_it_is_told(form: int, pack: Any) -> None:
    found = examined(pack(packed(*GOOD, form=form)))
    assert found.dumps == {"main": 24}
    assert found.settings == SETTINGS
    assert found.inodes == 9, "another name of a file is none"
    assert found.bytes == 4 * 4096 + 8192 + 4096 + 4096
    assert len(found.sha256) == 64


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [-1, -511, -512, -(1 << 40)])
def test_a_file_smaller_than_nothing_is_refused(form: int, size: int) -> None:
    with pytest.raises(AgentError) as caught:
        examined(packed(folder("home"), member("home/a", pax_headers={"size": str(size)}, size=size), form=form))
    assert caught.value.code == "refused"


def test_names_may_begin_with_a_dot_and_a_slash() -> None:
    found = examined(packed(folder("."), folder("./home"), member("./home/a", b"x"), member("./account.json", b"{}")))
    assert (found.inodes, found.settings) == (4, {})


@pytest.mark.parametrize(
    "hostile",
    [
        member("/etc/passwd", b"x"),
        member("home/../../etc/passwd", b"x"),
        member("../home/a", b"x"),
        member("home//a", b"x"),
        member("home/./a", b"x"),
        member("home/a\nb", b"x"),
        member("etc/passwd", b"x"),
        member("home", b"x"),
        link("home/a", "/etc/passwd"),
        link("home/a", "../../etc"),
        link("home/a", ".."),
        link("home/a", "../databases/x"),
        link("home/a", "/etc/shadow", tarfile.LNKTYPE),
        link("home/a", "home/../../etc/shadow", tarfile.LNKTYPE),
        link("home/a", "home/nothing", tarfile.LNKTYPE),
        link("databases/main.sql", "/etc/shadow"),
        link("account.json", "home/a"),
        member("home/a", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("home/a", type=tarfile.BLKTYPE, devmajor=8),
        member("home/a", type=tarfile.FIFOTYPE),
        member("home/a", b"x", mode=0o4755),
        member("home/a", b"x", mode=0o2755),
        folder("home/a", mode=0o2775),
        member("home/a", b"x", uid=0),
        member("databases/x;y.sql", b"x"),
        member("databases/../home/a", b"x"),
        folder("databases/main.sql"),
        member("account.json", b"[]"),
        member("account.json", b"{"),
        member("account.json", b'{"limits": {}}'),
        member("account.json", b"[" * 100_000),
    ],
    ids=lambda each: ascii(each[0].name) + each[0].linkname,
)
def test_what_is_hostile_is_refused_by_its_name(hostile: tuple[tarfile.TarInfo, bytes]) -> None:
    said = refused(folder("home"), member("home/mine", b"x"), hostile)
    assert ascii(hostile[0].name.removeprefix("./"))[1:-1] in said
    assert "\n" not in said


def test_what_lies_behind_a_link_or_a_file_is_refused() -> None:
    assert "lies behind home/a" in refused(folder("home"), link("home/a", "sites"), member("home/a/b", b"x"))
    assert "lies behind home/a" in refused(folder("home"), member("home/a", b"x"), member("home/a/b", b"x"))


def test_nothing_is_in_it_twice() -> None:
    assert "twice" in refused(folder("home"), folder("home/a"), link("home/a", "b"))
    assert "twice" in refused(folder("home"), folder("home/a"), link("./home/a/", "b"))


def test_another_name_of_a_link_is_refused() -> None:
    assert "no plain file before it" in refused(folder("home"), link("home/a", "b"), link("home/c", "home/a", tarfile.LNKTYPE))


def test_a_file_that_says_that_it_is_larger_than_it_is_is_refused() -> None:
    sparse = member("home/a", b"x" * 512)
    sparse[0].pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50)}
    with pytest.raises(AgentError) as caught:
        examined(packed(folder("home"), sparse, form=tarfile.PAX_FORMAT))
    assert caught.value.code == "refused"


def test_more_than_there_is_room_for_is_refused() -> None:
    many = [member(f"home/{number}") for number in range(100)]
    assert "more than 100 files" in refused(folder("home"), *many, code="no-capacity")
    assert "more than 1 MiB" in refused(folder("home"), member("home/a", bytes(1 << 20)), code="no-capacity")


def test_a_small_file_that_holds_a_large_one_ends_the_look_early() -> None:
    info = tarfile.TarInfo("home/a")
    info.size = 1 << 40
    bomb = gzip.compress(info.tobuf() + bytes(64 << 20))
    with pytest.raises(AgentError, match="holds more than"):
        examined(bomb)
    pax = tarfile.TarInfo("home/a")
    pax.pax_headers = {"comment": "x" * (32 << 20)}
    with pytest.raises(AgentError, match="holds more than"):
        examined(gzip.compress(pax.tobuf(tarfile.PAX_FORMAT)))


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 10_000, gzip.compress(b"x" * 10_000), packed(*GOOD)[:1500], b"\x1f\x8b\x08rubbish"],
    ids=["nothing", "text", "compressed text", "cut off", "rubbish"],
)
def test_what_is_no_whole_tarball_is_refused(data: bytes) -> None:
    with pytest.raises(AgentError) as caught:
        examined(data)
    assert caught.value.code == "refused"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_unpacked_is_the_home_alone_with_plain_names_and_modes(pack: Any) -> None:
    deep = member("home/" + "d" * 90 + "/" + "f" * 90, b"deep", mode=0o1640)
    data = pack(packed(*GOOD, deep))
    plain = io.BytesIO(b"".join(tarball.files(io.BytesIO(data))))
    with tarfile.open(fileobj=plain, mode="r:") as archive:
        found = {each.name: each for each in archive}
        page = archive.extractfile("sites/main/public/index.php")
        assert page is not None
        assert page.read() == b"<?php\n" * 1000
    assert sorted(found) == sorted(
        ["sites", "sites/main/public", "sites/main/public/index.php", "www", "sites/up", "again.php", deep[0].name[5:]]
    )
    assert found["again.php"].linkname == "sites/main/public/index.php"
    assert found["www"].linkname == "sites/main/public"
    assert {each.uid for each in found.values()} == {0}
    assert found[deep[0].name[5:]].mode == 0o640
    assert [(name, text.read()) for name, text in tarball.dumps(io.BytesIO(data))] == [("main", b"CREATE TABLE t (i int);\n")]


def test_only_a_file_of_roots_own_in_its_directory_is_opened(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(AgentError, match="there is no"), tarball.opened(place, "a.tar"):
        pass
    there = Node(place).imports
    assert there.stat().st_mode & 0o777 == 0o700
    (there / "link.tar").symlink_to("/etc/passwd")
    (there / "dir.tar").mkdir()
    (there / "wide.tar").write_bytes(b"x")
    (there / "wide.tar").chmod(0o666)
    for name in ("link.tar", "dir.tar", "wide.tar"):
        with pytest.raises(AgentError) as caught, tarball.opened(place, name):
            pass
        assert caught.value.code == "refused"
