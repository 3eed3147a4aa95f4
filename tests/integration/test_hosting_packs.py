"""Accounts on a real hosting node, packed for a backup, lost, and made from it again; and what was made to do harm on the way."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, WrongState
from orchestrator.drivers.ssh.enrolment import LIBRARY
from tests.certificates import certificate_for
from tests.hosting_customer import MENDED, SLEEPERS, Customer
from tests.hosting_customer import customer as new_customer
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

UID = 100_801
OWN_LINE = "7 7 7 7 7 /bin/true mine"


@pytest.fixture(scope="module")
def ground(hosting_node: HostingServer) -> HostingServer:
    hosting_node.call("hosting-prepare", {})
    return hosting_node


@pytest.fixture(scope="module")
def customer(ground: HostingServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    for made in new_customer(ground, UID, tmp_path_factory.mktemp("customer")):
        made.fill()
        yield made


@pytest.fixture(scope="module")
def neighbour(ground: HostingServer) -> Iterator[str]:
    """Another account's database, of which nothing must change."""
    name = f"h{UID + 1}_shop"
    ground.run("mariadb", "-e", f"CREATE DATABASE {name}; CREATE TABLE {name}.log (n INT)")
    yield name
    assert ground.run("mariadb", "-N", "-e", f"SELECT COUNT(*) FROM {name}.log; SHOW TABLES IN {name}").split() == ["0", "log"]
    ground.run("mariadb", "-e", f"DROP DATABASE {name}")


@pytest.fixture
def suspended(customer: Customer) -> Iterator[Customer]:
    customer.suspend()
    yield customer
    assert customer.unsuspend() == []


@pytest.mark.rare
def test_what_was_packed_comes_back_as_it_was_also_of_a_suspended_account(customer: Customer) -> None:
    server = customer.ground.server
    crontab = f"/var/spool/cron/crontabs/{customer.user}"
    server.shell(f"{{ cat {crontab}; echo '{OWN_LINE}'; }} >/root/crontab; crontab -u {customer.user} /root/crontab")
    before, lines, usage = customer.state(), written(server.read(crontab)), customer.facts()["usage"]
    packed = customer.pack()
    assert packed["directory"] == customer.chroot
    assert [each["name"] for each in packed["databases"]] == ["shop"]
    assert server.run("stat", "-c", "%U %a", f"{customer.chroot}/backup", customer.dump).split() == ["root", "700", "root", "600"]
    assert (customer.facts()["usage"], customer.facts()["packed"]) == (usage, "whole")
    digest = server.run("sha256sum", customer.dump)

    customer.suspend()
    customer.pack()
    assert server.run("sha256sum", customer.dump) == digest, "nothing changed, and no date is in it"
    settings = json.loads(server.read(f"{customer.chroot}/backup/account.json"))
    assert settings["access"] == customer.spec["access"]
    assert [(site["name"], site["php"]) for site in settings["sites"]] == [("shop", "8.2"), ("plain", "")]
    assert settings["databases"] == [{**customer.spec["databases"][0], "full": False}]
    assert written(settings["crontab"]) == lines

    customer.sql(f"DROP DATABASE {customer.database}; DROP USER {customer.database}@localhost")
    server.run("rm", f"/var/lib/orchestrator-agent/accounts/{customer.user}/crontab")
    with pytest.raises(NotFound, match="other"):
        customer.load("other")
    for _ in range(2):
        assert customer.load()["loaded"] == packed["databases"]
    assert set(customer.locked().values()) == {True}
    assert customer.unsuspend() == []
    assert customer.state() == before
    assert written(server.read(crontab)) == lines
    assert "rows" in customer.page()
    customer.act("account-unpack")
    assert (server.run("ls", customer.chroot).split(), customer.facts()["packed"]) == (["home"], "")


@pytest.mark.rare
def test_a_login_by_password_comes_back_to_an_account_that_was_made_anew(customer: Customer) -> None:
    customer.pack()
    how = f"SHOW CREATE USER {customer.database}@localhost"
    was = customer.sql(how)
    customer.sql(f"DROP USER {customer.database}@localhost")
    customer.suspend()
    customer.load("shop")
    assert customer.database not in customer.locked(), "of a database that is named nothing else comes back"
    for _ in range(2):
        customer.load()
    assert customer.locked()[customer.database] is True
    assert customer.unsuspend() == []
    assert customer.sql(how) == was
    newer = was.replace(customer.spec["databases"][0]["password_hash"], "*" + "B" * 40)
    assert newer != was
    customer.sql(newer.replace("CREATE USER", "ALTER USER"))
    customer.suspend()
    customer.load()
    assert customer.unsuspend() == []
    assert customer.sql(how) == newer, "what was set since stays"
    customer.apply()


