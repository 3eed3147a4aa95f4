"""A real Prometheus scrapes a controller by the shipped configuration; alerts and dashboard find what they ask for."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.observe import dashboard
from tests.integration.api.test_charges import charged
from tests.integration.api.test_machines import FILES, free
from tests.lab.daemons import wait_until
from tests.live import Live
from tests.prometheus import SHIPPED, Prometheus, configured, scraping
from tests.unit.test_alerts import ALERTS
from tests.unit.test_documented import metric_names

QUERIES = tuple(dashboard.queries())
SECONDS = 60.0


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A controller that has one of everything: services with holds and charges, backups, a machine, a copy of its own state."""
    directory = tmp_path_factory.mktemp("busy")
    (directory / "kept").mkdir()
    key = directory / "state-key"
    key.touch(mode=0o600)
    key.write_text("a key that the operator keeps in a safe", encoding="ascii")
    targets = f"[{{name: main, location: /srv/backup}}, {{name: own, location: {directory / 'kept'}}}]"
    backups = f"{{targets: {targets}, drills: 0, state: {{target: own, key_file: state-key, on_own_machine: true}}}}"
    live = Live(directory, files=FILES, backups=backups)
    live.start()
    try:
        live.provisioned("s1")
        charged(live, "s1")
        live.wait(live.http.post("/v1/services/s1/backup", json={"reason": "a try"}).json()["job_id"])
        live.wait(live.http.post("/v1/services/s1/suspend", json={"reason": "a try"}).json()["job_id"])
        free(live)
        copied = "orchestrator_state_backup_verified_timestamp_seconds "
        wait_until("a copy of the state", lambda: f"\n{copied}" in live.http.get("/metrics").text, seconds=SECONDS)
        yield live
    finally:
        live.stop()


@pytest.fixture(scope="module")
def prometheus(busy: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen the controller work: a rate wants two scrapes with something between them."""
    config = configured(
        tmp_path_factory.mktemp("prometheus"), targets=busy.url.removeprefix("http://"), token=busy.tokens["readonly"]
    )
    with scraping(config) as running:
        wait_until("the first scrape", lambda: bool(running.ask("orchestrator_webhooks_total")), seconds=SECONDS)
        busy.provisioned("s2")
        steps = "sum(increase(orchestrator_step_duration_seconds_count[1m])) > 0"
        wait_until("a scrape of what was done since", lambda: bool(running.ask(steps)), seconds=SECONDS)
        yield running


def test_promtool_takes_the_shipped_configuration_and_its_rules(tmp_path: Path) -> None:
    config = configured(tmp_path, targets="controller.example.com:8443", token="x" * 43)
    found = subprocess.run(["promtool", "check", "config", str(config)], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(ALERTS)} rules found" in found.stdout


def test_prometheus_scrapes_the_controller_with_a_token_that_only_reads(prometheus: Prometheus) -> None:
    jobs = {"orchestrator", "orchestrator-services"}
    wait_until("both jobs", lambda: {labels["job"] for labels, up in prometheus.ask("up") if up == 1} == jobs, seconds=SECONDS)
    assert [target["lastError"] for target in prometheus.get("targets")["activeTargets"]] == ["", ""]
    assert prometheus.ask('orchestrator_service_info{service="s1"}')[0][0]["node"] == "n1"


def test_prometheus_knows_every_metric_with_its_type_and_help(prometheus: Prometheus) -> None:
    known = prometheus.get("metadata")
    assert [name for name in metric_names() if not any(entry["help"] for entry in known.get(name, ()))] == []


def test_prometheus_evaluates_every_alert_and_finds_the_controller_well(prometheus: Prometheus) -> None:
    def rules() -> dict[str, dict[str, str]]:
        return {rule["name"]: rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]}

    wait_until("every rule", lambda: all(rule["health"] != "unknown" for rule in rules().values()), seconds=SECONDS)
    assert set(rules()) == set(ALERTS)
    assert {name: rule["lastError"] for name, rule in rules().items() if rule["health"] != "ok"} == {}
    assert [name for name, rule in rules().items() if rule["state"] == "firing"] == []


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=[re.sub(r"\W+", "-", title) for title, _query in QUERIES])
def test_every_query_of_the_dashboard_has_data(prometheus: Prometheus, panel: str, query: str) -> None:
    found = prometheus.ask(query.replace("$__rate_interval", "1m"))
    assert any(math.isfinite(value) for _labels, value in found), (panel, query, found)


def test_a_query_of_the_dashboard_makes_up_no_data() -> None:
    """What gives a number also where its metric is gone would pass the test above."""
    assert [query for _panel, query in QUERIES if re.search(r"\b(vector|absent|scalar)\b", query)] == []
    assert {name for _panel, query in QUERIES for name in re.findall(r"orchestrator_\w+", query)} <= {
        series for name in metric_names() for series in (name, f"{name}_bucket")
    }


def test_the_dashboard_that_is_shipped_is_the_one_of_the_table() -> None:
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), "run python -m orchestrator.observe.dashboard"
    panels = json.loads(dashboard.text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for at in (panel["gridPos"],)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _y in cells) < 24


def test_a_scrape_with_a_token_that_is_not_known_is_down_and_alerts(busy: Live, tmp_path: Path) -> None:
    config = configured(tmp_path, targets=busy.url.removeprefix("http://"), token="x" * 43)
    with scraping(config) as running:
        pending = 'ALERTS{alertname="ControllerDown",alertstate="pending"}'
        wait_until("the alert", lambda: bool(running.ask(pending)), seconds=SECONDS)
        (first, *_) = running.get("targets")["activeTargets"]
        assert "401" in first["lastError"]


def test_every_file_that_is_shipped_for_prometheus_is_named_here() -> None:
    assert {path.name for path in SHIPPED.iterdir()} == {"alerts.yaml", "prometheus.yaml"}
