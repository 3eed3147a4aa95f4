"""The dashboard for Grafana, out of one table; ``python -m orchestrator.observe.dashboard`` writes it to configs/grafana/.

A panel is a title, a unit and its queries. A test puts each query to a Prometheus that scrapes a controller: each has data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.shipped import SAMPLES

FILE = SAMPLES / "grafana" / "orchestrator.json"
# 10.0 and newer read this shape.
SCHEMA_VERSION = 38
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_GOOD, _BAD = "green", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """``legend``: Grafana's own notation, ``{{label}}``."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``unit`` is one of Grafana's ids. ``alarm``: from this value on a number is red; None = it is a curve."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    alarm: float | None = None


def _number(title: str, expr: str, *, alarm: float = 1, unit: str = "short") -> Panel:
    return Panel(title=title, queries=(Query(expr),), alarm=alarm, unit=unit)


def _curve(title: str, *queries: Query, unit: str = "short") -> Panel:
    return Panel(title=title, queries=queries, unit=unit)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "What waits for somebody",
        (
            _number("Controllers that do not answer", 'count(up{job="orchestrator"}) - sum(up{job="orchestrator"})'),
            _number("Frozen", "max(orchestrator_frozen)"),
            _number("Terminations wait", "max(orchestrator_terminations_wait)"),
            _number("Jobs to approve", "max(orchestrator_approval_jobs)"),
            _number("Dead letters", "max(orchestrator_dead_letters)"),
            _number("Dead messages", "max(orchestrator_outbox_dead_messages)"),
            _number("Deadlines late", "sum(max by (action) (orchestrator_deadlines_late))"),
            _number("Erasures overdue", 'max(orchestrator_erasure_due{when="passed"})'),
        ),
    ),
    (
        "Jobs and billing",
        (
            _curve("Jobs by state", Query("sum by (state) (orchestrator_jobs)", "{{state}}")),
            _curve("Oldest job in the queue", Query("max(orchestrator_queue_oldest_age_seconds)", "age"), unit="s"),
            _curve(
                "Webhooks",
                Query("sum by (source, outcome) (rate(orchestrator_webhooks_total[$__rate_interval]))", "{{source}} {{outcome}}"),
                unit="reqps",
            ),
            _curve(
                "Messages to billing",
                Query("sum by (outcome) (rate(orchestrator_deliveries_total[$__rate_interval]))", "{{outcome}}"),
                unit="reqps",
            ),
            _curve(
                "Oldest message that billing has not taken", Query("max(orchestrator_outbox_oldest_age_seconds)", "age"), unit="s"
            ),
            _curve(
                "Nine of ten steps take less than",
                Query(
                    "histogram_quantile(0.9, sum by (le, step) "
                    "(rate(orchestrator_step_duration_seconds_bucket[$__rate_interval])))",
                    "{{step}}",
                ),
                unit="s",
            ),
        ),
    ),
    (
        "Services",
        (
            _curve("Services by state", Query("sum by (state) (orchestrator_services)", "{{state}}")),
            _curve("Services by plan", Query("sum by (plan) (orchestrator_services)", "{{plan}}")),
            _curve("Holds", Query("sum by (reason, effect) (orchestrator_holds)", "{{reason}} ({{effect}})")),
            _curve("Charges that stand", Query("sum by (kind) (orchestrator_charges_rupiah)", "{{kind}}"), unit="currencyIDR"),
        ),
    ),
    (
        "Nodes, machines and addresses",
        (
            _curve("Nodes that answer", Query("orchestrator_node_up and orchestrator_node_enrolled == 1", "{{node}}")),
            _curve(
                "Memory promised",
                Query("orchestrator_node_promised_memory_bytes / orchestrator_node_capacity_memory_bytes", "{{node}}"),
                unit="percentunit",
            ),
            _curve(
                "Disk promised",
                Query("orchestrator_node_promised_disk_bytes / orchestrator_node_capacity_disk_bytes", "{{node}}"),
                unit="percentunit",
            ),
            _curve("Processors promised", Query("orchestrator_node_promised_cpus / orchestrator_node_capacity_cpus", "{{node}}")),
            _curve(
                "Addresses that are free",
                Query("orchestrator_addresses - orchestrator_addresses_used - orchestrator_addresses_cooling", "{{range}}"),
            ),
            _curve("Machines", Query("sum by (class, state) (orchestrator_machines)", "{{class}} {{state}}")),
            _curve("Health of machines (0 well, 2 critical)", Query("orchestrator_machine_health", "{{machine}}")),
            _curve("Hottest", Query("orchestrator_machine_hottest_celsius", "{{machine}}"), unit="celsius"),
        ),
    ),
    (
        "Backups",
        (
            _curve("Backups by state", Query("sum by (state) (orchestrator_backups)", "{{state}}")),
            _number("Services behind", "max(orchestrator_backups_behind_services)"),
            _number("Repositories damaged", "max(orchestrator_repositories_damaged)"),
            _curve("Restores", Query("sum by (state) (orchestrator_restores)", "{{state}}")),
            _curve("Restore drills", Query("sum by (state) (orchestrator_drills)", "{{state}}")),
            _number(
                "Last copy of the controller's own state",
                "time() - max(orchestrator_state_backup_verified_timestamp_seconds)",
                unit="s",
                alarm=2 * 86400,
            ),
        ),
    ),
)


def queries() -> Iterator[tuple[str, str]]:
    """The title of its panel and each query."""
    for _name, panels in ROWS:
        for panel in panels:
            for query in panel.queries:
                yield panel.title, query.expr


def dashboard() -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "title": "Orchestrator",
        "uid": "orchestrator",
        "tags": ["orchestrator"],
        "schemaVersion": SCHEMA_VERSION,
        "timezone": "utc",
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]},
        "panels": list(_panels()),
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Rows, and their panels from left to right: numbers are narrow, curves a third of the page."""
    number, top = 0, 0
    for name, panels in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": name, "collapsed": False, "gridPos": _place(0, top, _COLUMNS, 1)}
        top, left, height = top + 1, 0, 0
        for panel in panels:
            width, high = (8, 8) if panel.alarm is None else (3, 4)
            if left + width > _COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            yield {"id": number, "gridPos": _place(left, top, width, high), **_panel(panel)}
            left, height = left + width, max(height, high)
        top += height


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    shown: dict[str, Any] = {"unit": panel.unit}
    if panel.alarm is not None:
        steps = [{"color": _GOOD, "value": None}, {"color": _BAD, "value": panel.alarm}]
        shown |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "type": "timeseries" if panel.alarm is None else "stat",
        "title": panel.title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": shown, "overrides": []},
        "targets": [
            {"refId": "ABC"[at], "datasource": _SOURCE, "expr": query.expr, "legendFormat": query.legend or "__auto"}
            for at, query in enumerate(panel.queries)
        ],
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
