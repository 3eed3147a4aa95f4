"""Who is calling, and what that caller may do. Tokens by their SHA-256; on the unix socket the peer's uid."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection

from orchestrator.api import looked
from orchestrator.api.context import ApiContext, Context
from orchestrator.domain.errors import Forbidden, Unauthenticated
from orchestrator.store import tokens


class Role(StrEnum):
    ADMIN = "admin"
    OPERATOR = "operator"
    BILLING = "billing"
    READONLY = "readonly"


class Permission(StrEnum):
    """READ everything · ACT on services · OPERATE: approve, cancel, retry, replay, freeze, doctor · ADMINISTER: enrol nodes."""

    READ = "read"
    ACT = "act"
    OPERATE = "operate"
    ADMINISTER = "administer"


ALLOWED: dict[Role, frozenset[Permission]] = {
    Role.READONLY: frozenset({Permission.READ}),
    Role.BILLING: frozenset({Permission.READ, Permission.ACT}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.ACT, Permission.OPERATE}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """``name`` as the audit writes it: ``token:NAME`` or ``unix:USER``."""

    name: str
    role: Role


# In words that the scrubber of secrets, which knows what stands behind a scheme's name, has no reason to cut.
_HOW = (
    "send one in the Authorization header, of the scheme Bearer (RFC 6750); the command line takes --token-file or "
    "ORCHESTRATOR_TOKEN; `orchestrator token create NAME --role ROLE`, on the controller's machine, makes one"
)
_bearer = HTTPBearer(auto_error=False, description="A token made by `orchestrator token create`; not needed on the unix socket.")


def identify(
    request: Request, context: Context, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """The caller, whom the line of the request in the log names, too; raises Unauthenticated. A token counts before the socket's
    uid, so that a role can be tried out."""
    return _counted(request, _identified(request, context, given))


def caller_of(connection: HTTPConnection, context: ApiContext, permission: Permission) -> Caller:
    """As ``identify``, of one that is no request: the handshake of a WebSocket. Raises Unauthenticated, TooMany and Forbidden."""
    scheme, token = get_authorization_scheme_param(connection.headers.get("authorization"))
    given = HTTPAuthorizationCredentials(scheme=scheme, credentials=token) if scheme.lower() == "bearer" and token else None
    return _allowed(_counted(connection, _identified(connection, context, given)), permission)


def _counted(connection: HTTPConnection, caller: Caller) -> Caller:
    if caller.name.startswith("token:"):
        connection.app.state.rates.take(caller.name)
    connection.state.caller = caller.name
    return caller


def _identified(request: HTTPConnection, context: ApiContext, given: HTTPAuthorizationCredentials | None) -> Caller:
    if given is not None:
        return _by_token(context, given.credentials)
    if "authorization" in request.headers:
        raise Unauthenticated("the Authorization header is of another scheme than Bearer", hint=_HOW)
    uid = request.scope.get("state", {}).get("peer_uid")
    if isinstance(uid, int):
        return by_uid(uid, server_uid=context.server_uid)
    raise Unauthenticated("a token is needed", hint=_HOW)


def _by_token(context: ApiContext, token: str) -> Caller:
    with context.db.read() as conn:
        found = tokens.find(conn, token, now=context.clock.now())
    if found is None:
        raise Unauthenticated(
            "the token is not known, was revoked or has expired", hint="`orchestrator token list` shows which there are"
        )
    return Caller(name=f"token:{found.name}", role=Role(found.role))


def by_uid(uid: int, *, server_uid: int) -> Caller:
    """The user behind a unix socket: root and the controller's own user administer; whoever else the socket's group lets
    in (mode 0660) operates.
    """
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Caller(name=f"unix:{name}", role=Role.ADMIN if uid in (0, server_uid) else Role.OPERATOR)


def _may(permission: Permission) -> Callable[[Request, ApiContext, Caller], Caller]:
    def check(request: Request, context: Context, caller: Annotated[Caller, Depends(identify)]) -> Caller:
        looked.write_down(request, context, _allowed(caller, permission).name)
        return caller

    return check


def _allowed(caller: Caller, permission: Permission) -> Caller:
    if permission not in ALLOWED[caller.role]:
        able = " or ".join(role for role, permissions in ALLOWED.items() if permission in permissions)
        raise Forbidden(f"the role {caller.role} may not {permission} here", hint=f"this takes the role {able}")
    return caller


Reader = Annotated[Caller, Depends(_may(Permission.READ))]
Actor = Annotated[Caller, Depends(_may(Permission.ACT))]
Operator = Annotated[Caller, Depends(_may(Permission.OPERATE))]
Admin = Annotated[Caller, Depends(_may(Permission.ADMINISTER))]
