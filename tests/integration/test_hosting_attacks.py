"""What a customer does on a real hosting node to stay, to hold up others, or to be where no limit holds."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosting_account import Account
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.rare, pytest.mark.timeout(900)]

GARBAGE = f"-----BEGIN {{}}-----\n{'A' * 64}\n-----END {{}}-----\n"


@pytest.fixture(scope="module")
def ground(hosting_node: HostingServer) -> HostingServer:
    hosting_node.call("hosting-prepare", {})
    return hosting_node


@pytest.fixture
def accounts(ground: HostingServer, tmp_path: Path) -> Iterator[tuple[Account, Account]]:
    """The one who attacks, and his neighbour."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    key = (tmp_path / "key.pub").read_text().strip()
    both = Account(ground, 100_950, key), Account(ground, 100_951, key)
    for each in both:
        each.apply()
    yield both
    for each in both:
        if each.facts()["exists"]:
            each.act("account-wipe", job_id="j9")
        each.residue(clean=True)


def keep_doing(account: Account, script: str) -> None:
    """As the account's own user, in its slice, until all of it is killed."""
    words = ["systemd-run", "--quiet", "--collect", f"--slice=orch-{account.user}.slice", f"--uid={account.uid}"]
    account.ground.run(*words, f"--gid={account.uid}", "sh", "-c", f"while :; do\n{script}\nsleep 0.3\ndone")


def test_what_a_site_is_called_never_takes_the_sites_of_a_neighbour_down(accounts: tuple[Account, Account]) -> None:
    attacker, neighbour = accounts
    bad = {"name": neighbour.user, "domains": ["bad.example"]}
    bad |= {"certificate": GARBAGE.format("CERTIFICATE", "CERTIFICATE"), "key": GARBAGE.format("PRIVATE KEY", "PRIVATE KEY")}
    attacker.spec["sites"].append(bad)
    with pytest.raises(Exception, match=f"nginx refuses the sites of {attacker.user}"):
        attacker.apply()
    assert [site["serving"] for site in neighbour.facts()["sites"]] == ["php", "static"]
    assert [site["serving"] for site in attacker.facts()["sites"]] == ["php", "static"]


def test_who_plants_anew_all_the_time_is_shut_out_at_once_and_gone_when_he_is_wiped(accounts: tuple[Account, Account]) -> None:
    account, neighbour = accounts
    server, uid = account.ground.server, account.uid
    plants = (
        "echo '* * * * * sleep 900' | crontab -; echo 'sleep 900' | at -M now 2>/dev/null\n"
        f"mkdir -p /tmp/.orchestrator-wiping-{uid}/dir.x /tmp/dir/below /run/lock/left; ipcmk -Q >/dev/null\n"
    )
    keep_doing(account, plants)
    keep_doing(neighbour, "echo true | at -M now + 1 hour 2>/dev/null; atrm $(atq | cut -f1)")
    server.shell(
        f"until test -d /run/lock/left; do sleep 0.2; done; LC_ALL=C.UTF-8 chfn -r \"$(printf 'a\\302\\205b')\" {account.user}"
    )
    assert account.facts()["exists"] is True

    assert account.act("account-suspend", job_id="j2")["facts"]["suspended"] is True
    assert [way for way in account.ways(cron_seconds=0).values() if way["open"]] == []
    account.act("account-unsuspend", job_id="j3")
    keep_doing(account, plants)
    # As crontab(1) leaves it when its user kills it.
    server.shell(f"touch /var/spool/cron/crontabs/tmp.left; chown {uid} /var/spool/cron/crontabs/tmp.left; sleep 3")
    assert account.act("account-wipe", job_id="j4")["report"]["residue"] == []
    assert account.residue() == []


def test_a_reader_who_takes_his_time_is_sent_nothing_of_a_site_that_is_shut(accounts: tuple[Account, Account]) -> None:
    account, _ = accounts
    server, file = account.ground.server, f"{account.home}/sites/plain/public/large"
    server.shell(f"head -c 15000000 /dev/zero >{file}; chown {account.user} {file}")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect((account.ground.address, 80))
        slow.sendall(f"GET /large HTTP/1.1\r\nHost: plain{account.uid}.example\r\n\r\n".encode())
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        report = account.act("account-wipe", job_id="j4")["report"]
        assert report["residue"] == []
        got = 0
        try:
            while piece := slow.recv(1 << 16):
                got += len(piece)
        except ConnectionError:
            pass
        assert got < 15_000_000


def test_the_login_of_a_probe_is_in_the_slice_of_its_account(accounts: tuple[Account, Account]) -> None:
    account, _ = accounts
    watch = f"for p in $(pgrep -u {account.uid} -x mariadb); do cat /proc/$p/cgroup; done >>/tmp/watched 2>/dev/null"
    account.ground.run("systemd-run", "--quiet", "--collect", "--unit=watch", "sh", "-c", f"while :; do {watch}; done")
    account.ways(cron_seconds=0)
    account.ground.server.shell("systemctl stop watch.service")
    seen = account.ground.run("sh", "-c", "sort -u /tmp/watched; rm -f /tmp/watched").splitlines()
    assert [line for line in seen if f"orch-{account.user}.slice" not in line] == []


