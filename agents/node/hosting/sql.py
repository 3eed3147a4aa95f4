"""Statements for MariaDB. The only place where one is put together."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"[a-z0-9_]{1,64}")
_ANY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_$-]{0,63}")
_HOST = "localhost"

FULL_RIGHTS = "ALL PRIVILEGES"
AT_THE_LIMIT = "SELECT, UPDATE, DELETE, DROP, INDEX, LOCK TABLES, EXECUTE, SHOW VIEW, TRIGGER, EVENT"
"""What is left where a database is full: everything by which it gets smaller or stays as it is."""

FIRST = "SET SESSION sql_mode = '';\n"
"""Before all else: what a quoted text means must not hang on the server's settings."""

USERS = (
    "SELECT User, Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0'), COALESCE(JSON_VALUE(Priv, '$.plugin'), ''),"
    " COALESCE(JSON_VALUE(Priv, '$.authentication_string'), ''), JSON_EXISTS(Priv, '$.auth_or')"
    " FROM mysql.global_priv WHERE User REGEXP '^h[1-9][0-9]{5,8}(_|$)';\n"
)
DATABASES = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME REGEXP '^h[1-9][0-9]{5,8}_';\n"
GRANTS = "SELECT User, Host, Db, Insert_priv FROM mysql.db WHERE User REGEXP '^h[1-9][0-9]{5,8}(_|$)';\n"
SESSIONS = "SELECT USER, COUNT(*) FROM information_schema.PROCESSLIST WHERE USER REGEXP '^h[1-9][0-9]{5,8}(_|$)' GROUP BY USER;\n"
DIRECTORY = "SELECT @@datadir;\n"
OTHER_PLACES = "SHOW GLOBAL VARIABLES LIKE 'have_symlink';\n"
"""DISABLED where DATA DIRECTORY and INDEX DIRECTORY of a table are passed over."""
_SIZES = (
    "SELECT s.SCHEMA_NAME, COALESCE(SUM(t.DATA_LENGTH), 0) FROM information_schema.SCHEMATA s"
    " LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME WHERE s.SCHEMA_NAME IN "
)
_RIGHTS = "SELECT DISTINCT Db FROM mysql.db WHERE User = "
_ALPHABET = "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "
_WITHOUT_TRANSACTIONS = (
    "SELECT HEX(TABLE_NAME) FROM information_schema.TABLES"
    " WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA = "
)


def literal(text: str) -> str:
    """A quoted text, under the sql_mode that FIRST sets. Raises ValueError for what MariaDB's client would cut at."""
    if "\0" in text:
        raise ValueError("a text for MariaDB holds a NUL")
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r") + "'"


def identifier(name: str) -> str:
    """The quoted name of a database or user. Raises ValueError for one that no account can have."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of ours in MariaDB")
    return f"`{name}`"


def pattern(database: str) -> str:
    """The name of a database where GRANT takes a pattern: ``_`` would stand for any letter, and give rights on a neighbour's."""
    return identifier(database).replace("_", "\\_")


def account(user: str) -> str:
    return f"{literal(_checked(user))}@{literal(_HOST)}"


def _checked(name: str) -> str:
    identifier(name)
    return name


def _any(name: str) -> str:
    """Of a database that need not be an account's, as it is only looked at. Raises ValueError."""
    if not _ANY_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a database that is looked at")
    return name


def create_database(name: str) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {identifier(name)} CHARACTER SET utf8mb4;\n"


def holds(database: str) -> str:
    """A row for each table in it, and for each view."""
    return f"SHOW TABLES FROM {identifier(database)};\n"


def drop_database(name: str) -> str:
    return f"DROP DATABASE IF EXISTS {identifier(name)};\n"


def create_user(user: str, *, password_hash: str = "", locked: bool = False) -> str:
    """A login by unix socket, or by password where a hash is given; twice is as good as once."""
    way = f"mysql_native_password USING {literal(password_hash)}" if password_hash else "unix_socket"
    lock = "LOCK" if locked else "UNLOCK"
    return (
        f"CREATE USER IF NOT EXISTS {account(user)} IDENTIFIED VIA {way} ACCOUNT {lock};\n"
        f"ALTER USER {account(user)} IDENTIFIED VIA {way};\n"
    )


def add_password(user: str, *, first: str, second: str) -> str:
    """Two passwords for one login: its own, and that of a probe."""
    native = "mysql_native_password USING"
    return f"ALTER USER {account(user)} IDENTIFIED VIA {native} {literal(first)} OR {native} {literal(second)};\n"


def drop_user(user: str) -> str:
    return f"DROP USER IF EXISTS {account(user)};\n"


def grant(user: str, database: str, *, full: bool) -> str:
    """All rights on it, or those that are left ``full``."""
    if not full:
        return f"GRANT {FULL_RIGHTS} ON {pattern(database)}.* TO {account(user)};\n"
    return (
        f"GRANT {FULL_RIGHTS} ON {pattern(database)}.* TO {account(user)};\n"
        f"REVOKE {FULL_RIGHTS} ON {pattern(database)}.* FROM {account(user)};\n"
        f"GRANT {AT_THE_LIMIT} ON {pattern(database)}.* TO {account(user)};\n"
    )


def sizes(names: Iterable[str]) -> str:
    """Those of these databases that are there, with the bytes of their rows."""
    told = ", ".join(literal(_any(name)) for name in names)
    return f"{_SIZES}({told}) GROUP BY s.SCHEMA_NAME;\n"


def rights_of(user: str) -> str:
    """The databases on which a login of that name has rights of its own, as patterns."""
    return _RIGHTS + literal(user) + ";\n"


def alphabet(database: str) -> str:
    return _ALPHABET + literal(_any(database)) + ";\n"


def set_alphabet(characters: str, collation: str) -> str:
    """Of the database that is in use. Both are words of the server's own."""
    return f"ALTER DATABASE CHARACTER SET {_checked(characters)} COLLATE {_checked(collation)};\n"


def without_transactions(database: str) -> str:
    """Tables that a transaction does not keep as they were when it began; a name may be any text, so it comes in hexadecimal."""
    return _WITHOUT_TRANSACTIONS + literal(_any(database)) + ";\n"


def lock_tables(database: str, tables: Iterable[str]) -> str:
    """Whoever wants to write in them waits until this session ends."""
    return "LOCK TABLES " + ", ".join(f"{any_name(_any(database))}.{any_name(each)} READ" for each in tables) + ";\n"


def any_name(name: str) -> str:
    """The quoted name of a customer's own table. Raises ValueError for one that the client would not take as it is."""
    if "\0" in name or "\\" in name:
        raise ValueError(f"{name!r} cannot be told to MariaDB's client")
    return "`" + name.replace("`", "``") + "`"


def lock(users: Iterable[str]) -> str:
    """No login any more, and whoever is in is out."""
    names = [account(each) for each in users]
    return "".join(f"ALTER USER {name} ACCOUNT LOCK;\n" for name in names) + "".join(f"KILL USER {name};\n" for name in names)


def unlock(users: Iterable[str]) -> str:
    return "".join(f"ALTER USER {account(each)} ACCOUNT UNLOCK;\n" for each in users)