@pytest.mark.rare
def test_a_certificate_comes_back_to_an_account_that_was_made_anew(customer: Customer) -> None:
    site = customer.spec["sites"][0]
    given = certificate_for(*site["domains"], since=datetime.now(UTC) - timedelta(days=1))
    try:
        site |= {"certificate": given.certificate, "key": given.key}
        customer.apply()
        was = customer.facts()["sites"][0]["certificate_sha256"]
        customer.pack()
        site |= {"certificate": "", "key": ""}
        customer.ground.server.shell(f"rm /etc/orchestrator/tls/{customer.user}/{site['name']}.*")
        customer.apply()
        assert customer.facts()["sites"][0]["certificate_sha256"] != was
        customer.suspend()
        customer.load()
        assert customer.unsuspend() == []
        assert customer.facts()["sites"][0]["certificate_sha256"] == was
        assert shown(customer, site["domains"][0]) == ssl.PEM_cert_to_DER_cert(given.certificate)
    finally:
        site |= {"certificate": "", "key": ""}


def shown(customer: Customer, domain: str) -> bytes:
    """The certificate by which nginx answers for a domain, in DER."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection((customer.ground.address, 443), timeout=60)
    with raw, trusting.wrap_socket(raw, server_hostname=domain) as talk:
        return talk.getpeercert(binary_form=True) or b""


def written(crontab: str) -> list[str]:
    """Its lines without the three that crontab(1) puts at its head, and does not show."""
    return [line for line in crontab.splitlines() if not line.startswith(("# DO NOT EDIT", "# ("))]


def test_nothing_is_loaded_into_an_account_that_is_open(customer: Customer) -> None:
    customer.pack()
    before = customer.state()
    with pytest.raises(WrongState, match="suspend"):
        customer.load()
    assert customer.state() == before


def damaged_table(customer: Customer) -> str:
    customer.ground.server.shell(
        f"cp /var/lib/mysql/{customer.database}/isam.frm /root/; : >/var/lib/mysql/{customer.database}/isam.frm"
    )
    customer.sql("FLUSH TABLES")
    return f"cp /root/isam.frm /var/lib/mysql/{customer.database}/; chown mysql: /var/lib/mysql/{customer.database}/isam.frm"


def view_without_table(customer: Customer) -> str:
    customer.sql("CREATE TABLE gone (i INT); CREATE VIEW nothing AS SELECT * FROM gone; DROP TABLE gone;", own=True)
    return f"mariadb -e 'DROP VIEW {customer.database}.nothing'"


@pytest.mark.parametrize("broken", [damaged_table, pytest.param(view_without_table, marks=pytest.mark.rare)])
def test_a_database_that_cannot_be_dumped_is_red_and_leaves_nothing(
    customer: Customer, broken: Callable[[Customer], str]
) -> None:
    customer.pack()
    mend = broken(customer)
    try:
        with pytest.raises(
            PermanentDriverError, match=f"the database {customer.database} cannot be dumped: .*(both_of|isam|nothing)"
        ):
            customer.pack()
        assert customer.ground.run("ls", "-A", customer.chroot).split() == ["home"]
    finally:
        customer.ground.server.shell(f"{mend}; mariadb -e 'FLUSH TABLES'")
    customer.pack()


def test_what_a_dump_would_do_beyond_its_database_is_not_done(suspended: Customer, neighbour: str) -> None:
    server = suspended.ground.server
    suspended.pack()
    whole = server.read(suspended.dump)
    server.shell(f"rm -rf /tmp/pwned; cp {suspended.dump} /root/whole.sql")
    outside = (
        "SELECT User, Priv FROM mysql.global_priv WHERE User = 'root' OR User = 'evil'; SHOW DATABASES; SELECT @@general_log"
    )
    before = suspended.sql(outside)
    tries = [
        "CREATE DATABASE evil",
        f"INSERT INTO {neighbour}.log VALUES (1)",
        f"DROP TABLE {neighbour}.log",
        f"CREATE VIEW peep AS SELECT * FROM {neighbour}.log",
        "GRANT ALL ON *.* TO CURRENT_USER",
        "CREATE USER evil@localhost",
        "SET PASSWORD FOR root@localhost = PASSWORD(1)",
        "SET GLOBAL general_log = 1",
        "SELECT 1 INTO OUTFILE ''/tmp/pwned''",
        "LOAD DATA INFILE ''/etc/passwd'' INTO TABLE told",
        "CREATE DEFINER=root@localhost VIEW roots AS SELECT 1",
    ]
    each = "".join(f"EXECUTE IMMEDIATE '{text}';\n" for text in tries)
    handler = "DECLARE CONTINUE HANDLER FOR SQLEXCEPTION INSERT INTO told VALUES (1);"
    server.write(
        suspended.dump,
        f"CREATE TABLE told (i INT);\nDELIMITER ;;\nCREATE PROCEDURE p() BEGIN {handler}\n{each}END;;\nDELIMITER ;\nCALL p();\n",
    )
    suspended.load()
    assert suspended.sql(f"SELECT COUNT(*) FROM {suspended.database}.told").strip() == str(len(tries)), "each was refused"
    for text, said in (
        (r"\! touch /tmp/pwned", "ERROR"),
        ("source /root/whole.sql", "ERROR"),
        ("CREATE TABLE told (t TEXT);\nLOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE told;", "ERROR"),
        (f"USE {neighbour}\nINSERT INTO log VALUES (1);\nUSE {suspended.database}", "several databases"),
    ):
        server.write(suspended.dump, f"{text}\n;\n")
        with pytest.raises((PermanentDriverError, Refused), match=said):
            suspended.load()
    assert server.attempt("ls", "/tmp/pwned").returncode != 0
    assert suspended.sql(outside) == before

    # One whose names are another server's, as strangers send them, is loaded all the same, as the account's own.
    server.write(suspended.dump, f"CREATE DATABASE `wp`;\nUSE `wp`;\n{whole.replace('`root`@`localhost`', '`wp`@`%`')}")
    suspended.load()
    assert suspended.sql(f"CALL {suspended.database}.roots()").split("\t")[1].strip() == f"{suspended.user}@localhost"
    assert set(suspended.locked().values()) == {True}


@pytest.mark.rare
def test_a_full_database_keeps_what_makes_it_smaller_and_is_loaded_all_the_same(customer: Customer) -> None:
    before = customer.state()
    customer.spec["databases"][0]["full"] = True
    try:
        assert "databases" in customer.apply()["changed"]
        assert customer.facts()["databases"][0]["full"] is True
        for refused in (
            "INSERT INTO log VALUES (1)",
            "CREATE TABLE more (i INT)",
            "CREATE VIEW w AS SELECT 1",
            "LOAD DATA INFILE 'x' INTO TABLE log",
        ):
            with pytest.raises(Exception, match="denied"):
                customer.sql(refused, own=True)
        grants = customer.sql(f"SHOW GRANTS FOR {customer.database}@localhost")
        assert "INSERT" not in grants
        assert "ALL PRIVILEGES" not in grants
        customer.sql("UPDATE child SET p = 2; DELETE FROM child; DROP VIEW both_of", own=True)
        customer.sql(MENDED.format(db=customer.database))
        customer.pack()
        customer.suspend()
        customer.load()
        assert customer.unsuspend() == []
        assert customer.state() == before
        with pytest.raises(Exception, match="denied"):
            customer.sql("INSERT INTO child VALUES (3, 1)", own=True)
    finally:
        customer.spec["databases"][0]["full"] = False
        customer.apply()
    customer.sql("INSERT INTO log VALUES (9); DELETE FROM log WHERE n = 9", own=True)


def in_the_middle(customer: Customer, command: str, waits_for: str, **more: Any) -> None:
    """The agent begins, and is killed while that program of its runs."""
    server = customer.ground.server
    request = json.dumps({"user": customer.user, "service_id": customer.service_id, "job_id": "j8", **more})
    agent = f"{LIBRARY}/agent-{customer.ground.controller.bundle.sha256[:16]}/node-agent.pyz"
    server.shell(f"echo {shlex.quote(request)} | setsid python3 {agent} {command} >/tmp/agent.log 2>&1 & echo $! >/tmp/agent.pid")
    end = time.monotonic() + 60
    while server.attempt("pgrep", "-f", waits_for).returncode != 0:
        assert time.monotonic() < end, server.read("/tmp/agent.log")
        time.sleep(0.2)
    server.shell(f"pkill -9 -f 'node-agent.pyz {command}'")
    while server.attempt("pgrep", "-f", waits_for).returncode == 0:
        assert time.monotonic() < end, "it outlives the agent"
        time.sleep(0.2)


def test_killed_while_it_packs_nothing_looks_whole_and_the_next_call_mends_it(customer: Customer) -> None:
    server = customer.ground.server
    customer.pack()
    # A table that somebody else keeps locked is waited for.
    server.shell(f"setsid mariadb -e 'LOCK TABLES {customer.database}.inno WRITE; DO SLEEP(600)' >/dev/null 2>&1 & sleep 1")
    in_the_middle(customer, "account-pack", "^mariadb-dump .*shop")
    assert server.run("ls", "-A", customer.chroot).split() == ["backup.making", "home"]
    assert customer.facts()["packed"] == "half"
    customer.sql(customer.sql(SLEEPERS))
    customer.pack()
    assert server.run("ls", "-A", customer.chroot).split() == ["backup", "home"]


@pytest.mark.rare
def test_killed_while_it_loads_the_login_is_shut_again_by_the_next_call(suspended: Customer) -> None:
    server = suspended.ground.server
    suspended.pack()
    before = suspended.state()
    server.shell(f"cp {suspended.dump} /root/whole.sql; (echo 'DO SLEEP(600);'; cat /root/whole.sql) >{suspended.dump}")
    in_the_middle(suspended, "account-load", "^mariadb .*--binary-mode")
    assert suspended.locked()[suspended.user] is False
    server.shell(f"cp /root/whole.sql {suspended.dump}")
    assert suspended.suspend()["facts"]["suspended"] is True
    assert set(suspended.locked().values()) == {True}
    suspended.load()
    assert suspended.state() == before
