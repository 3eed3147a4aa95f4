"""What grows with the house: choosing among a thousand nodes, and a scrape over ten thousand services."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx

from orchestrator.domain.placement import NodeState, Wanted, place
from orchestrator.domain.plans import Node
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.observe.metrics import Metrics
from orchestrator.store import services
from tests.benchmarks.book import Row, cpu, seconds, write
from tests.live import Live

NODES, SERVICES, ROUNDS = 1000, 10_000, 7
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOLD = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="billing", why="overdue", since=NOW)


def _nodes() -> list[NodeState]:
    """A thousand nodes, each full to another degree."""
    return [
        NodeState(
            node=Node(name=f"n{number:04}", zone="z1", address=f"10.0.{number // 256}.{number % 256}"),
            enrolled=True,
            up=number % 50 != 0,
            cpus=64,
            memory_bytes=512 << 30,
            disk_bytes=8 << 40,
            promised_vcpus=number % 256,
            promised_memory_bytes=(number * 7919 % 512) << 30,
            promised_disk_bytes=(number * 104729 % 8192) << 30,
            guests=number % 256,
            seen_at=NOW,
        )
        for number in range(NODES)
    ]


def test_scale(tmp_path: Path) -> None:
    nodes, wanted = _nodes(), Wanted(vcpus=2, memory_bytes=4 << 30, disk_bytes=40 << 30)
    chosen = place(wanted, nodes)
    assert len(chosen.verdicts) == NODES
    placing = median(cpu(lambda: place(wanted, nodes)) for _ in range(ROUNDS))
    smallest = median(cpu(lambda: max(nodes, key=_free)) for _ in range(ROUNDS))

    live = Live(tmp_path)
    metrics: Metrics = live.controller.metrics
    with live.db.write() as conn:
        for number in range(SERVICES):
            services.put(conn, _service(number), now=NOW)
    try:
        assert f'orchestrator_services{{plan="small",state="active"}} {SERVICES:.1f}' in metrics.render().decode()
        assert metrics.render_services().count(b"orchestrator_service_info{") == SERVICES
        scrape = median(cpu(metrics.render) for _ in range(ROUNDS))
        each = median(cpu(metrics.render_services) for _ in range(3))
        # Without its beats: the first look at ten thousand new records would be counted with the answers.
        page, large = (median(_listing(live, most) for _ in range(ROUNDS)) for most in (50, 500))
        whole = median(_listing(live, 500, pages=SERVICES // 500) for _ in range(3))
    finally:
        live.stop()
    write(
        "Scale",
        "Seconds of CPU. Placement gives a verdict with its reason for every node; bare: the largest free memory of the "
        "same list.",
        [
            Row(f"placing a guest among {NODES:,} nodes", seconds(placing), seconds(smallest), f"{placing / smallest:.0f} ×"),
            Row(f"`/metrics` with {SERVICES:,} services", seconds(scrape)),
            Row(f"`/metrics/services` with {SERVICES:,} services", seconds(each)),
            Row(f"`service list` with {SERVICES:,} services", seconds(page)),
            Row("the same, a page of 500", seconds(large)),
            Row("the same, all of them in pages of 500", seconds(whole)),
        ],
    )


def _listing(live: Live, most: int, *, pages: int = 1) -> float:
    """Seconds of CPU for so many pages of the list, as the command fetches them; the client's share is counted too."""

    async def fetch() -> None:
        headers, after = {"authorization": f"Bearer {live.tokens['readonly']}"}, ""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(live.app), base_url="http://here", headers=headers) as http:
            for _ in range(pages):
                page = (await http.get("/v1/services", params={"limit": most} | ({"after": after} if after else {}))).json()
                assert len(page["items"]) == most
                after = page["next"]

    return cpu(lambda: asyncio.run(fetch()))


def _free(state: NodeState) -> int:
    return (state.memory_bytes or 0) - state.promised_memory_bytes


def _service(number: int) -> Service:
    service = Service(id=f"s{number:05}", client_id=f"c{number % 700}", plan="small", state=Lifecycle.ACTIVE, paid_until=NOW)
    return replace(service, holds=(HOLD,)) if number % 20 == 0 else service
