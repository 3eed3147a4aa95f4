"""Installing real guests anew: nothing of the old disk is left, on the raw device below the pool either, and the guest answers at
the same addresses from a disk that is as its template."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.e2e import sight
from tests.e2e.stand import PLAIN, RUNNING, SEALED, Stand
from tests.e2e.traces import virsh
from tests.lab import tiny
from tests.lab.guests import occurrences

pytestmark = pytest.mark.timeout(900)
OFFSET, COPIES = 70 << 20, 64


def show(stand: Stand, service: str) -> dict[str, Any]:
    return dict(stand.site.http("GET", f"/v1/services/{service}").json())


@pytest.mark.parametrize("plan", [pytest.param(SEALED, marks=pytest.mark.rare), PLAIN])
def test_installed_anew_a_guest_has_the_same_addresses_and_nothing_of_its_old_disk_is_left(stand: Stand, plan: str) -> None:
    (service,) = stand.take(RUNNING, 1, plan=plan)
    address, mark = sight.address(stand.site, service), secrets.token_bytes(32)
    tiny.plant(address, OFFSET, mark, copies=COPIES)
    assert tiny.show(address, OFFSET, 64) == mark * 2
    uuid, boots = virsh("domuuid", sight.guest(service)).stdout, sight.boots(service)
    before, old = show(stand, service)["facts"], sight.disk(stand.site, service)
    if plan == PLAIN:
        assert occurrences(stand.site.lab.pool_device, mark)[mark] >= COPIES, "the search finds what it is to find"
    stand.done([stand.command("reinstall", service)])
    stand.answering([service])
    assert tiny.show(address, OFFSET, 64) == bytes(64)
    assert (sight.boots(service), virsh("domuuid", sight.guest(service)).stdout) == (boots + 1, uuid)
    after = show(stand, service)["facts"]
    assert (after["addresses"], sight.disk(stand.site, service) != old, old.exists()) == (before["addresses"], True, False)
    assert len(sight.secrets(service)) == (plan == SEALED)
    assert occurrences(stand.site.lab.pool_device, mark)[mark] == 0
    (wiped, *_rest) = after["wipe"]["wiped"]
    assert (wiped["name"], wiped["report"]["method"]) == (old.name, "crypto-erase" if plan == SEALED else "overwrite")
    stand.done([stand.command("check", service)])
    stand.done([stand.command("terminate", service)])
    assert (sight.left(stand.site, service), sight.files(stand.site, service)) == ({}, [])
