"""Accounts on a real hosting node, packed for a backup, lost, and made from it again; and what was made to do harm on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, WrongState
from tests.hosting_customer import Customer
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


def test_what_was_packed_comes_back_as_it_was_also_of_a_suspended_account(customer: Customer) -> None:
    server = customer.ground.server
    crontab = f"/var/spool/cron/crontabs/{customer.user}"
    server.shell(f"{{ cat {crontab}; echo '{OWN_LINE}'; }} >/root/crontab; crontab -u {customer.user} /root/crontab")
    before, lines, usage = customer.state(), server.read(crontab), customer.facts()["usage"]
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
    assert settings["crontab"] == lines

    customer.sql(f"DROP DATABASE {customer.database}; DROP USER {customer.database}@localhost")
    server.run("rm", f"/var/lib/orchestrator-agent/accounts/{customer.user}/crontab")
    with pytest.raises(NotFound, match="other"):
        customer.load("other")
    for _ in range(2):
        assert customer.load()["loaded"] == packed["databases"]
    assert set(customer.locked().values()) == {True}
    assert customer.unsuspend() == []
    assert customer.state() == before
    assert server.read(crontab) == lines
    assert "rows" in customer.page()
    customer.act("account-unpack")
    assert (server.run("ls", customer.chroot).split(), customer.facts()["packed"]) == (["home"], "")


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


@pytest.mark.parametrize("broken", [damaged_table, view_without_table])
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
