"""The alert rules, by Prometheus' own tool: they can be loaded, name metrics that there are, and fire when they should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestrator.observe.dashboard import queries
from orchestrator.observe.metrics import DELIVERY_OUTCOMES
from orchestrator.ports.notifier import Delivery
from tests.unit.test_documented import metric_names

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "prometheus" / "alerts.yaml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]}
HOUR, DAY = 60, 24 * 60


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_promtool_loads_the_rules() -> None:
    found = promtool("check", "rules", str(RULES))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_of_metrics_that_there_are_and_says_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    named = set(re.findall(r"\b(?:orchestrator_\w+|up\b)", rule["expr"]))
    there = {metric.removesuffix("_total") for metric in metric_names()} | {"up"}  # Prometheus' own
    assert named
    assert {metric.removesuffix("_total") for metric in named} <= there
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert "orchestrator " in rule["annotations"]["description"]


@pytest.mark.parametrize("expr", [*(rule["expr"] for rule in ALERTS.values()), *(expr for _panel, expr in queries())])
def test_only_what_never_falls_is_asked_for_its_increase(expr: str) -> None:
    """The fall of anything else would be taken for a counter that began anew, and what is left of it for an increase."""
    grows = re.findall(r"\b(?:increase|rate|irate|resets)\(\s*([^\[]*)\[", expr)
    assert len(grows) == len(re.findall(r"\b(?:increase|i?rate|resets)\(", expr))
    assert [name for name in grows if not re.match(r"orchestrator_\w+_(total|bucket|count|sum)\b", name)] == []


def test_every_alert_is_documented() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| `([A-Z]\w+)` \|", page)) == set(ALERTS)


# alert, the series with a value a minute (promtool's own notation), and at which minute it fires or does not.
CASES = (
    ("BillingDoesNotTakeMessages", "orchestrator_outbox_oldest_age_seconds", "0+60x300", ((HOUR - 1, False), (HOUR + 10, True))),
    ("BillingDoesNotTakeMessages", "orchestrator_outbox_oldest_age_seconds", "0+60x55 0x300", ((HOUR + 10, False),)),
    ("MessagesAreDead", "orchestrator_outbox_dead_messages", "0x10 1x300", ((9, False), (12, True), (300, True))),
    ("MessagesAreDead", "orchestrator_outbox_dead_messages", "0x10 1x10 0x300", ((40, False),)),
    ("ControllerDown", 'up{instance="c:1",job="orchestrator"}', "1x5 0x300", ((5, False), (7, False), (12, True))),
    ("ControllerDown", 'up{instance="h:1",job="node"}', "0x300", ((12, False),)),
    ("ErasureIsDueSoon", 'orchestrator_erasure_due{when="soon"}', "0x5 1x300", ((20, False), (40, True))),
    ("ErasureIsOverdue", 'orchestrator_erasure_due{when="passed"}', "0x5 1x300", ((50, False), (70, True))),
    ("NodeDown", 'orchestrator_node_up{node="hv1",zone="z"}', "1x5 0x300", ((4, False), (8, False), (15, True))),
    ("LostNodeAnswers", 'orchestrator_node_up{node="hv1",zone="z"}', "0x5 1x300", ((4, False), (7, True))),
    (
        "LostNodeHasServices",
        'orchestrator_node_guests{node="hv1",zone="z"}',
        "2x90 0x300",
        ((30, False), (70, True), (95, False)),
    ),
    ("PoolIsFull", 'orchestrator_node_over_watermark{node="hv1",zone="z"}', "0x5 1x300", ((4, False), (8, False), (15, True))),
    ("ControllerLost", "orchestrator_controllers_lost", "0x5 1x60 0x300", ((4, False), (7, True), (70, False))),
    ("AddressesRunOut", 'orchestrator_addresses_used{family="ipv4",range="v4",zone="z"}', "80+1x10", ((4, False), (8, True))),
    ("JobsNeedAnOperator", 'orchestrator_jobs{playbook="p",state="needs_operator"}', "0x5 1x300", ((4, False), (7, True))),
    ("JobsWaitForNode", 'orchestrator_away_oldest_age_seconds{away="hv1"}', "0x5 60+60x20", ((15, False), (20, True))),
    ("JobsWaitForApproval", "orchestrator_approval_jobs", "0x5 1x300", ((10, False), (25, True))),
    ("DeadlinesAreLate", 'orchestrator_deadlines_late{action="suspend"}', "1x300", ((20, False), (40, True))),
    ("TerminationsWait", "orchestrator_terminations_wait", "1x300", ((50, False), (70, True))),
    ("FreezeStands", "orchestrator_frozen", "0x5 1x3000", ((DAY, False), (DAY + 10, True))),
    # The controller was down for 40 minutes.
    ("FreezeStands", "orchestrator_frozen", "1x700 stale _x40 1x2000", ((DAY - 1, False), (DAY + 1, True))),
    ("FreezeStands", "orchestrator_frozen", "1x700 0x1 1x2000", ((DAY + 10, False), (DAY + 800, True))),
    ("FreezeStands", "orchestrator_frozen", "1x2000 0x300", ((1990, True), (2010, False))),
    ("ClockJumped", 'orchestrator_terminations_wait_reason{reason="clock"}', "0x5 1x300", ((4, False), (7, True))),
    ("ClockJumped", 'orchestrator_terminations_wait_reason{reason="downtime"}', "1x300", ((7, False),)),
    ("NodesDrift", 'orchestrator_drift{kind="stray"}', "0x5 1x300", ((30, False), (40, True))),
    ("NodesDrift", 'orchestrator_drift{kind="foreign"}', "0x5 1x300", ((40, False),)),
    ("HeldServiceRuns", 'orchestrator_drift{kind="holds"}', "0x5 1x300", ((15, False), (25, True))),
    ("LooksDiffer", "orchestrator_looks_differing", "0x5 1x300", ((4, False), (7, True))),
    ("LooksDiffer", "orchestrator_looks_compared_timestamp_seconds", "0x3000", ((2879, False), (2882, True))),
    ("DeadLetters", "orchestrator_dead_letters", "0x5 1x300", ((4, False), (7, True))),
    ("BackupsAreMissed", "orchestrator_backups_behind_services", "0x10 2x300", ((20, False), (35, False), (60, True))),
    ("BackupsAreRefused", 'orchestrator_backups{state="refused"}', "3x10 4x300", ((9, False), (20, True))),
    ("BackupsAreRefused", 'orchestrator_backups{state="refused"}', "3x2000 2x300", ((20, False), (2010, False), (2290, False))),
    ("BackupsAreRefused", 'orchestrator_backups{state="refused"}', "3x10 2x10 3x3000", ((15, False), (30, True), (2000, False))),
    ("BackupsArePartial", 'orchestrator_backups{state="partial"}', "0x10 1x3000", ((9, False), (20, True), (2000, False))),
    ("BackupsArePartial", 'orchestrator_backups{state="partial"}', "3x2000 2x300", ((20, False), (2010, False), (2290, False))),
    ("BackupsArePartial", 'orchestrator_backups{state="partial"}', "3x10 2x10 3x3000", ((15, False), (30, True), (2000, False))),
    ("StateIsNotBackedUp", "orchestrator_state_backup_verified_timestamp_seconds", "0x4000", ((2890, False), (3002, True))),
    ("StateIsNotBackedUp", "orchestrator_state_backup_verified_timestamp_seconds", "0+60x4000", ((3900, False),)),
    ("StateIsNotBackedUp", "orchestrator_state_backup_verified_timestamp_seconds", "_x4000", ((100, False), (130, True))),
    ("BackupsFail", 'orchestrator_backups{state="failed"}', "2x10 3x3000", ((9, False), (20, True), (2000, False))),
    ("BackupsFail", 'orchestrator_backups{state="failed"}', "3x2000 2x300", ((20, False), (2010, False), (2290, False))),
    ("BackupsFail", 'orchestrator_backups{state="failed"}', "3x10 2x10 3x3000", ((15, False), (30, True), (2000, False))),
    ("RestoreDrillsFail", "orchestrator_drills_failing", "0x10 1x1440 0x300", ((9, False), (1440, True), (1460, False))),
    ("RestoreDrillsFail", "orchestrator_drills_failing", "2x10 1x10 0x300", ((15, True), (25, False), (300, False))),
    ("ServicesAreUndeclared", "orchestrator_undeclared_services", "0x5 2x300", ((9, False), (15, True))),
    ("BmcDown", 'orchestrator_machine_up{machine="m1",zone="z"}', "1x5 0x300", ((15, False), (25, True))),
    ("MachineIsUnwell", 'orchestrator_machine_health{machine="m1",zone="z"}', "1x5 2x300", ((8, False), (15, True))),
    ("MachineIsSwitchedOn", "orchestrator_machines_kept_off", "0x5 1x300", ((4, False), (7, True))),
    ("MachinesAreBroken", 'orchestrator_machines{class="c",state="broken",zone="z"}', "0x5 1x300", ((4, False), (7, True))),
    ("RepositoriesAreDamaged", "orchestrator_repositories_damaged", "0x5 1x300", ((4, False), (7, True))),
)
# What else the rule asks for.
BESIDE = {
    "StateIsNotBackedUp": {"orchestrator_state_backup_interval_seconds": "86400x4000"},
    "NodeDown": {
        'orchestrator_node_enrolled{node="hv1",zone="z"}': "1x300",
        'orchestrator_node_lost{node="hv1",zone="z"}': "0x300",
    },
    "LostNodeAnswers": {'orchestrator_node_lost{node="hv1",zone="z"}': "1x300"},
    "LostNodeHasServices": {'orchestrator_node_lost{node="hv1",zone="z"}': "1x300"},
    "AddressesRunOut": {
        'orchestrator_addresses{family="ipv4",range="v4",zone="z"}': "100x300",
        'orchestrator_addresses_cooling{family="ipv4",range="v4",zone="z"}': "5x300",
    },
}


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_seen_to_fire_and_not_to(name: str) -> None:
    assert {fires for alert, *_, moments in CASES if alert == name for _at, fires in moments} == {True, False}


@pytest.mark.parametrize(("alert", "series", "values", "moments"), CASES)
def test_an_alert_fires_when_it_should_and_not_before(
    tmp_path: Path, alert: str, series: str, values: str, moments: tuple[tuple[int, bool], ...]
) -> None:
    rule = ALERTS[alert]
    labels = dict(re.findall(r'(\w+)="([\w:]+)"', series)) if not re.search(r"\b(sum|count)\(", rule["expr"]) else {}
    told = {
        name: re.sub(r"\{\{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        for name, text in rule["annotations"].items()
    }
    fired = {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": told}
    cases = [{"eval_time": f"{at}m", "alertname": alert, "exp_alerts": [fired] if fires else []} for at, fires in moments]
    given = [{"series": series, "values": values}]
    given += [{"series": other, "values": what} for other, what in BESIDE.get(alert, {}).items()]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": cases}],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test), encoding="utf-8")
    found = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert found.returncode == 0, found.stdout + found.stderr


def test_deliveries_are_counted_under_the_words_that_the_port_gives() -> None:
    assert tuple(Delivery(status=status).outcome for status in (204, 410, 0)) == DELIVERY_OUTCOMES
