"""What is left of a service on this node: files and definitions that carry its guest's name, wherever libvirt puts them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.place import Place
from agents.node.protocol import AgentError
from agents.node.records import records_of
from agents.node.restic import packs
from agents.node.restic.running import cache_directory


@dataclass(frozen=True, slots=True)
class Store:
    """A directory in which libvirt keeps things named after a guest.

    ``ours_to_remove``: what lies there is a by-product that libvirt leaves behind. The rest is only reported: definitions
    are undefined through libvirt, volumes are wiped by volume-wipe.
    """

    directory: str
    ours_to_remove: bool


STORES = (
    Store("etc/libvirt/qemu", ours_to_remove=False),
    Store("etc/libvirt/qemu/autostart", ours_to_remove=False),
    Store("etc/libvirt/nwfilter", ours_to_remove=False),
    Store("run/libvirt/qemu", ours_to_remove=False),
    # What an export of a disk leaves where QEMU or the node ended in the middle of it: what the guest overwrote, and of an older
    # version its socket.
    Store("var/lib/libvirt/qemu", ours_to_remove=True),
    Store("var/lib/libvirt/qemu/save", ours_to_remove=True),
    Store("var/lib/libvirt/qemu/nvram", ours_to_remove=True),
    Store("var/lib/libvirt/qemu/snapshot", ours_to_remove=True),
    Store("var/lib/libvirt/qemu/checkpoint", ours_to_remove=True),
    Store("var/lib/libvirt/qemu/dump", ours_to_remove=True),
    Store("var/lib/libvirt/qemu/ram", ours_to_remove=True),
    Store("var/log/libvirt/qemu", ours_to_remove=True),
)


def residue(call: Call) -> dict[str, Any]:
    """Absolute paths found, and with ``clean`` those removed. Cleaning while the guest is defined is refused (wrong-state).

    ``pool_path`` '': the node has none, as one of accounts.
    """
    place, name = call.place, f"orch.{call.arguments['service_id']}"
    pool = [Path(place.pool(path)) for path in (call.arguments["pool_path"],) if path]
    with place.lock(f"residue {name}"):
        kept = [str(p) for p in (*(found for there in pool for found in _named(there, name)), *_secrets(place, name))]
        by_products: list[Path] = [*records_of(place, f"{name}."), *_caches(place, call.arguments["repositories"])]
        for store in STORES:
            entries = list(_named(place.root / store.directory, name))
            if store.ours_to_remove:
                by_products.extend(entries)
            else:
                kept.extend(str(e) for e in entries)
        removed = []
        if call.arguments["clean"]:
            if (place.root / f"etc/libvirt/qemu/{name}.xml").exists():
                raise AgentError("wrong-state", f"the guest {name} is still defined on this node", hint="undefine it first")
            removed = [str(p) for p in by_products if _remove(p)]
        return {"found": sorted([*kept, *map(str, by_products)]), "removed": sorted(removed)}


def _caches(place: Place, locations: Iterable[str]) -> Iterator[Path]:
    """What this node keeps of these repositories."""
    for location in locations:
        for kept in (cache_directory(place, location), packs.record_path(place, location)):
            if kept.exists():
                yield kept


def _named(directory: Path, name: str) -> Iterator[Path]:
    """Entries called ``name`` or ``name.…``: a service id holds no dot, so vps-1 never takes vps-10 for its own."""
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name == name or entry.name.startswith(f"{name}."):
            yield Path(entry.path)


def _secrets(place: Place, name: str) -> Iterator[Path]:
    """Secret definitions whose usage names a volume of the service, and their values."""
    usage = re.compile(rb"[>/]" + re.escape(f"{name}.").encode())
    for definition in sorted((place.root / "etc/libvirt/secrets").glob("*.xml")):
        try:
            found = usage.search(definition.read_bytes())
        except FileNotFoundError:
            continue  # it went away while we looked
        if found:
            yield definition
            value = definition.with_suffix(".base64")
            if value.exists():
                yield value


def _remove(path: Path) -> bool:
    """Remove a by-product; links are removed and never followed."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return False
    return True
