"""A dump on its way into a database: what is code is put right, what is data stays as it is, however it is cut into pieces."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.node.hosting import dumptext
from agents.node.hosting.dumptext import Dump
from agents.node.protocol import AgentError

ROOT = b"DEFINER=`root`@`localhost`"
OURS = b"DEFINER=CURRENT_USER"


def read(text: bytes) -> bytes:
    return b"".join(Dump(io.BytesIO(text)).pieces())


@pytest.mark.parametrize(
    "text",
    [
        b"CREATE DEFINER=`root`@`localhost` PROCEDURE p() SELECT 1;\n",
        b"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1 */;;\n",
        b"/*!50013 DEFINER=`a b`@`10.0.0.%` SQL SECURITY DEFINER */\n",
        b"create definer = 'shop'@'localhost' view v as select 1;\n",
        b"CREATE DEFINER=shop VIEW v AS SELECT 'it''s';\n",
        b"CREATE DEFINER=CURRENT_USER VIEW v AS SELECT 1;\n",
        b"-- it's only a remark\nCREATE DEFINER=`root`@`localhost` VIEW v AS SELECT 1;\n",
        b"/* it's */ CREATE DEFINER=`root`@`localhost` VIEW v AS SELECT 1;\n",
        b"/* it's\nlonger */ CREATE DEFINER=`root`@`localhost` VIEW v AS SELECT 1;\n",
        b"INSERT INTO t VALUES ('a\\\\');CREATE DEFINER=`root`@`localhost` VIEW v AS SELECT 1;\n",
    ],
)
def test_what_ran_as_another_login_runs_as_the_one_that_loads_it(text: bytes) -> None:
    found = read(text)
    assert found.count(OURS) == 1
    assert b"root" not in found
    assert b"SQL SECURITY DEFINER" in found or b"SECURITY" not in text


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t VALUES ('" + ROOT + b"');\n",
        b"INSERT INTO t VALUES (\"it's " + ROOT + b"\", 'it''s " + ROOT + b"', '\\'" + ROOT + b"');\n",
        b"INSERT INTO t VALUES ('more\nUSE `mysql`;\nCREATE DATABASE `x`;\n" + ROOT + b"');\n",
        b"INSERT INTO `DEFINER=a` VALUES (1-1, 1--1, 3/2, 2 */* no */1, d.definer);\n",
        b"-- " + ROOT + b"\n# " + ROOT + b"\n/* " + ROOT + b" */ SELECT 1;\n",
        b"UPDATE t SET x_definer=1, definer_x=2, definer := 3;\n",
        b"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n",
        b"SELECT 1",
    ],
)
def test_data_and_remarks_stay_as_they_are(text: bytes) -> None:
    assert read(text) == text


def test_the_names_of_other_databases_are_passed_over_and_every_line_keeps_its_number() -> None:
    text = (
        b"/*M!999999\\- enable the sandbox mode */ \n"
        b"/*!40000 DROP DATABASE IF EXISTS `old`*/;\n"
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `old` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n"
        b"use old;\nUSE `old`;\n"
        b"SET @@SESSION.SQL_LOG_BIN= 0;\nSET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '';\n"
        b"ALTER DATABASE `old` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
    ).replace(b"use old;\n", b"")
    assert read(text) == b"\n" * 6 + b"ALTER DATABASE  CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"


def test_a_dump_of_several_databases_is_refused_and_names_them() -> None:
    with pytest.raises(AgentError, match="`one` and `two`") as raised:
        read(b"USE `one`;\nSELECT 1;\nUSE `two`;\n")
    assert raised.value.code == "refused"


@given(
    st.lists(st.sampled_from([b"a", b"'", b'"', b"`", b"\\", b"\n", b"--", b"#", b"/*", b"*/", ROOT, b"\xff\x00"]), max_size=30)
)
@example([b"\\", b"'", ROOT])
def test_a_quoted_text_is_never_changed_wherever_it_is_cut(parts: list[bytes]) -> None:
    inside = b"".join(parts).replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    text = b"INSERT INTO t VALUES ('" + inside + b"');\nCREATE " + ROOT + b" VIEW v AS SELECT 1;\n"
    wanted = text[: -len(ROOT + b" VIEW v AS SELECT 1;\n")] + OURS + b" VIEW v AS SELECT 1;\n"
    assert read(text) == wanted
    piece, dumptext.PIECE = dumptext.PIECE, 61  # longer than what must not be cut, shorter than many texts
    try:
        assert read(b"\n" + text) == b"\n" + wanted
    finally:
        dumptext.PIECE = piece
