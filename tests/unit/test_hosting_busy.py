"""What never rests, and what rests too long: neither holds up the agent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.node.hosting import closing, databases, dumps
from agents.node.hosting.databases import Seen
from agents.node.hosting.layout import Home
from agents.node.protocol import AgentError
from tests.unit.account_files import account


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


CHURN = """
import os
while True:
    for number in range(20):
        os.close(os.open(f"#sql-{number}.ibd", os.O_CREAT))
    for number in range(20):
        os.unlink(f"#sql-{number}.ibd")
"""


def test_what_one_customer_makes_and_removes_all_the_time_holds_up_nobody(home: Home) -> None:
    """Tables of a database, and jobs of at, in directories that are looked through for others, too."""
    database, jobs = home.node.place.root / "mysql/h100001_a", home.node.at_jobs
    for directory in (database, jobs):
        directory.mkdir(parents=True, exist_ok=True)
    churning = [subprocess.Popen([sys.executable, "-c", CHURN], cwd=directory) for directory in (database, jobs)]
    try:
        for _ in range(3000):
            databases.size(Seen(directory=database.parent), database.name)
            closing.at_jobs(home)
    finally:
        for each in churning:
            each.kill()
            each.wait()


def test_a_dump_that_does_not_grow_any_more_is_ended(tmp_path: Path) -> None:
    with (tmp_path / "a.sql").open("wb") as file:
        look = dumps.growing(file.fileno(), lambda: None, database="h100001_a", seconds=0.2)
        look()
        for _ in range(3):
            time.sleep(0.1)
            os.write(file.fileno(), b"x")
            look()
        time.sleep(0.3)
        with pytest.raises(AgentError, match="h100001_a has not grown") as caught:
            look()
    assert caught.value.code == "driver-transient"
