"""The metrics: what they say, and that Prometheus' own tool finds nothing to complain about."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.observe.metrics import Metrics
from orchestrator.observe.snapshot import (
    AwayCount,
    BackupGauges,
    BackupsCount,
    HoldsCount,
    JobsCount,
    LateCount,
    MachineGauges,
    MachinesCount,
    NodeGauges,
    RangeGauges,
    ServiceGauges,
    ServicesCount,
    Snapshot,
)

FULL = Snapshot(
    jobs=(JobsCount(playbook="vps-provision", state="done", count=3), JobsCount(playbook="vps-suspend", state="queued", count=1)),
    queue_depth=1,
    queue_oldest_seconds=12.5,
    waiting_approval=2,
    away=(AwayCount(away="hv2", count=3, oldest_seconds=90.0),),
    nodes=(
        NodeGauges(
            name="hv1",
            zone="jkt1",
            enrolled=True,
            up=True,
            guests=4,
            cpus=16,
            memory_bytes=1 << 19,
            disk_bytes=1 << 40,
            promised_vcpus=9,
            promised_memory_bytes=1 << 33,
            promised_disk_bytes=1 << 38,
        ),
        NodeGauges(
            name="hv2",
            zone="jkt1",
            enrolled=False,
            up=False,
            guests=0,
            cpus=None,
            memory_bytes=None,
            disk_bytes=None,
            promised_vcpus=0,
            promised_memory_bytes=0,
            promised_disk_bytes=0,
        ),
    ),
    services=(ServicesCount(plan="vps-1", state="active", count=4),),
    holds=(HoldsCount(reason="nonpayment", effect="stop", count=1),),
    ranges=(RangeGauges(name="v4", zone="jkt1", family=4, size=241, used=4, cooling=1),),
    outbox_depth=5,
    dead_letters=6,
    outbox_oldest_seconds=61.0,
    outbox_dead=7,
    frozen=True,
    terminations_wait=True,
    late=(LateCount(action="suspend", count=3), LateCount(action="terminate", count=0)),
    backups=(BackupsCount(state="verified", count=8),),
    drills_failing=3,
    repositories_damaged=2,
    machine_counts=(
        MachinesCount(machine_class="small-1", zone="jkt1", state="available", count=2),
        MachinesCount(machine_class="small-1", zone="jkt1", state="broken", count=0),
    ),
    machines=(
        MachineGauges(name="m1", zone="jkt1", up=True, on=True, health=1, hottest_celsius=41.5, unwell_sensors=1),
        MachineGauges(name="m2", zone="jkt1", up=False, on=None, health=None, hottest_celsius=None, unwell_sensors=0),
    ),
    machines_kept_off=3,
    controllers=2,
    controllers_lost=1,
    undeclared_services=2,
)
SERVICES = (
    ServiceGauges(
        id="s1",
        plan="vps-1",
        state="active",
        node="hv1",
        holds=("abuse",),
        paid_until=1.5e9,
        backup=BackupGauges(
            made_at=1.4e9,
            verified_at=1.4e9 + 60,
            seconds=75.0,
            size_bytes=4096,
            inodes=3,
            read_bytes=512,
            stored_bytes=128,
        ),
        backups_missed=0,
        restores_left=1,
    ),
    ServiceGauges(id="s2", plan='v"\\\n', state="ordered", node="", holds=(), paid_until=None, left_out="it is ordered"),
)


def metrics(snapshot: Snapshot = FULL) -> Metrics:
    made = Metrics(snapshot=lambda: snapshot, services=lambda: SERVICES)
    made.webhook(source="shop", outcome="accepted")
    made.webhook(source="shop", outcome="accepted")
    made.webhook(source="unknown", outcome="not-found")
    made.delivery("taken")
    made.step("guest.define", "done", 0.2)
    made.step("guest.define", "failed", 7.0)
    return made


def lines(text: bytes) -> set[str]:
    return {line for line in text.decode().splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("snapshot", [FULL, Snapshot()])
def test_promtool_finds_nothing_to_complain_about(snapshot: Snapshot) -> None:
    made = metrics(snapshot)
    for exposition in (made.render(), made.render_services()):
        found = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, timeout=30, check=False)
        assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "line",
    [
        'orchestrator_webhooks_total{outcome="accepted",source="shop"} 2.0',
        'orchestrator_webhooks_total{outcome="not-found",source="unknown"} 1.0',
        'orchestrator_step_duration_seconds_bucket{le="0.25",outcome="done",step="guest.define"} 1.0',
        'orchestrator_step_duration_seconds_sum{outcome="failed",step="guest.define"} 7.0',
        'orchestrator_jobs{playbook="vps-provision",state="done"} 3.0',
        "orchestrator_queue_jobs 1.0",
        "orchestrator_queue_oldest_age_seconds 12.5",
        'orchestrator_away_jobs{away="hv2"} 3.0',
        'orchestrator_away_oldest_age_seconds{away="hv2"} 90.0',
        "orchestrator_approval_jobs 2.0",
        "orchestrator_terminations_wait 1.0",
        'orchestrator_deadlines_late{action="suspend"} 3.0',
        'orchestrator_backups{state="verified"} 8.0',
        "orchestrator_drills_failing 3.0",
        "orchestrator_repositories_damaged 2.0",
        'orchestrator_deadlines_late{action="terminate"} 0.0',
        'orchestrator_services{plan="vps-1",state="active"} 4.0',
        'orchestrator_holds{effect="stop",reason="nonpayment"} 1.0',
        'orchestrator_machines{class="small-1",state="available",zone="jkt1"} 2.0',
        'orchestrator_machines{class="small-1",state="broken",zone="jkt1"} 0.0',
        "orchestrator_machines_kept_off 3.0",
        'orchestrator_machine_up{machine="m1",zone="jkt1"} 1.0',
        'orchestrator_machine_up{machine="m2",zone="jkt1"} 0.0',
        'orchestrator_machine_on{machine="m1",zone="jkt1"} 1.0',
        'orchestrator_machine_health{machine="m1",zone="jkt1"} 1.0',
        'orchestrator_machine_hottest_celsius{machine="m1",zone="jkt1"} 41.5',
        'orchestrator_machine_unwell_sensors{machine="m1",zone="jkt1"} 1.0',
        'orchestrator_node_up{node="hv1",zone="jkt1"} 1.0',
        'orchestrator_node_up{node="hv2",zone="jkt1"} 0.0',
        'orchestrator_node_enrolled{node="hv2",zone="jkt1"} 0.0',
        'orchestrator_node_guests{node="hv1",zone="jkt1"} 4.0',
        'orchestrator_node_capacity_cpus{node="hv1",zone="jkt1"} 16.0',
        'orchestrator_node_capacity_memory_bytes{node="hv1",zone="jkt1"} 524288.0',
        'orchestrator_node_promised_cpus{node="hv1",zone="jkt1"} 9.0',
        'orchestrator_addresses{family="ipv4",range="v4",zone="jkt1"} 241.0',
        'orchestrator_addresses_used{family="ipv4",range="v4",zone="jkt1"} 4.0',
        'orchestrator_addresses_cooling{family="ipv4",range="v4",zone="jkt1"} 1.0',
        "orchestrator_outbox_messages 5.0",
        "orchestrator_dead_letters 6.0",
        "orchestrator_outbox_oldest_age_seconds 61.0",
        "orchestrator_outbox_dead_messages 7.0",
        'orchestrator_deliveries_total{outcome="taken"} 1.0',
        'orchestrator_deliveries_total{outcome="refused"} 0.0',
        'orchestrator_deliveries_total{outcome="no-answer"} 0.0',
        "orchestrator_frozen 1.0",
        "orchestrator_controllers 2.0",
        "orchestrator_controllers_lost 1.0",
        "orchestrator_undeclared_services 2.0",
    ],
)
def test_the_state_is_shown(line: str) -> None:
    assert line in lines(metrics().render())


def test_a_node_that_was_never_seen_shows_no_capacity() -> None:
    assert not [line for line in lines(metrics().render()) if "capacity" in line and "hv2" in line]


def test_single_services_are_shown_apart_from_the_rest() -> None:
    made = metrics()
    assert 'orchestrator_service_info{node="hv1",plan="vps-1",service="s1",state="active"} 1.0' in lines(made.render_services())
    assert 'orchestrator_service_hold{reason="abuse",service="s1"} 1.0' in lines(made.render_services())
    assert b"orchestrator_service_info" not in made.render()
    assert b"orchestrator_jobs" not in made.render_services()


def test_two_controllers_in_one_process_count_apart() -> None:
    metrics()
    assert b"orchestrator_webhooks_total{" not in Metrics(snapshot=Snapshot, services=tuple).render()


def test_a_scrape_that_cannot_see_the_store_fails_instead_of_showing_old_numbers() -> None:
    def gone() -> Snapshot:
        raise StoreUnavailable("the database is locked")

    with pytest.raises(StoreUnavailable):
        Metrics(snapshot=gone, services=tuple).render()


@pytest.mark.parametrize(
    "line",
    [
        'orchestrator_service_backup_verified_timestamp_seconds{service="s1"} 1.4e+09',
        'orchestrator_service_backup_checked_timestamp_seconds{service="s1"} 1.40000006e+09',
        'orchestrator_service_backup_duration_seconds{service="s1"} 75.0',
        'orchestrator_service_backup_bytes{service="s1"} 4096.0',
        'orchestrator_service_backup_inodes{service="s1"} 3.0',
        'orchestrator_service_backup_read_bytes{service="s1"} 512.0',
        'orchestrator_service_backup_stored_bytes{service="s1"} 128.0',
        'orchestrator_service_backup_missed_slots{service="s1"} 0.0',
        'orchestrator_service_restores_left{service="s1"} 1.0',
        'orchestrator_service_backup_left_out{reason="it is ordered",service="s2"} 1.0',
    ],
)
def test_a_service_is_told_with_its_last_verified_backup_and_what_keeps_it_from_one(line: str) -> None:
    told = lines(metrics().render_services())
    assert line in told
    assert not [each for each in told if "backup_bytes" in each and "s2" in each]


def test_when_the_controller_itself_was_copied_is_told_where_it_is_to_be() -> None:
    told = lines(metrics(replace(FULL, state_copy_seconds=86400.0, state_copied_at=1.5e9)).render())
    assert "orchestrator_state_backup_interval_seconds 86400.0" in told
    assert "orchestrator_state_backup_verified_timestamp_seconds 1.5e+09" in told
    assert not [each for each in lines(metrics().render()) if "state_backup" in each]
