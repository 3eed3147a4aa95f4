"""A storage pool as libvirt knows it, and bringing that knowledge up to date."""

from __future__ import annotations

from typing import Any

import libvirt

from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.libvirt.connection import Budget, Session
from orchestrator.drivers.libvirt.errors import code_of, translate

POLL_SECONDS = 0.2


def open_pool(session: Session, name: str) -> Any:
    """The active pool; raises TransientDriverError where it is defined and not active, libvirtError where it is not defined."""
    pool = session.conn.storagePoolLookupByName(name)
    if not pool.isActive():
        raise TransientDriverError(f"the storage pool {name} is not active", hint=f"virsh pool-start {name}")
    return pool


def refresh_now(pool: Any) -> bool:
    """Have libvirt read the pool anew; False where it refuses because a volume is being made just now."""
    try:
        pool.refresh()
    except libvirt.libvirtError as error:
        if isinstance(translate(error, "refreshing the storage pool"), TransientDriverError) and pool.connect().isAlive():
            return False
        raise
    return True


def refresh(session: Session, pool: Any, budget: Budget) -> None:
    """Have libvirt read the pool anew, as soon as no volume is being made; raises TransientDriverError at the deadline."""
    while not refresh_now(pool):
        if budget.remaining <= POLL_SECONDS:
            raise TransientDriverError("the storage pool could not be read anew: volumes are being made on it all the time")
        budget.sleep(POLL_SECONDS)
        session.conn.isAlive()  # ends here once nobody waits for the call any more


def find_volume(pool: Any, name: str) -> Any:
    """The volume, or None where libvirt knows none of that name; a file that came since the last refresh it does not know."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if code_of(error) == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return None
        raise


def find_surely(session: Session, pool: Any, name: str, budget: Budget) -> Any:
    """The volume, or None only where the pool was read anew and has no such volume."""
    found = find_volume(pool, name)
    if found is None:
        refresh(session, pool, budget)
        found = find_volume(pool, name)
    return found
