"""What an agent tells of accounts that are gone, or half gone: on a tree of files, without any program of a hosting node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.node.call import Call
from agents.node.hosting import residue
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.run import ENVIRONMENT
from agents.node.hosting.wipe import account_wipe
from agents.node.place import Place
from agents.node.protocol import AgentError

MARK = {"service_id": "web-1", "uid": 100001, "job_id": "j1", "digest": ""}


def put(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def call(root: Path, **arguments: Any) -> Call:
    return Call(Place(root), arguments, lambda fraction, message: None)


def test_accounts_without_mark_or_user_and_what_others_left_are_told_and_a_whole_account_is_not(tmp_path: Path) -> None:
    put(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/sh\nh100001:x:100001:100001::/srv/h/h100001/home:/usr/sbin/nologin\n")
    put(tmp_path, "etc/orchestrator/accounts/h100001.json", json.dumps(MARK))
    put(tmp_path, "etc/nginx/orchestrator/h100001.conf")
    put(tmp_path, "etc/orchestrator/accounts/h100002.json", json.dumps(MARK | {"uid": 100002}))
    put(tmp_path, "etc/orchestrator/keys/h100002")
    put(tmp_path, "etc/orchestrator/fpm/h100003-8.2.conf")
    put(tmp_path, "etc/orchestrator/keys/.h100004.new")
    put(tmp_path, "var/spool/cron/crontabs/gone", "* * * * * true\n")
    found = residue.node_residue(call(tmp_path))
    assert [(each["user"], each["marked"]) for each in found["accounts"]] == [
        ("h100002", True),
        ("h100003", False),
        ("h100004", False),
    ]
    assert found["accounts"][1]["found"] == [str(tmp_path / "etc/orchestrator/fpm/h100003-8.2.conf")]
    assert [(each["kind"], each["what"]) for each in found["orphans"]] == [
        ("crontab", str(tmp_path / "var/spool/cron/crontabs/gone"))
    ]


def test_the_report_of_a_wipe_is_given_again_as_long_as_it_is_kept(tmp_path: Path) -> None:
    home = Home(Node(Place(tmp_path)), "h100001")
    residue.keep_report(home, "web-1", {"user": "h100001", "files": 7})
    asked = call(tmp_path, user="h100001", service_id="web-1", job_id="j4")
    for _ in range(2):
        assert account_wipe(asked) == {"report": {"user": "h100001", "files": 7}}


@pytest.fixture
def without_mariadb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's client says what it says where no server answers."""
    put(tmp_path, "bin/mariadb", '#!/bin/sh\necho "ERROR 2002 (HY000): Can\'t connect to local server" >&2\nexit 1\n')
    (tmp_path / "bin/mariadb").chmod(0o755)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])


@pytest.mark.usefixtures("without_mariadb")
def test_what_mariadb_holds_is_unknown_and_not_gone_while_it_is_away(tmp_path: Path) -> None:
    unknown = ["databases: asking MariaDB: ERROR 2002 (HY000): Can't connect to local server"]
    asked = {"user": "h100001", "service_id": "web-1", "uid": 100001}
    assert residue.account_residue(call(tmp_path, **asked, clean=False))["unknown"] == unknown
    assert residue.account_residue(call(tmp_path, **asked, clean=True))["unknown"] == unknown
    assert residue.node_residue(call(tmp_path))["unknown"] == unknown


@pytest.mark.usefixtures("without_mariadb")
def test_an_account_is_not_wiped_while_mariadb_is_away(tmp_path: Path) -> None:
    put(tmp_path, "etc/passwd", "h100001:x:100001:100001::/srv/h/h100001/home:/usr/sbin/nologin\n")
    put(tmp_path, "etc/orchestrator/accounts/h100001.json", json.dumps(MARK))
    put(tmp_path, "etc/nginx/orchestrator/h100001.conf")
    home = Home(Node(Place(tmp_path)), "h100001")
    with pytest.raises(AgentError, match=r"nothing was removed, because the databases cannot be: .*ERROR 2002") as refused:
        account_wipe(call(tmp_path, user="h100001", service_id="web-1", job_id="j4"))
    assert (refused.value.code, home.vhost.exists(), home.wiping.exists()) == ("driver-transient", True, False)
