"""Statements for MariaDB: no value leaves its quotes, no right reaches a neighbour's database."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.hosting import sql
from agents.node.hosting.databases import Login, Seen, logins_back, script
from agents.node.hosting.spec import Database, Limits, Spec

HASH, OTHER = "*" + "A" * 40, "*" + "B" * 40
LIMITS = Limits(disk_bytes=1 << 30, inodes=1000, cpu_percent=50, memory_bytes=256 << 20, tasks=40)


def spec(*databases: Database) -> Spec:
    return Spec(service_id="web-1", user="h100001", uid=100001, limits=LIMITS, databases=databases)


def login(name: str, *, secret: str = "", locked: bool = False, doubled: bool = False) -> Login:
    plugin = "mysql_native_password" if secret else "unix_socket"
    return Login(name=name, host="localhost", locked=locked, plugin=plugin, secret=secret, doubled=doubled)


def unquote(text: str) -> tuple[str, str]:
    """The value of the quoted text at the beginning, and what comes after it, as MariaDB reads it with an empty sql_mode."""
    assert text[0] == "'"
    value, at = "", 1
    while True:
        char = text[at]
        if char == "\\":
            value += {"n": "\n", "r": "\r"}.get(text[at + 1], text[at + 1])
            at += 2
        elif char == "'" and text[at + 1 : at + 2] == "'":
            value, at = value + "'", at + 2
        elif char == "'":
            return value, text[at + 1 :]
        else:
            value, at = value + char, at + 1


@given(st.text(st.characters(exclude_characters="\0"), max_size=40))
def test_a_quoted_text_is_read_as_itself_and_ends_where_it_ends(text: str) -> None:
    assert unquote(sql.literal(text) + "; DROP") == (text, "; DROP")
    assert "\n" not in sql.literal(text)


def test_a_text_that_the_client_would_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        sql.literal("a\0b")


@given(st.text(max_size=20))
def test_an_identifier_is_a_plain_name_or_refused(text: str) -> None:
    try:
        quoted = sql.identifier(text)
    except ValueError:
        return
    assert re.fullmatch(r"`[a-z0-9_]+`", quoted)


def test_a_right_is_for_one_database_and_not_for_those_that_look_like_it() -> None:
    assert sql.grant("h100001", "h100001_a", full=False) == "GRANT ALL PRIVILEGES ON `h100001\\_a`.* TO 'h100001'@'localhost';\n"


def test_at_its_limit_a_database_loses_insert_and_create_and_keeps_delete() -> None:
    rights = sql.AT_THE_LIMIT.split(", ")
    assert "DELETE" in rights
    assert not {"INSERT", "CREATE", "ALTER", "CREATE TEMPORARY TABLES", "CREATE VIEW", "CREATE ROUTINE", "ALL PRIVILEGES"} & set(
        rights
    )
    assert "REVOKE ALL PRIVILEGES" in sql.grant("h100001", "h100001_a", full=True)


def test_locking_ends_the_sessions_after_the_last_login_is_locked() -> None:
    words = sql.lock(["h100001", "h100001_a"]).splitlines()
    assert [word.split()[0] for word in words] == ["ALTER", "ALTER", "KILL", "KILL"]


def test_all_is_made_where_nothing_is() -> None:
    words = script(spec(Database(name="a", password_hash=HASH)), Seen(), suspended=False)
    assert "CREATE DATABASE IF NOT EXISTS `h100001_a`" in words
    assert "CREATE USER IF NOT EXISTS 'h100001'@'localhost' IDENTIFIED VIA unix_socket ACCOUNT UNLOCK" in words
    assert f"'h100001_a'@'localhost' IDENTIFIED VIA mysql_native_password USING '{HASH}'" in words
    assert words.count("GRANT ALL PRIVILEGES ON `h100001\\_a`") == 2


SEEN = Seen(
    logins=(login("h100001"), login("h100001_a", secret=HASH)),
    databases=("h100001_a",),
    inserting=frozenset({("h100001", "h100001_a"), ("h100001_a", "h100001_a")}),
)


def test_nothing_is_said_where_all_is_there() -> None:
    assert script(spec(Database(name="a", password_hash=HASH)), SEEN, suspended=False) == ""


def test_another_password_is_set_and_nothing_else() -> None:
    words = script(spec(Database(name="a", password_hash=OTHER)), SEEN, suspended=False)
    assert OTHER in words
    assert "GRANT" not in words
    assert "CREATE DATABASE" not in words


def test_a_database_that_is_full_loses_rights_for_each_login_and_gets_them_back() -> None:
    words = script(spec(Database(name="a", password_hash=HASH, full=True)), SEEN, suspended=False)
    assert words.count("REVOKE ALL PRIVILEGES") == 2
    emptied = Seen(logins=SEEN.logins, databases=SEEN.databases)
    assert script(spec(Database(name="a", password_hash=HASH, full=True)), emptied, suspended=False) == ""
    assert script(spec(Database(name="a", password_hash=HASH)), emptied, suspended=False).count("GRANT ALL") == 2


def test_while_suspended_a_new_login_is_locked_from_its_beginning() -> None:
    words = script(spec(Database(name="a", password_hash=HASH)), Seen(), suspended=True)
    assert words.count("ACCOUNT LOCK") == 2
    assert "UNLOCK" not in words


def test_a_password_that_is_taken_away_lets_nobody_in_any_more() -> None:
    words = script(spec(Database(name="a")), SEEN, suspended=False).splitlines()
    assert words[-1] == "DROP USER IF EXISTS 'h100001_a'@'localhost';"
    assert "KILL USER 'h100001_a'@'localhost';" in words
    gone = Seen(logins=(login("h100001"),), databases=SEEN.databases, inserting=SEEN.inserting)
    assert script(spec(Database(name="a")), gone, suspended=False) == ""


def test_no_spec_ever_drops_anything() -> None:
    assert "DROP " not in script(spec(), SEEN, suspended=False)


def test_a_password_that_a_probe_left_is_taken_away() -> None:
    left = Seen(
        logins=(login("h100001"), login("h100001_a", secret=HASH, doubled=True)),
        databases=SEEN.databases,
        inserting=SEEN.inserting,
    )
    assert "IDENTIFIED VIA mysql_native_password" in script(spec(Database(name="a", password_hash=HASH)), left, suspended=False)


def test_logins_that_were_packed_come_back_locked_and_those_that_are_there_stay() -> None:
    seen = Seen(
        logins=(login("h100001"), login("h100001_new", secret=OTHER)),
        databases=("h100001_new", "h100001_old", "h100001_full", "h100001_odd"),
        inserting=frozenset({("h100001", "h100001_new"), ("h100001", "h100001_old"), ("h100001", "h100001_odd")}),
    )
    rows = [{"name": name, "password_hash": HASH} for name in ("new", "old", "full", "gone")]
    rows += [{"name": "odd", "password_hash": f"{HASH}' OR 1"}, {"name": "none", "password_hash": ""}]
    words = logins_back("h100001", rows, seen)
    assert list(words) == ["h100001_old", "h100001_full"]
    assert f"'{HASH}' ACCOUNT LOCK" in words["h100001_old"]
    assert "UNLOCK" not in "".join(words.values())
    assert ("REVOKE" in words["h100001_old"], "REVOKE" in words["h100001_full"]) == (False, True)
    made = (login("h100001_old", secret=HASH), login("h100001_full", secret=HASH))
    assert logins_back("h100001", rows, Seen(logins=(*seen.logins, *made), databases=seen.databases)) == {}
