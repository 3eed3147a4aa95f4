"""Somebody on the network who has read what a BMC fetched, and comes to the desk with it as if he were the machine."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

import httpx

from orchestrator.drivers.redfish import RedfishBmc
from tests.lab.bmc import Emulator, Machine, connection

_SEED = re.compile(rb"deploy\.seed=([A-Za-z0-9_=-]+)")


@dataclass(frozen=True, kw_only=True)
class Thief:
    """``medium``: the URL that he has; ``token``: of the seed that he read there."""

    machine: Machine
    desk: str
    medium: str
    token: str

    def claims(self, *, uuid: str = "", serials: tuple[str, ...] | None = None) -> httpx.Response:
        """As the machine itself, or as another one."""
        mine = {"uuid": uuid or self.machine.uuid, "serials": list(self.machine.serials if serials is None else serials)}
        return self._post("claim", {"token": self.token, "identity": {**mine, "macs": [self.machine.mac]}})

    def asks_for_a_task(self) -> httpx.Response:
        return self._post("next", {}, session=self.token)

    def fetches(self, image: str) -> httpx.Response:
        return httpx.get(f"{self.desk}/deploy/v1/images/{image}", headers=_bearer(self.token), verify=False, timeout=60)

    def reads_the_medium(self) -> httpx.Response:
        return httpx.get(self.medium, headers={"range": "bytes=0-511"}, verify=False, timeout=60)

    def _post(self, path: str, body: dict[str, Any], session: str = "") -> httpx.Response:
        url = f"{self.desk}/deploy/v1/{path}"
        return httpx.post(url, json=body, headers=_bearer(session) if session else {}, verify=False, timeout=60)


def _bearer(session: str) -> dict[str, str]:
    return {"authorization": f"Bearer {session}"}


def thief(emulator: Emulator, machine: Machine, desk: str) -> Thief:
    """With what is in the machine's drive at this moment."""
    bmc = RedfishBmc(connection(emulator, machine))
    medium = bmc.facts(deadline=120).media
    bmc.close()
    found = _SEED.search(httpx.get(medium, verify=False, timeout=120).content)
    assert found is not None, "there is a seed on the medium"
    seed = json.loads(base64.urlsafe_b64decode(found[1]))
    return Thief(machine=machine, desk=desk, medium=medium, token=seed["token"])