def test_no_file_system_on_which_everybody_may_write_is_filled_by_one(
    ground: HostingServer, accounts: tuple[Account, Account]
) -> None:
    """/tmp and its like may lie on another one than the homes."""
    account, _ = accounts
    ground.server.shell(
        "truncate -s 100M /root/open.img; mkfs.ext4 -q -O quota -E quotatype=usrquota /root/open.img; mkdir -p /var/crash\n"
        "mount -o loop /root/open.img /var/crash; chmod 1777 /var/crash"
    )
    lacking = [need["says"] for need in ground.call("hosting-doctor", {"quick": True})["needs"] if not need["ok"]]
    assert lacking == ["counted by nobody: /var/crash"]  # it counts, and takes limits, but does not keep them
    ground.server.shell("umount /var/crash; mount -o loop,usrquota /root/open.img /var/crash")
    try:
        account.apply()
        as_him = f"setpriv --reuid {account.uid} --regid {account.uid} --clear-groups"
        ground.server.shell(f"! {as_him} sh -c 'head -c 40000000 /dev/zero >/var/crash/left && sync'; test -s /var/crash/left")
        assert int(ground.run("stat", "-c", "%s", "/var/crash/left")) <= account.spec["limits"]["disk_bytes"]
        assert [row for row in account.residue() if "/var/crash" in row] != []
        assert account.act("account-wipe", job_id="j4")["report"]["residue"] == []
        assert ground.run("ls", "-A", "/var/crash").split() == ["lost+found"]
    finally:
        ground.server.shell("umount /var/crash; rm -f /root/open.img")


ELSEWHERE = """
CREATE TABLE inno (i INT) ENGINE=InnoDB DATA DIRECTORY='/tmp/else/where';
CREATE TABLE isam (i INT) ENGINE=MyISAM DATA DIRECTORY='/tmp/else' INDEX DIRECTORY='/tmp/else';
INSERT INTO inno VALUES (7); INSERT INTO isam VALUES (8);
"""
CONF = "/etc/mysql/mariadb.conf.d/99-orchestrator.cnf"


def asks(account: Account, statements: str) -> str:
    """As a program of his that has the rights of his database."""
    him = ("setpriv", "--reuid", str(account.uid), "--regid", str(account.uid), "--clear-groups", "--")
    words = (*him, "mariadb", "--no-defaults", f"--user={account.user}", "-N", f"{account.user}_shop", "-e", statements)
    return account.ground.run(*words)


def tables_row(ground: HostingServer) -> bool:
    (row,) = (each for each in ground.call("hosting-doctor", {"quick": True})["needs"] if each["name"] == "MariaDB tables")
    return bool(row["ok"])


def test_a_table_lies_in_the_directory_of_its_database_wherever_its_customer_wants_it(
    accounts: tuple[Account, Account],
) -> None:
    account, neighbour = accounts
    ground, database = account.ground, f"{account.user}_shop"
    ground.server.shell("install -d -m 1777 /tmp/else")
    assert tables_row(ground) is True
    asks(account, ELSEWHERE)
    assert ground.run("find", "/tmp/else", "-mindepth", "1") == ""
    assert ground.run("find", f"/var/lib/mysql/{database}", "-name", "*.isl", "-o", "-type", "l") == ""
    asks(account, "DROP TABLE inno, isam")

    # A server that allowed it before: what was made then stays what it is, is counted, found, and gone with the account.
    ground.server.shell(f"rm {CONF}; systemctl restart mariadb.service")
    try:
        assert tables_row(ground) is False
        asks(account, ELSEWHERE)
        inno = f"/tmp/else/where/{database}/inno.ibd"
        assert "/tmp/else/isam.MYD" in ground.run("find", "/tmp/else").splitlines()
        assert "MariaDB" in ground.call("hosting-prepare", {}, deadline=300)["changed"]
    finally:
        ground.call("hosting-prepare", {}, deadline=300)
    assert tables_row(ground) is True
    assert asks(account, "SELECT i FROM inno UNION SELECT i FROM isam").split() == ["7", "8"]
    assert {f"mariadb table {path}" for path in (inno, "/tmp/else/isam.MYD", "/tmp/else/isam.MYI")} <= set(account.residue())
    (bytes_of,) = (each["bytes"] for each in account.facts()["databases"])
    assert bytes_of - neighbour.facts()["databases"][0]["bytes"] >= int(ground.run("stat", "-c", "%s", inno))
    assert account.act("account-wipe", job_id="j4")["report"]["residue"] == []
    assert ground.run("find", "/tmp/else", "-mindepth", "1").split() == ["/tmp/else/where"]
    ground.run("rm", "-r", "/tmp/else")
