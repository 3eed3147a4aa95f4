"""Tables that lie elsewhere than in the directory of their database, as MariaDB's files tell it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from agents.node.hosting import databases, residue
from agents.node.hosting.databases import Seen
from agents.node.hosting.facts import Look
from agents.node.hosting.layout import Home, Node
from agents.node.place import Place


def put(path: Path, size: int = 4096) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def elsewhere(root: Path) -> tuple[Seen, Path, Path]:
    """A database with one table inside, one of InnoDB's and one behind a link elsewhere."""
    inside = root / "var/lib/mysql/h100001_shop"
    put(inside / "here.ibd")
    far = put(root / "tmp/x/h100001_shop/far.ibd", 40960)
    (inside / "far.isl").write_text(f"{far}")
    linked = put(root / "tmp/y/linked.MYD", 8192)
    (inside / "linked.MYD").symlink_to(linked)
    return Seen(databases=("h100001_shop",), directory=inside.parent), far, linked


def test_a_table_that_lies_elsewhere_counts_as_the_database_s(tmp_path: Path) -> None:
    seen, far, linked = elsewhere(tmp_path)
    assert databases.outside(seen.directory, "h100001_shop") == [far, linked]
    least = 4096 + 40960 + 8192
    assert least <= databases.size(seen, "h100001_shop") <= least + 3 * 4096
    assert databases.outside(seen.directory, "h100002_shop") == []


def test_a_table_that_lies_elsewhere_is_found_while_it_is_there_and_what_is_left_of_it_while_the_account_is_wiped(
    tmp_path: Path,
) -> None:
    seen, far, linked = elsewhere(tmp_path)
    home = Home(Node(Place(tmp_path)), "h100001")
    tables = [f"mariadb table {far}", f"mariadb table {linked}"]
    assert residue.found(home, look(home, seen)) == ["mariadb database h100001_shop", *tables]

    # The databases are gone, and nothing of theirs names the place any more.
    home.wiping.parent.mkdir(parents=True)
    home.wiping.write_text(json.dumps({"outside": [str(far), str(linked)]}))
    assert residue.found(home, look(home, Seen())) == [f"mariadb table {far.parent}", *tables]
    linked.unlink()
    far.unlink()
    assert residue.found(home, look(home, Seen())) == [f"mariadb table {far.parent}"]
    far.parent.rmdir()
    assert residue.found(home, look(home, Seen())) == []


def look(home: Home, seen: Seen) -> Look:
    return Look(node=home.node, users={}, secrets={}, processes=Counter(), databases=seen)
