"""What is told of a service's node and of whether its guest runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.api.service_schemas import Whereabouts
from orchestrator.cli.remote.service import _CARD
from orchestrator.domain.lost_nodes import Lost
from orchestrator.domain.traffic import GuestTraffic
from orchestrator.store.nodes import NodeRecord

NOW = datetime(2026, 11, 28, 15, 0, tzinfo=UTC)
SEEN = NOW - timedelta(seconds=20)
UP = NodeRecord(name="n1", enrolled_at=SEEN, up=True, seen_at=SEEN)
DOWN = NodeRecord(name="n1", enrolled_at=SEEN, seen_at=SEEN, problem="node n1 does not answer")
LOST = Lost(at=SEEN, by="unix:anna", why="fire", statement="lost-n1")
SHOWS = dict(_CARD)


def counted(ago: timedelta, node: str = "n1") -> GuestTraffic:
    return GuestTraffic(service_id="s1", node=node, at=NOW - ago, run="r1", age_seconds=9.0, in_bytes=1, out_bytes=1)


@pytest.mark.parametrize(
    ("node", "seen", "runs", "words"),
    [
        (UP, counted(timedelta(minutes=1)), True, "yes, seen 2026-11-28 14:59:00Z"),
        (UP, counted(timedelta(minutes=5)), False, "NO, seen last 2026-11-28 14:55:00Z"),
        (DOWN, counted(timedelta(minutes=5)), None, "not known; seen last 2026-11-28 14:55:00Z"),
        (UP, counted(timedelta(minutes=1), node="n2"), None, ""),
        (UP, None, None, ""),
        (None, counted(timedelta(minutes=1)), None, ""),
    ],
    ids=["runs", "off", "node-down", "on-its-node-of-before", "never-read", "no-node"],
)
def test_a_guest_runs_where_its_node_was_just_seen_to_run_it(
    node: NodeRecord | None, seen: GuestTraffic | None, runs: bool | None, words: str
) -> None:
    found = Whereabouts.of(node, seen, now=NOW)
    assert found.runs is runs
    shown = SHOWS["guest runs"]
    assert callable(shown)
    row = {"state": "active", "where": found.model_dump(mode="json")}
    assert shown(row) == words
    assert shown(row | {"state": "erased"}) == ""


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (UP, ""),
        (NodeRecord(name="n1"), ""),
        (DOWN, "down, seen last 2026-11-28T14:59:40Z: node n1 does not answer"),
        (NodeRecord(name="n1", enrolled_at=SEEN, lost=LOST), "lost since 2026-11-28T14:59:40Z by unix:anna (fire)"),
        (
            NodeRecord(name="n1", enrolled_at=SEEN, up=True, lost=LOST),
            "lost since 2026-11-28T14:59:40Z by unix:anna (fire), and answers all the same",
        ),
    ],
    ids=["up", "never-enrolled", "down", "lost", "lost-and-back"],
)
def test_what_is_wrong_with_a_node_is_a_sentence(node: NodeRecord, words: str) -> None:
    assert node.trouble == words
    shown = SHOWS["node"]
    assert callable(shown)
    where = Whereabouts.of(node, None, now=NOW).model_dump(mode="json")
    assert shown({"node": "n1", "where": where}) == (f"n1, which is {words}" if words else "n1")
