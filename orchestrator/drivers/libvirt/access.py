"""Logging in to guests, set through the QEMU guest agent inside of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from orchestrator.drivers.libvirt.connection import Connection, Session
from orchestrator.drivers.libvirt.domains import require
from orchestrator.drivers.libvirt.power import agent_ping
from orchestrator.ports.guest_access import no_agent

T = TypeVar("T")
_NO_FILE = re.compile(r"No such file or directory")


class LibvirtAccess:
    """The GuestAccess of one node. The connection is shared with its LibvirtHypervisor, and not closed here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def set_password(self, name: str, *, user: str, password_hash: str, deadline: float) -> None:
        def work(domain: Any) -> None:
            domain.setUserPassword(user, password_hash, libvirt.VIR_DOMAIN_PASSWORD_ENCRYPTED)

        self._inside(name, f"setting the password of {user} in {name}", work, deadline)

    def keys(self, name: str, *, user: str, deadline: float) -> tuple[str, ...]:
        def work(domain: Any) -> tuple[str, ...]:
            try:
                return tuple(domain.authorizedSSHKeysGet(user))
            except libvirt.libvirtError as error:
                if _NO_FILE.search(error.get_error_message() or ""):
                    return ()
                raise

        return self._inside(name, f"reading the keys of {user} in {name}", work, deadline)

    def change_keys(self, name: str, *, user: str, add: tuple[str, ...], remove: tuple[str, ...], deadline: float) -> None:
        def work(domain: Any) -> None:
            if add:
                domain.authorizedSSHKeysSet(user, list(add), libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND)
            if remove:
                domain.authorizedSSHKeysSet(user, list(remove), libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE)

        self._inside(name, f"changing the keys of {user} in {name}", work, deadline)

    def _inside(self, name: str, doing: str, work: Callable[[Any], T], deadline: float) -> T:
        """Asked only once the agent has answered: libvirt would wait for one that does not."""
        if not agent_ping(self._connection, name, deadline=deadline):
            raise no_agent(name)

        def act(session: Session) -> T:
            return work(require(session, name))

        return self._connection.run(doing, act, deadline=deadline)
