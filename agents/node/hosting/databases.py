"""The account's databases and logins in MariaDB, through its own client, as root over its socket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.node.hosting import sql, tree
from agents.node.hosting.attended import as_account
from agents.node.hosting.fields import NATIVE
from agents.node.hosting.layout import Home
from agents.node.hosting.run import SECONDS, Done, run
from agents.node.hosting.spec import Database, Spec
from agents.node.protocol import AgentError

CLIENT = ["mariadb", "--no-defaults", "--protocol=socket", "--batch", "--raw", "--skip-column-names", "--connect-timeout=10"]
_AWAY = ("ERROR 2002", "ERROR 2003", "ERROR 2006", "ERROR 2013")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    name: str
    host: str
    locked: bool
    plugin: str
    secret: str
    """What it is checked by: a hash, '' for a unix socket."""
    doubled: bool
    """It has a second way in, which a probe gave it."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Everything of accounts in the server. ``away`` says why nothing could be seen ('' = it was)."""

    logins: tuple[Login, ...] = ()
    databases: tuple[str, ...] = ()
    inserting: frozenset[tuple[str, str]] = frozenset()
    """(login, database) where rows may be inserted."""
    sessions: dict[str, int] = field(default_factory=dict)
    directory: Path = Path("/var/lib/mysql")
    inside: bool = False
    """No customer's table is made anywhere else (see ``tables``)."""
    away: str = ""

    def logins_of(self, user: str) -> Sequence[Login]:
        return self._logins_by_user.get(user, ())

    def databases_of(self, user: str) -> Sequence[str]:
        return self._databases_by_user.get(user, ())

    # A node has a thousand accounts, and each is asked for.

    @cached_property
    def _logins_by_user(self) -> dict[str, list[Login]]:
        found: defaultdict[str, list[Login]] = defaultdict(list)
        for each in self.logins:
            found[_owner(each.name)].append(each)
        return dict(found)

    @cached_property
    def _databases_by_user(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for each in self.databases:
            found[_owner(each)].append(each)
        return dict(found)

    def sessions_of(self, user: str) -> int:
        return sum(count for name, count in self.sessions.items() if _owner(name) == user)


def _owner(name: str) -> str:
    return name.partition("_")[0]


def ask(script: str, *, doing: str, seconds: float = SECONDS) -> list[list[str]]:
    """The rows. Raises AgentError: driver-transient where MariaDB is away or its disk full, else driver-permanent."""
    done = run([*CLIENT, "--user=root"], given=sql.FIRST + script, seconds=seconds)
    if done.status != 0:
        # Before its error the client repeats the statement.
        told = "".join(done.said.rpartition("ERROR ")[1:])
        raise AgentError("driver-transient" if is_away(done) else "driver-permanent", f"{doing}: {told}")
    return [line.split("\t") for line in done.out.splitlines()]


def is_away(done: Done) -> bool:
    return done.lacks_room or any(word in done.err for word in _AWAY)


def see() -> Seen:
    """One call for all accounts. A server that is away is told, not raised."""
    mark = "SELECT '--';\n"
    try:
        asked = (sql.USERS, sql.DATABASES, sql.GRANTS, sql.SESSIONS, sql.DIRECTORY, sql.OTHER_PLACES)
        rows = ask(mark.join(asked), doing="asking MariaDB")
    except AgentError as exc:
        if exc.code == "driver-transient" or "not installed" in exc.message:
            return Seen(away=exc.message)
        raise
    parts: list[list[list[str]]] = [[]]
    for row in rows:
        if row == ["--"]:
            parts.append([])
        else:
            parts[-1].append(row)
    users, names, grants, sessions, directory, other = parts
    return Seen(
        logins=tuple(
            Login(name=row[0], host=row[1], locked=row[2] in ("1", "true"), plugin=row[3], secret=row[4], doubled=row[5] == "1")
            for row in users
        ),
        databases=tuple(row[0] for row in names),
        inserting=frozenset((row[0], row[2].replace("\\_", "_")) for row in grants if row[3] == "Y"),
        sessions={row[0]: int(row[1]) for row in sessions},
        directory=Path(directory[0][0]),
        inside=bool(other) and other[0][-1] == "DISABLED",
    )


def script(spec: Spec, seen: Seen, *, suspended: bool) -> str:
    """The statements by which the server comes to hold what the spec wants; '' where it does. What it holds beyond that is left:
    a database is dropped by a wipe and by nothing else. The login by password goes with its password."""
    if not spec.databases and not seen.logins_of(spec.user):
        return ""
    return making(spec.user, spec.databases, seen, suspended=suspended)


def making(user: str, databases: Sequence[Database], seen: Seen, *, suspended: bool) -> str:
    """The statements by which the account comes to have these databases with their logins; '' where it does."""
    present = {each.name: each for each in seen.logins if each.host == "localhost"}
    words: list[str] = []

    def wrong(login: str, each: Database) -> bool:
        """The login by socket is for all of the databases, one by password for its own."""
        database = f"{user}_{each.name}"
        return login not in present or database not in seen.databases or ((login, database) in seen.inserting) == each.full

    # Whoever took the password away means that nobody gets in by it any more; what is left of its rights would grow a full one.
    without = [name for each in databases if not each.password_hash and (name := f"{user}_{each.name}") in present]
    words += [sql.lock(without), *map(sql.drop_user, without)]
    wanted = {user: ""} | {f"{user}_{each.name}": each.password_hash for each in databases if each.password_hash}
    for name, secret in wanted.items():
        if name not in present or present[name].secret != secret or present[name].doubled:
            words.append(sql.create_user(name, password_hash=secret, locked=suspended))
    for each in databases:
        database = f"{user}_{each.name}"
        if database not in seen.databases:
            words.append(sql.create_database(database))
        words += [
            sql.grant(login, database, full=each.full) for login in (user, database) if login in wanted and wrong(login, each)
        ]
    return "".join(words)


def logins_back(user: str, rows: Sequence[Mapping[str, Any]], seen: Seen) -> dict[str, str]:
    """By login, the statements that make those by password which were packed and are not there, locked; with the rights that the
    account's own login has. One that is there is newer than what was packed."""
    present = {each.name for each in seen.logins_of(user) if each.host == "localhost"}
    words = {}
    for row in rows:
        login, secret = f"{user}_{row['name']}", str(row.get("password_hash", ""))
        if login in present or login not in seen.databases or not NATIVE.fullmatch(secret):
            continue
        full = (user, login) not in seen.inserting
        words[login] = sql.create_user(login, password_hash=secret, locked=True) + sql.grant(login, login, full=full)
    return words


def size(seen: Seen, database: str) -> int:
    """Bytes of the database's files on the disk, wherever these lie; its tables may come and go meanwhile."""
    inside = [seen.directory / database / name for name in tree.names(seen.directory / database)]
    total = 0
    for path in (*inside, *outside(seen.directory, database)):
        with suppress(OSError):
            total += path.stat(follow_symlinks=False).st_blocks * 512
    return total


def outside(directory: Path, database: str) -> list[Path]:
    """Files of the database's tables that lie elsewhere: InnoDB names one in a file ``.isl``, others lead there by a link. They
    were made before the server was told to refuse that (see ``tables``)."""
    found = []
    for name in tree.names(directory / database):
        path = directory / database / name
        with suppress(OSError):
            if path.is_symlink():
                found.append(path.readlink())
            elif name.endswith(".isl"):
                found.append(Path((tree.read(path) or "").strip()))
    return sorted(found)


def try_login(user: str, *, by: Home | None = None, defaults: Path | None = None) -> Done:
    """A login as the account itself would make it: by its uid over the socket, or by a password in a file of options.

    What has the rights of the account is in its slice from its beginning on: others of its processes may get hold of it
    (ptrace(2)), and would be where no limit holds.
    """
    words = ["mariadb", f"--defaults-file={defaults}" if defaults else "--no-defaults", "--protocol=socket", f"--user={user}"]
    words += ["--batch", "--skip-column-names", "--connect-timeout=10", "--execute=SELECT 1"]
    return run(as_account(by, words) if by else words, seconds=20)
