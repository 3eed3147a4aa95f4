"""The controller is killed at named points while it works on real guests, and started again: all ends as without the kill.

Many services are worked on at once, each by a job that stands at its own point when the process ends itself by SIGKILL. What is
compared is what libvirt, the pool and the store show, with a service whose job nobody disturbed. In ``make test`` some points of
what makes, holds, lets go and ends; in the whole matrix (``make fault``) all points of all playbooks, for encrypted disks, too.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import sight
from tests.e2e.stand import FINDS, LEAVES, PLAIN, PLAIN_COPY, RUNNING, SEALED, Stand
from tests.fault.crashing import KILL, Order

pytestmark = pytest.mark.timeout(900)
INTENTS = ("provision", "check", "stop", "start", "reboot", "suspend", "unsuspend", "limit", "unlimit", "reinstall", "terminate")
SAMPLED = ("provision", "suspend", "unsuspend", "terminate")
SAMPLE = 3


def chosen(points: list[str], *, whole: bool) -> list[str]:
    """All of them; or acts that were done and not yet recorded, evenly among all, one that was recorded, and the end."""
    # Whether a guest still has to be waited for depends on how busy the machine is: another one may not pass that point.
    every = [point for point in dict.fromkeys(points) if not point.endswith("/wait/during")]
    if whole:
        return every
    acts = [point for point in every if point.endswith("/during")]
    recorded = [point for point in every if point.endswith("/after")]
    return [*acts[:: -(-len(acts) // SAMPLE) or 1], recorded[0], every[-2]]


def submit(stand: Stand, intent: str, service: str, *, plan: str) -> str:
    return stand.order(service, plan=plan) if intent == "provision" else stand.command(intent, service)


def undisturbed(stand: Stand, intent: str, *, plan: str) -> tuple[list[str], dict[str, Any], int]:
    """The points that a job of the intent passes, what its service looks like afterwards, and how often its guest booted."""
    (service,) = stand.take(FINDS.get(intent, RUNNING), 1, plan=plan)
    stand.board.forget(service)
    before = sight.boots(service)
    stand.done([submit(stand, intent, service, plan=plan)])
    if LEAVES.get(intent, RUNNING) == RUNNING:
        stand.answering([service])
    points, seen = stand.board.passed(service), sight.look(stand.site, service)
    stand.give_back([service], LEAVES.get(intent, RUNNING), plan=plan)
    return points, seen, sight.boots(service) - before


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In the sample plain disks: encrypted ones are slow to make and to open."""
    if "plan" in metafunc.fixturenames:
        sample = [(PLAIN, intent) for intent in SAMPLED]
        every = [(plan, intent) for plan in (SEALED, PLAIN, PLAIN_COPY) for intent in INTENTS]
        whole = metafunc.config.getoption("--matrix") == "whole"
        metafunc.parametrize(("plan", "intent"), every if whole else sample)


def test_killed_at_a_point_and_started_again_all_is_as_without_the_kill(
    stand: Stand, whole_matrix: bool, intent: str, plan: str
) -> None:
    strike(stand, intent, plan=plan, whole=whole_matrix)


def strike(stand: Stand, intent: str, *, plan: str, whole: bool) -> None:
    """Kill the controller while jobs of the intent stand at points of theirs, start it again, and look."""
    points, wanted, boots = undisturbed(stand, intent, plan=plan)
    struck = chosen(points, whole=whole)
    services = stand.take(FINDS.get(intent, RUNNING), len(struck), plan=plan)
    before = {service: sight.boots(service) for service in services}
    for service, point in zip(services, struck, strict=True):
        stand.board.arm(service, Order(point, KILL))
    jobs = [submit(stand, intent, service, plan=plan) for service in services]
    stand.dies(services)
    stand.site.start()
    ended = dict(zip(struck, stand.rest(jobs), strict=True))
    assert {point: job["error"] or job["state"] for point, job in ended.items() if job["state"] != "done"} == {}
    found = {point: sight.look(stand.site, service) for service, point in zip(services, struck, strict=True)}
    wrong = {point: sight.difference(wanted, seen) for point, seen in found.items()}
    assert {point: lines for point, lines in wrong.items() if lines} == {}
    if LEAVES.get(intent, RUNNING) == RUNNING:
        stand.answering(services)
    if intent != "terminate":  # the console's log goes with the rest of the service
        assert {service: sight.boots(service) - before[service] for service in services} == dict.fromkeys(services, boots)
    else:
        assert [sight.left(stand.site, service) for service in services] == [{} for _ in services]
        assert [sight.files(stand.site, service) for service in services] == [[] for _ in services]
    stand.give_back(services, LEAVES.get(intent, RUNNING), plan=plan)
