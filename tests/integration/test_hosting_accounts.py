"""Accounts on a real hosting node, through the agent that enrolment put there: made, suspended, probed, let go and wiped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError
from tests.fault.strikes import BY_HAND, Strikes
from tests.hosting_account import Account
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

OPEN_WHEN_ACTIVE = {"http", "https", "sftp-key", "sftp-password", "database", "fpm"}
IN_TIME = {"at", "cron", "processes"}  # begun late on a busy machine, or not running just then


@pytest.fixture(scope="module")
def ground(hosting_node: HostingServer) -> HostingServer:
    done = hosting_node.call("hosting-prepare", {})
    assert [need for need in done["doctor"]["needs"] if not need["ok"]] == []
    assert hosting_node.call("hosting-prepare", {})["changed"] == []
    return hosting_node


@contextmanager
def standing(ground: HostingServer, uid: int, directory: Path) -> Iterator[Account]:
    """An account that is not made yet; nothing of it is left afterwards."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "key")], check=True)
    made = Account(ground, uid, (directory / "key.pub").read_text().strip())
    yield made
    if made.facts()["exists"]:
        made.act("account-wipe", job_id="j9")
    made.residue(clean=True)


@pytest.fixture
def account(ground: HostingServer, tmp_path: Path) -> Iterator[Account]:
    with standing(ground, 100_500, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(ground: HostingServer, another_php: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """One for the tests that leave it standing, and the last of them, which wipes it."""
    with standing(ground, 100_501, tmp_path_factory.mktemp("shared")) as made:
        made.apply()
        yield made


@pytest.mark.rare
def test_an_account_lives_is_suspended_and_let_go_as_it_was_and_leaves_nothing(account: Account) -> None:
    made = account.apply()
    assert made["facts"]["limits"] == {**account.spec["limits"], "io_bytes_per_second": 0, "iops": 0}
    assert account.page() == f"rows 1 as {account.uid}"
    assert account.apply()["changed"] == []
    before = account.ways()
    assert {name for name, way in before.items() if way["open"]} - IN_TIME == OPEN_WHEN_ACTIVE, before

    assert account.act("account-suspend", job_id="j2")["facts"]["suspended"] is True
    shut = account.ways()
    assert {name for name, way in shut.items() if way["open"]} == set(), shut
    assert "503, Retry-After" in shut["http"]["says"]
    assert account.apply()["facts"]["suspended"] is True

    let_go = account.act("account-unsuspend", job_id="j3")
    assert (let_go["difference"], let_go["facts"]["suspended"]) == ([], False)
    # The probe has asked for the page, too, by each of its names and ways.
    rows, _, owner = account.page().removeprefix("rows ").partition(" as ")
    assert (int(rows) > 1, owner) == (True, str(account.uid))

    report = account.act("account-wipe", job_id="j4")["report"]
    assert report["residue"] == []
    assert account.act("account-wipe", job_id="j4")["report"] == report
    assert account.residue() == []
    assert account.ground.call("node-residue", {})["accounts"] == []


def test_over_an_nginx_that_was_broken_by_hand_nothing_is_suspended_and_nothing_reloaded(shared: Account) -> None:
    strikes = Strikes(shared.ground.server)
    assert shared.page().startswith("rows ")
    strikes.break_nginx()
    try:
        serving = shared.ground.run("pgrep", "nginx", "-u", "www-data")
        with pytest.raises(PermanentDriverError, match=rf"no account's part of it: .*{BY_HAND}:1"):
            shared.act("account-suspend", job_id="j2")
        assert (shared.ground.run("pgrep", "nginx", "-u", "www-data"), shared.facts()["suspended"]) == (serving, False)
        assert shared.page().startswith("rows ")
    finally:
        strikes.mend_nginx()
    assert shared.act("account-unsuspend", job_id="j3")["difference"] == [], "what was begun is taken back"


ANOTHER_PHP = "/usr/sbin/php-fpm8.9"
BINARY = "<?php echo basename(readlink('/proc/self/exe')), ' as ', posix_getuid();"


@pytest.fixture(scope="module")
def another_php(ground: HostingServer) -> Iterator[None]:
    """Debian has one version; the second one is its copy by another name, so a page tells which program runs it."""
    ground.run("cp", "/usr/sbin/php-fpm8.2", ANOTHER_PHP)
    yield
    ground.run("rm", ANOTHER_PHP)


def test_each_site_has_its_own_version_of_php_and_moves_to_another(shared: Account) -> None:
    server, root = shared.ground.server, f"{shared.home}/sites"
    shared.spec["sites"][1]["php"] = "8.9"
    shared.apply()
    for site in ("shop", "plain"):
        server.write(f"{root}/{site}/public/index.php", BINARY)
    assert [shared.get(site) for site in ("shop", "plain")] == [
        f"php-fpm8.2 as {shared.uid}",
        f"php-fpm8.9 as {shared.uid}",
    ]
    shared.spec["sites"][0]["php"] = "8.9"
    shared.apply()
    assert shared.get("shop") == f"php-fpm8.9 as {shared.uid}"
    assert server.attempt("systemctl", "is-active", f"orch-fpm-{shared.user}-8.2.service").stdout != b"active\n"


def test_what_a_customer_planted_before_a_wipe_leads_nowhere(shared: Account) -> None:
    account, server, home = shared, shared.ground.server, shared.home
    server.shell(
        f"mkdir -p /root/precious; echo gold >/root/precious/gold; chmod 0640 /root/precious/gold; cd {home}\n"
        "ln -s /root/precious to; ln -s / all; ln -s /etc sites/etc; ln /root/precious/gold hard\n"
        f"chown -h {account.user} to all sites/etc\n"
        f"setpriv --reuid {account.uid} --regid {account.uid} --clear-groups sh -c"
        " 'echo t >/tmp/left; mkdir /dev/shm/dir; : >/dev/shm/dir/left'\n"
        "mkdir m; mount --bind /root/precious m\n"
    )
    try:
        with pytest.raises(Exception, match="mounted"):
            account.act("account-wipe", job_id="j4")
        assert account.facts()["fpm"] == "active"  # refused before anything was touched
    finally:
        server.run("umount", f"{home}/m")
    account.act("account-wipe", job_id="j4")
    assert server.run("stat", "-c", "%a %h %s", "/root/precious/gold").split() == ["640", "1", "5"]
    assert account.residue() == []
    account.residue(clean=True)


LEFT = """
printf '[gone]\\nuser = gone\\nlisten = /run/gone.sock\\npm = ondemand\\n' >/etc/php/8.2/fpm/pool.d/gone.conf
printf 'server { listen 80; server_name gone.example;\n    root /srv/gone;\n}\n' >/etc/nginx/conf.d/gone.conf
printf '* * * * * true\n' >/var/spool/cron/crontabs/gone
install -o 4242 -m 600 /dev/null /srv/left
install -d -o 100990 -m 700 /srv/h/h100990
install -m 600 /dev/null /etc/orchestrator/fpm/h100990-8.2.conf
"""
CLEARED = """
rm -rf /etc/php/8.2/fpm/pool.d/gone.conf /etc/nginx/conf.d/gone.conf /var/spool/cron/crontabs/gone /srv/left
rm -rf /srv/h/h100990 /etc/orchestrator/fpm/h100990-8.2.conf
"""


def test_what_others_left_is_found_and_not_touched(ground: HostingServer) -> None:
    assert ground.call("node-residue", {}) == {"accounts": [], "orphans": [], "unknown": []}
    ground.server.shell(LEFT)
    try:
        found = ground.call("node-residue", {})
        assert [(each["kind"], each["what"]) for each in found["orphans"]] == [
            ("pool", "/etc/php/8.2/fpm/pool.d/gone.conf"),
            ("vhost", "/etc/nginx/conf.d/gone.conf"),
            ("crontab", "/var/spool/cron/crontabs/gone"),
            ("files", "uid 4242"),
        ]
        (account,) = found["accounts"]
        assert (account["user"], account["marked"]) == ("h100990", False)
        assert {"/srv/h/h100990", "/etc/orchestrator/fpm/h100990-8.2.conf"} < set(account["found"])
        assert any(each.startswith("quota /srv/h: 1 inodes") for each in account["found"])
        assert ground.call("node-residue", {}) == found
    finally:
        ground.server.shell(CLEARED)
