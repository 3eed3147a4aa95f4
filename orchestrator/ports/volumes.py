"""Volumes of one node's storage pool, and the secrets that open the encrypted ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume to be made. ``template`` is the file name of the backing (overlay) or copied (full copy) volume, or ''.

    Encrypted: LUKS inside qcow2; the driver makes a random key that exists on the node only.
    """

    name: str
    capacity_bytes: int
    template: str = ""
    template_format: str = "qcow2"
    full_copy: bool = False
    encrypted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFacts:
    """A volume as the pool reports it. ``path`` is absolute on the node; ``allocated_bytes`` what it occupies."""

    name: str
    path: str
    format: str
    capacity_bytes: int
    allocated_bytes: int
    backing_path: str = ""
    secret_uuid: str = ""


class VolumeStore(Protocol):
    def volumes(self, *, deadline: float) -> tuple[VolumeFacts, ...]:
        """Every volume of the pool, templates and others' too, after a refresh of the pool."""
        ...

    def volume(self, name: str, *, deadline: float) -> VolumeFacts | None: ...

    def create(self, spec: VolumeSpec, *, deadline: float) -> VolumeFacts:
        """Make the volume (and its secret) whole or not at all; one of that name already there raises AlreadyExists.

        NotFound: the template is missing. NoCapacity: the pool is full. PermanentDriverError: the template is corrupt.
        """
        ...

    def put(self, name: str, content: bytes, *, deadline: float) -> VolumeFacts:
        """Make a raw volume that holds ``content`` (a seed image), replacing one of that name."""
        ...

    def delete(self, name: str, *, deadline: float) -> None:
        """Remove volume and secret; absent = success. Overwrites nothing: wiping is the node agent's work."""
        ...

    def secrets(self, *, deadline: float) -> tuple[str, ...]:
        """Names of the volumes for which a secret of ours stands on the node, also where the volume is gone."""
        ...

    def close(self) -> None: ...
