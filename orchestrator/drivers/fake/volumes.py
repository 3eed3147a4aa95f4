"""The simulated storage pool, with libvirt's secrets."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from orchestrator.domain.errors import AlreadyExists, NoCapacity, NotFound, PermanentDriverError
from orchestrator.drivers.fake.world import OVERLAY_BYTES, FakeWorld, State, new_uuid, pool_available
from orchestrator.ports.volumes import VolumeFacts, VolumeSpec


class FakeVolumes:
    """Volumes and secrets of one simulated node."""

    def __init__(self, world: FakeWorld, node: str) -> None:
        self._world = world
        self._node = node

    def volumes(self, *, deadline: float) -> tuple[VolumeFacts, ...]:
        def stage(node: State) -> tuple[VolumeFacts, ...]:
            return tuple(_facts(node, name) for name in sorted(node["volumes"]))

        return self._world.act("volumes.volumes", node=self._node, subject="", deadline=deadline, stages=[stage])

    def volume(self, name: str, *, deadline: float) -> VolumeFacts | None:
        def stage(node: State) -> VolumeFacts | None:
            return _facts(node, name) if name in node["volumes"] else None

        return self._world.act("volumes.volume", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def create(self, spec: VolumeSpec, *, deadline: float) -> VolumeFacts:
        """Secret first, then the volume: a process killed in between leaves a secret without a volume, as in reality."""

        def make_secret(node: State) -> VolumeFacts | None:
            _possible(node, spec)
            if spec.encrypted:
                node["secrets"][spec.name] = {"uuid": new_uuid(), "wiped": False}
            return None

        def make_volume(node: State) -> VolumeFacts | None:
            try:
                return make(node, spec, secret_uuid=node["secrets"][spec.name]["uuid"] if spec.encrypted else "")
            except NoCapacity:
                node["secrets"].pop(spec.name, None)
                return None

        made = self._world.act(
            "volumes.create", node=self._node, subject=spec.name, deadline=deadline, stages=[make_secret, make_volume]
        )
        if made is None:
            raise NoCapacity(f"the storage pool of {self._node} is full")
        return made

    def put(self, name: str, content: bytes, *, deadline: float) -> VolumeFacts:
        def stage(node: State) -> VolumeFacts:
            if "/" in name:
                raise PermanentDriverError(f"{name!r} is no name of a volume")
            free = pool_available(node) + int(node["volumes"].get(name, {}).get("allocated_bytes", 0))
            if free < len(content):
                raise NoCapacity(f"the storage pool of {self._node} is full")
            node["volumes"][name] = {
                "format": "raw",
                "capacity_bytes": len(content),
                "allocated_bytes": len(content),
                "backing": "",
                "secret_uuid": "",
                "sha256": hashlib.sha256(content).hexdigest(),
                "corrupt": False,
                "content": zlib.compress(content).hex(),  # a seed image is mostly zeros, and the world is written whole each time
                "markers": [],
            }
            return _facts(node, name)

        return self._world.act("volumes.put", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def delete(self, name: str, *, deadline: float) -> None:
        def drop_volume(node: State) -> None:
            node["volumes"].pop(name, None)

        def drop_secret(node: State) -> None:
            node["secrets"].pop(name, None)

        self._world.act("volumes.delete", node=self._node, subject=name, deadline=deadline, stages=[drop_volume, drop_secret])

    def secrets(self, *, deadline: float) -> tuple[str, ...]:
        def stage(node: State) -> tuple[str, ...]:
            return tuple(sorted(node["secrets"]))

        return self._world.act("volumes.secrets", node=self._node, subject="", deadline=deadline, stages=[stage])

    def close(self) -> None:
        """Nothing is kept open."""


def make(node: State, spec: VolumeSpec, *, secret_uuid: str) -> VolumeFacts:
    """Put the volume into the pool; raises what the real pool would, NoCapacity last."""
    _possible(node, spec)
    needed = _needed(node, spec)
    if pool_available(node) < needed:
        raise NoCapacity(f"the storage pool of {node['name']} is full")
    overlay = spec.template and not spec.full_copy
    backing = f"{node['pool_path']}/{spec.template}" if overlay else ""
    node["volumes"][spec.name] = _volume(spec, allocated=needed, backing=backing, secret_uuid=secret_uuid)
    return _facts(node, spec.name)


def _possible(node: State, spec: VolumeSpec) -> None:
    """Raise what the real pool would refuse, in the same order."""
    if "/" in spec.name:
        raise PermanentDriverError(f"{spec.name!r} is no name of a volume")
    if spec.name in node["volumes"]:
        raise AlreadyExists(f"a volume named {spec.name} is already there")
    if not spec.template:
        return
    template = node["volumes"].get(spec.template)
    if template is None:
        raise NotFound(f"the template {spec.template} is missing on {node['name']}")
    if template["corrupt"] or template["format"] != spec.template_format:
        raise PermanentDriverError(f"the template {spec.template} is no sound {spec.template_format} image")
    if spec.capacity_bytes < template["capacity_bytes"]:
        raise PermanentDriverError(f"{spec.name} would be smaller than its template {spec.template}")


def _needed(node: State, spec: VolumeSpec) -> int:
    copied = node["volumes"][spec.template]["allocated_bytes"] if spec.template and spec.full_copy else 0
    return OVERLAY_BYTES + int(copied)


def _volume(spec: VolumeSpec, *, allocated: int, backing: str, secret_uuid: str) -> dict[str, Any]:
    return {
        "format": "qcow2",
        "capacity_bytes": spec.capacity_bytes,
        "allocated_bytes": allocated,
        "backing": backing,
        "secret_uuid": secret_uuid,
        "sha256": "",
        "corrupt": False,
        "content": "",
        "markers": [],
    }


def _facts(node: State, name: str) -> VolumeFacts:
    volume = node["volumes"][name]
    return VolumeFacts(
        name=name,
        path=f"{node['pool_path']}/{name}",
        format=volume["format"],
        capacity_bytes=volume["capacity_bytes"],
        allocated_bytes=volume["allocated_bytes"],
        backing_path=volume["backing"],
        secret_uuid=volume["secret_uuid"],
    )
