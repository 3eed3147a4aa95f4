"""A tiny guest through the whole product, against the bare calls for the same guest; and its end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.book import pairs, timed, write
from tests.e2e.billing import Billing
from tests.e2e.site import SECRET, PlanLine, Site
from tests.lab import guests
from tests.lab.environment import Lab
from tests.lab.templates import Installed

ROUNDS = 2
MEMORY_MIB, DISK = 256, "256 MiB"
PLANS = (
    PlanLine(name="encrypted", template="tiny", memory=f"{MEMORY_MIB} MiB", disk=DISK, disk_iops=0),
    PlanLine(name="plain", template="tiny", memory=f"{MEMORY_MIB} MiB", disk=DISK, disk_iops=0, encrypted=False),
)


@pytest.fixture
def site(lab: Lab, tiny_template: Installed, tmp_path: Path) -> Iterator[Site]:
    with Billing(SECRET) as billing:
        made = Site(lab=lab, directory=tmp_path, templates=(tiny_template,), plans=PLANS, billing=billing)
        made.prepare()
        made.start()
        try:
            made.enrol()
            made.wait_for_node()
            yield made
        finally:
            made.kill()


def _ran(site: Site, job_id: str) -> float:
    """Seconds from the job's creation to its end."""
    job: dict[str, Any] = site.wait_for_job(job_id)
    assert job["state"] == "done", job
    created, finished = (datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
    return (finished - created).total_seconds()


def test_a_guest_from_the_order_to_its_end(site: Site, lab: Lab, tiny_template: Installed) -> None:
    numbers = count(1)
    ends: dict[str, list[float]] = {"encrypted": [], "plain": [], "bare": []}

    def product(plan: str) -> float:
        service = f"b-{next(numbers)}"
        made = _ran(site, site.send("order.paid", service, client_id="c1", plan=plan).json()["job_id"])
        ended = site.send("service.terminate", service, version=1, reason="cancelled").json()["job_id"]
        ends[plan].append(_ran(site, ended))
        return made

    def bare() -> float:
        name = f"bare-{next(numbers)}"
        made: list[guests.Guest] = []
        addresses = (f"10.77.0.{200 + next(numbers) % 40}/24",)
        taken = timed(lambda: made.append(guests.start(lab, tiny_template, name, addresses=addresses, memory_mib=MEMORY_MIB)))
        ends["bare"].append(timed(lambda: guests.remove(made[0])))
        return taken

    encrypted = pairs(lambda: product("encrypted"), bare, rounds=ROUNDS)
    plain = pairs(lambda: product("plain"), bare, rounds=ROUNDS)
    turns = {name: iter(taken) for name, taken in ends.items()}
    end_encrypted = pairs(lambda: next(turns["encrypted"]), lambda: next(turns["bare"]), rounds=ROUNDS)
    end_plain = pairs(lambda: next(turns["plain"]), lambda: next(turns["bare"]), rounds=ROUNDS)
    write(
        "A guest",
        "A tiny guest (Debian's kernel, a busybox initramfs, an overlay of 256 MiB). Ours: from the accepted event until "
        "the job is done: placed, addressed, limited, filtered, seen up, read back. Bare: `qemu-img create`, a seed, "
        "`virsh define` and `start`, until its port 22 answers; at the end `virsh destroy`, `undefine` and removing the "
        "files, where ours asks it to shut down, wipes, proves and certifies.",
        [
            encrypted.row("made, disk encrypted (the default)"),
            plain.row("made, disk plain"),
            end_encrypted.row("terminated, disk encrypted"),
            end_plain.row("terminated, disk plain"),
        ],
    )
