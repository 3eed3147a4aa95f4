"""What is left of accounts and of users that are gone is found by its names, and nothing of a neighbour's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.hosting import orphans, residue
from agents.node.hosting.databases import Seen
from agents.node.hosting.layout import Home, Node
from agents.node.place import Place
from tests.unit.account_files import account, login, look, put


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


LEFT = (
    "etc/nginx/orchestrator/h100001.conf",
    "etc/nginx/orchestrator.bad/h100001.conf",
    "etc/nginx/orchestrator/.h100001.conf.new",
    "etc/orchestrator/accounts/h100001.json",
    "etc/orchestrator/accounts/.h100001.json.new",
    "etc/orchestrator/keys/.h100001.new",
    "var/lib/orchestrator-agent/accounts/.h100001.wiping.json.new",
    "var/spool/cron/crontabs/.h100001.new",
    "etc/orchestrator/fpm/h100001-8.2.conf",
    "etc/orchestrator/fpm/h100001-8.2.conf.trial",
    "etc/orchestrator/keys/h100001",
    "etc/orchestrator/tls/h100001",
    "etc/systemd/system/orch-fpm-h100001-8.2.service",
    "etc/systemd/system/orch-h100001.slice",
    "etc/systemd/system/multi-user.target.wants/orch-h100001.slice",
    "etc/systemd/system/user-100001.slice.d/orchestrator.conf",
    "run/orchestrator/fpm/h100001-shop-8.2.sock",
    "run/orchestrator/pending/orch-h100001.slice",
    "srv/h/.wiping/h100001.4",
    "var/lib/orchestrator-agent/accounts/h100001",
    "var/lib/orchestrator-agent/accounts/h100001.probe.json",
    "var/lib/systemd/linger/h100001",
    "var/log/orchestrator/h100001",
    "var/mail/h100001",
    "var/spool/cron/crontabs/h100001",
)


def test_a_name_is_of_one_account_and_never_of_one_whose_number_begins_so(tmp_path: Path) -> None:
    home = Home(Node(Place(tmp_path)), "h100001")
    names = ("h100001", "orch-h100001.slice", "orch-fpm-h100001-8.2.service.unit", ".h100001.conf.new")
    assert all(home.owns(name) and not home.owns(name.replace("100001", "1000010")) for name in names)


@pytest.mark.parametrize("name", LEFT)
def test_a_thing_that_is_left_is_found_in_its_store_and_no_neighbours(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    put(tmp_path, name.replace("100001", "1000010"))
    home = Home(Node(Place(tmp_path)), "h100001")
    assert residue.found(home, look(home)) == [str(tmp_path / name)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etc/passwd", "h100001:x:100001:100001::/:/bin/sh\n"),
        ("etc/shadow-", "h100001:$6$secret:1::::::\n"),
        ("etc/group", "orch-sftp:x:997:h100002,h100001\n"),
        ("etc/subuid", "h100001:1:65536\n"),
        ("etc/subgid", "100001:1:65536\n"),
    ],
)
def test_a_line_that_is_left_is_found(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, name, text + text.replace("100001", "1000010"))
    home = Home(Node(Place(tmp_path)), "h100001")
    assert [row.partition(":")[0] for row in residue.found(home, look(home))] == [f"/{name}"]


def test_logins_and_databases_that_are_left_are_found(tmp_path: Path) -> None:
    home = Home(Node(Place(tmp_path)), "h100001")
    seen = Seen(logins=(login("h100001_a", locked=True), login("h1000010", locked=True)), databases=("h100001_a", "h1000010_a"))
    assert residue.found(home, look(home, seen=seen)) == ["mariadb database h100001_a", "mariadb login h100001_a@localhost"]


def test_what_is_of_users_that_are_gone_is_found_by_its_names(home: Home) -> None:
    root = home.node.place.root
    pools, sites = "etc/php/8.2/fpm/pool.d", "etc/nginx/sites-enabled"
    put(root, f"{pools}/www.conf", "[www]\nuser = root\ngroup = orch-sftp\n;user = nobody-at-all\n")
    put(root, f"{pools}/gone.conf", "[gone]\nuser = gone\ngroup = gone\n")
    put(root, f"{pools}/number.conf", "[number]\nuser = 1234\n")
    put(root, "srv/here/index.html")
    put(root, f"{sites}/here", "server {\n  root /srv/here;\n  location / { }\n}\n")
    put(root, f"{sites}/variable", "server {\n  root /srv/$host/public;\n}\n")
    put(root, f"{sites}/gone", 'server {\n  root "/srv/gone";\n  ssl_certificate /etc/gone.crt;\n}\n')
    (root / sites / "broken").symlink_to("/etc/nginx/sites-available/nothing")
    put(root, "var/spool/cron/crontabs/root")
    put(root, "var/spool/cron/crontabs/gone")
    put(root, "var/spool/cron/crontabs/h100777")  # an account's: node-residue tells all of it
    put(root, "var/lib/systemd/linger/gone")
    found = [(each.kind, each.what.removeprefix(f"{root}/"), each.says) for each in orphans.look(home.node, look(home))]
    assert [(kind, what) for kind, what, _ in found] == [
        ("pool", f"{pools}/gone.conf"),
        ("vhost", f"{sites}/broken"),
        ("vhost", f"{sites}/gone"),
        ("vhost", f"{sites}/gone"),
        ("crontab", "var/spool/cron/crontabs/gone"),
        ("linger", "var/lib/systemd/linger/gone"),
    ]
    assert [says for _, what, says in found if what == f"{sites}/gone"] == [
        "names the root /srv/gone, which is not there: it serves nothing",
        "names the ssl_certificate /etc/gone.crt, which is not there: nginx does not start with it",
    ]
