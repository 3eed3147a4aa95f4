"""Several processes draw addresses from one file at once: two creates in one second must never get one address."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

from orchestrator.domain.addresses import size
from orchestrator.domain.errors import NoCapacity
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.store.address_pool import StoreAddressPool
from orchestrator.store.database import Database
from tests.contract.address_pool import address_range

RANGES = (
    address_range("r4", "10.9.0.0/25", "10.9.0.0", "10.9.0.127"),
    address_range("r6", "2001:db8::/121", "2001:db8::", "2001:db8::7f"),
)
PROCESSES = 3
THREADS = 4
EACH = 7

# Every process takes, gives back every third lease, and prints what it holds; it starts when its input closes.
CHILD = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from tests.integration.test_store_allocation_race import EACH, THREADS, take
database, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.read()
with ThreadPoolExecutor(THREADS) as pool:
    jobs = [pool.submit(take, database, f"{name}-{t}") for t in range(THREADS)]
    print(json.dumps([held for job in jobs for held in job.result()]))
"""


def open_pool(db: Database) -> StoreAddressPool:
    return StoreAddressPool(db, RANGES, FakeClock(), timedelta(0))


def take(database: str, name: str) -> list[list[str]]:
    """Addresses and MAC of each lease that is kept. Without a cool-down, what another gave back is taken at once."""
    db = Database(database)
    pool = open_pool(db)
    kept = []
    for number in range(EACH):
        service_id = f"{name}-{number}"
        try:
            lease = pool.allocate(service_id=service_id, job_id="j", zone="z1", ipv4=1, ipv6=1)
        except NoCapacity:
            continue
        if number % 3 == 2:
            pool.release(service_id=service_id, proof="absent from n1")
        else:
            kept.append([str(lease.ipv4[0].ip), str(lease.ipv6[0].ip), lease.mac])
    db.close()
    return kept


def test_no_two_services_of_any_process_hold_one_address_or_mac(db: Database) -> None:
    url = db.url.render_as_string(hide_password=False)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, url, f"p{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for n in range(PROCESSES)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    held: list[list[str]] = []
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    for child in children:
        assert child.stdout is not None
        held += json.loads(child.stdout.read())
        child.stdout.close()
        assert child.wait(60) == 0
    assert len(held) == PROCESSES * THREADS * (EACH - EACH // 3)
    for position in range(3):
        assert len({lease[position] for lease in held}) == len(held)
    usage = open_pool(db).usage()
    assert [entry.leased for entry in usage] == [len(held), len(held)]


def test_the_last_address_goes_to_exactly_one(db: Database) -> None:
    pool = open_pool(db)
    for number in range(size(RANGES[0])):
        last = pool.allocate(service_id=f"s{number}", job_id="j", zone="z1", ipv4=1, ipv6=0)
    assert last.ipv4[0].ip == IPv4Address("10.9.0.126")
    assert pool.usage()[0].leased == size(RANGES[0]) == 125
