"""Serial consoles of simulated guests: what is typed comes back, as a terminal that echoes would have it."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path
from typing import Any

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.drivers.fake.hypervisor import guest_in
from orchestrator.drivers.fake.world import FakeWorld, State, node_of
from orchestrator.ports.guest_console import held

# Of a guest: who has its console open (a token and the process), and what is to be read there, in hexadecimal digits.
CONSOLE = "console"
_LOOK_SECONDS = 0.02


def print_on(world: FakeWorld, node: str, guest: str, text: bytes) -> None:
    """The guest writes to its console; nobody has it open = it is gone, as on a serial line."""
    with world.change() as state:
        console = guest_in(node_of(state, node), guest).get(CONSOLE)
        if console is not None:
            console["said"] += text.hex()


class FakeConsoles:
    """The GuestConsoles of one simulated node."""

    def __init__(self, world: FakeWorld, node: str) -> None:
        self._world = world
        self._node = node

    def open(self, name: str, *, force: bool, deadline: float) -> FakeConsole:
        token = secrets.token_hex(8)

        def stage(node: State) -> None:
            guest = guest_in(node, name)
            if guest["power"] != "running":
                raise WrongState(f"{name} does not run: it has no console")
            if not force and _alive(guest.get(CONSOLE)):
                raise held(name)
            guest[CONSOLE] = {"token": token, "pid": os.getpid(), "said": ""}

        self._world.act("console.open", node=self._node, subject=name, deadline=deadline, stages=[stage])
        return FakeConsole(self._world, self._node, name, token)


class FakeConsole:
    def __init__(self, world: FakeWorld, node: str, name: str, token: str) -> None:
        self._world = world
        self._node = node
        self._name = name
        self._token = token

    def read(self, *, wait: float) -> bytes | None:
        for _ in range(max(1, int(wait / _LOOK_SECONDS))):
            mine = self._mine(self._world.read())
            if mine is None:
                return None
            if mine["said"]:
                return self._take()
            threading.Event().wait(_LOOK_SECONDS)
        return b""

    def write(self, data: bytes, *, deadline: float) -> None:
        def stage(node: State) -> None:
            mine = self._mine_in(node)
            if mine is None:
                raise WrongState(f"the console of {self._name} is over")
            mine["said"] += data.hex()

        self._world.act("console.write", node=self._node, subject=self._name, deadline=deadline, stages=[stage])

    def close(self, *, deadline: float) -> None:
        with self._world.change() as state:
            if self._mine(state) is not None:
                del state["nodes"][self._node]["guests"][self._name][CONSOLE]

    def _take(self) -> bytes | None:
        with self._world.change() as state:
            mine = self._mine(state)
            if mine is None:
                return None
            said, mine["said"] = bytes.fromhex(mine["said"]), ""
        return said

    def _mine(self, state: State) -> dict[str, Any] | None:
        try:
            node = node_of(state, self._node)
        except NotFound:
            return None
        return self._mine_in(node) if node["up"] else None

    def _mine_in(self, node: State) -> dict[str, Any] | None:
        guest = node["guests"].get(self._name)
        if guest is None or guest["power"] != "running":
            return None
        console: dict[str, Any] | None = guest.get(CONSOLE)
        return console if console is not None and console["token"] == self._token else None


def _alive(console: dict[str, Any] | None) -> bool:
    """A connection ends with its process."""
    return console is not None and Path(f"/proc/{console['pid']}").exists()
