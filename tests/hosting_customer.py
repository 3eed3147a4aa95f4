"""An account on a real hosting node with something of everything in its database, and what its owner and an operator do to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hosting_account import Account
from tests.hosting_server import HostingServer

CONTENT = r"""
CREATE TABLE inno (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) CHARACTER SET latin1, b LONGBLOB, KEY (name));
CREATE TABLE isam (id INT PRIMARY KEY, t TEXT, FULLTEXT (t)) ENGINE=MyISAM;
CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES inno (id));
CREATE TABLE log (n INT);
CREATE TABLE old (x INT) WITH SYSTEM VERSIONING;
CREATE SEQUENCE seq START WITH 5;
INSERT INTO inno (name, b) VALUES ('M\xfcl''ler\\', x'000102030405060708090a0b0c0d0e0f101a1b5c27220d0aff');
INSERT INTO inno (name, b) VALUES ('two', REPEAT('\\', 200000));
INSERT INTO isam VALUES (1, 'DEFINER=`root`@`localhost`'), (2, 'line\nUSE `mysql`;\n\\! id');
INSERT INTO child VALUES (1, 1);
INSERT INTO old VALUES (1);
UPDATE old SET x = 2;
CREATE VIEW both_of AS SELECT inno.id, name, t FROM inno JOIN isam USING (id);
DELIMITER ;;
CREATE TRIGGER noted AFTER INSERT ON inno FOR EACH ROW BEGIN INSERT INTO log VALUES (NEW.id); END;;
CREATE FUNCTION next_of(a INT) RETURNS INT DETERMINISTIC RETURN a + 1;;
CREATE EVENT sometimes ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM log;;
DELIMITER ;
"""
BY_ROOT = """
CREATE DEFINER=root@localhost PROCEDURE {db}.roots() SELECT 'it''s', CURRENT_USER();
CREATE DEFINER=`{db}`@localhost VIEW {db}.shops AS SELECT 1 AS one;
"""
MENDED = """
INSERT INTO {db}.child VALUES (1, 1);
CREATE VIEW {db}.both_of AS SELECT inno.id, name, t FROM {db}.inno JOIN {db}.isam USING (id);
"""
SLEEPERS = "SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE INFO = 'DO SLEEP(600)'"
STATE = """
SELECT id, HEX(name), MD5(b) FROM {db}.inno; SELECT * FROM {db}.isam; SELECT * FROM {db}.child; SELECT * FROM {db}.log;
SELECT x, row_start, row_end FROM {db}.old FOR SYSTEM_TIME ALL ORDER BY row_start;
SELECT * FROM {db}.both_of; SELECT * FROM {db}.shops;
SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{db}';
SELECT ROUTINE_NAME, ROUTINE_DEFINITION, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{db}' ORDER BY 1;
SELECT EVENT_NAME, EVENT_DEFINITION, STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{db}';
SHOW CREATE TABLE {db}.inno; SHOW CREATE TABLE {db}.isam; SHOW CREATE TABLE {db}.child; SHOW CREATE DATABASE {db};
SELECT {db}.next_of(1), NEXTVAL({db}.seq) >= 5;
"""


class Customer(Account):
    """An account with a database that has something of everything in it."""

    @property
    def database(self) -> str:
        return f"{self.user}_shop"

    @property
    def chroot(self) -> str:
        return f"/srv/h/{self.user}"

    @property
    def dump(self) -> str:
        return f"{self.chroot}/backup/databases/shop.sql"

    def sql(self, script: str, *, own: bool = False) -> str:
        """As root, or as the customer's own programs."""
        rights = ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups"] if own else []
        client = ["mariadb", "--no-defaults", "--skip-column-names", f"--user={self.user if own else 'root'}"]
        return self.ground.server.run(*rights, *client, *([self.database] if own else []), stdin=script.encode("latin-1"))

    def fill(self) -> None:
        self.sql(f"DROP DATABASE {self.database}; CREATE DATABASE {self.database} CHARACTER SET latin1;")
        self.sql(CONTENT, own=True)
        self.sql(BY_ROOT.format(db=self.database))

    def state(self) -> str:
        return self.sql(STATE.format(db=self.database))

    def pack(self) -> dict[str, Any]:
        return self.act("account-pack", job_id="j6")

    def load(self, *names: str) -> dict[str, Any]:
        return self.act("account-load", job_id="j7", databases=list(names))

    def suspend(self) -> dict[str, Any]:
        return self.act("account-suspend", job_id="j2")

    def unsuspend(self) -> list[str]:
        found: list[str] = self.act("account-unsuspend", job_id="j3")["difference"]
        return found

    def as_himself(self, script: str) -> subprocess.CompletedProcess[bytes]:
        rights = ("setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups")
        return self.ground.server.attempt(*rights, "sh", "-c", script)

    def locked(self) -> dict[str, bool]:
        rows = self.sql(
            f"SELECT User, JSON_VALUE(Priv, '$.account_locked') FROM mysql.global_priv WHERE User LIKE '{self.user}%'"
        ).split("\n")
        return {name: state in ("1", "true") for name, _, state in (row.partition("\t") for row in rows if row)}


def customer(ground: HostingServer, uid: int, directory: Path) -> Iterator[Customer]:
    """A new account, and nothing of it at the end."""
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    made = Customer(ground, uid, key.with_suffix(".pub").read_text().strip())
    made.apply()
    yield made
    made.act("account-wipe", job_id="j9")
    assert made.residue(clean=True) == []
