"""What of a node that lacks room, memory or files is told as that, and as nobody's fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.hosting import databases, nginx
from agents.node.hosting.run import Done, is_full, must
from agents.node.protocol import AgentError

OPEN = 'nginx: [emerg] open() "/var/log/orchestrator/h100001/main.access.log" failed ({} {})'


@pytest.mark.parametrize("said", ["28: No space left on device", "24: Too many open files", "12: Cannot allocate memory"])
def test_a_log_that_nginx_has_no_room_for_is_no_fault_of_the_account_whose_it_is(said: str) -> None:
    number, _, words = said.partition(" ")
    assert nginx.nobodys_fault(OPEN.format(number, words))


@pytest.mark.parametrize("said", ["2: No such file or directory", "21: Is a directory"])
def test_what_is_wrong_with_a_file_of_an_account_is_its_fault(said: str) -> None:
    number, _, words = said.partition(" ")
    assert not nginx.nobodys_fault(OPEN.format(number, words))


def test_a_program_that_has_no_room_may_be_run_again() -> None:
    script = "echo cannot write /etc/shadow: {} >&2; exit 1"
    for why, code in (("No space left on device", "driver-transient"), ("Permission denied", "driver-permanent")):
        with pytest.raises(AgentError, match=why) as failed:
            must(["sh", "-c", script.format(why)], doing="setting a password")
        assert failed.value.code == code


def test_a_database_server_whose_disk_is_full_is_away_and_not_wrong() -> None:
    full = "ERROR 1021 (HY000) at line 8: Disk got full writing 'x' (Errcode: 28 \"No space left on device\")"
    assert databases.is_away(Done(1, "", full))
    assert not databases.is_away(Done(1, "", "ERROR 1064 (42000) at line 1: You have an error in your SQL syntax"))


def test_a_disk_with_room_or_none_that_is_there_is_not_full_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    assert not is_full(str(tmp_path))
    assert not is_full(str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []
