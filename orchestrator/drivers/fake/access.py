"""Who may log in to guests on one simulated node."""

from __future__ import annotations

from typing import Any

from orchestrator.drivers.fake.hypervisor import guest_in
from orchestrator.drivers.fake.world import FakeWorld, State
from orchestrator.ports.guest_access import no_agent

# Of a guest: by user, the hash of his password and his keys, as they were set from outside.
LOGINS = "logins"
# Of a guest whose agent was stopped inside of it.
DEAF = "deaf"


class FakeAccess:
    """The GuestAccess of one simulated node."""

    def __init__(self, world: FakeWorld, node: str) -> None:
        self._world = world
        self._node = node

    def set_password(self, name: str, *, user: str, password_hash: str, deadline: float) -> None:
        def stage(node: State) -> None:
            _login(node, name, user)["password_hash"] = password_hash

        self._world.act("access.set_password", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def keys(self, name: str, *, user: str, deadline: float) -> tuple[str, ...]:
        def stage(node: State) -> tuple[str, ...]:
            return tuple(_login(node, name, user)["keys"])

        return self._world.act("access.keys", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def change_keys(self, name: str, *, user: str, add: tuple[str, ...], remove: tuple[str, ...], deadline: float) -> None:
        def added(node: State) -> None:
            login = _login(node, name, user)
            login["keys"] = list(dict.fromkeys((*login["keys"], *add)))

        def removed(node: State) -> None:
            login = _login(node, name, user)
            login["keys"] = [line for line in login["keys"] if line not in remove]

        self._world.act("access.change_keys", node=self._node, subject=name, deadline=deadline, stages=[added, removed])


def _login(node: State, name: str, user: str) -> dict[str, Any]:
    guest = guest_in(node, name)
    if guest["power"] != "running" or not guest["definition"]["agent"] or guest.get(DEAF):
        raise no_agent(name)
    found: dict[str, Any] = guest.setdefault(LOGINS, {}).setdefault(user, {"password_hash": "", "keys": []})
    return found
