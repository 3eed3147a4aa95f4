"""API tokens. The token is shown once, when it is made; only its SHA-256 is kept.

A plain hash is enough: a token has 256 random bits, so there is nothing to guess.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.errors import AlreadyExists, NotFound, RequestError
from orchestrator.store.database import Connection
from orchestrator.store.tables import tokens

ROLES = ("admin", "operator", "billing", "readonly")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A token without the token."""

    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None = None
    expires_at: datetime | None = None


def add(conn: Connection, *, name: str, role: str, token: str, now: datetime, expires_at: datetime | None = None) -> TokenRecord:
    """Keep a new token's hash. A name is used once, also after its token was revoked: the audit trail names it.

    Raises RequestError for an unknown role or a token shorter than 32 characters, AlreadyExists for a used name.
    """
    if role not in ROLES:
        raise RequestError(f"'{role}' is no role", hint=f"one of: {', '.join(ROLES)}")
    if len(token) < 32:
        raise RequestError("a token needs at least 32 characters")
    if conn.execute(sa.select(tokens.c.name).where(tokens.c.name == name)).first() is not None:
        raise AlreadyExists(f"a token named '{name}' was made before", hint="choose another name")
    values = {"name": name, "role": role, "created_at": now, "expires_at": expires_at}
    conn.execute(sa.insert(tokens).values(token_sha256=_sha256(token), **values))
    return TokenRecord(name=name, role=role, created_at=now, expires_at=expires_at)


def find(conn: Connection, token: str, *, now: datetime) -> TokenRecord | None:
    """Whose token this is; None where it is unknown or revoked, or was to be used until before."""
    query = sa.select(tokens).where(tokens.c.token_sha256 == _sha256(token), tokens.c.revoked_at.is_(None))
    row = conn.execute(query).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return _record(row)


def revoke(conn: Connection, name: str, *, now: datetime) -> None:
    """Make the token useless from now on; revoked before = success. Raises NotFound."""
    if conn.execute(sa.select(tokens.c.name).where(tokens.c.name == name)).first() is None:
        raise NotFound(f"there is no token named '{name}'")
    conn.execute(sa.update(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None)).values(revoked_at=now))


def list_all(conn: Connection) -> tuple[TokenRecord, ...]:
    """Every token's record, revoked ones too, by name; there are few."""
    return tuple(_record(row) for row in conn.execute(sa.select(tokens).order_by(tokens.c.name)))


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _record(row: sa.Row[Any]) -> TokenRecord:
    return TokenRecord(
        name=row.name, role=row.role, created_at=row.created_at, revoked_at=row.revoked_at, expires_at=row.expires_at
    )
