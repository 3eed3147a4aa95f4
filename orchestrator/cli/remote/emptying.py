"""Bringing all services of a node elsewhere, so many at a time, and watching it: node evacuate and node restore."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote.client import below
from orchestrator.cli.remote.options import client
from orchestrator.cli.remote.watch import WAITS, patiently

F = TypeVar("F", bound=Callable[..., Any])
# Between two looks.
POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Words:
    """``path``: below the node's, in the API."""

    under_way: str
    done: str
    path: str


def emptying_options(command: F) -> F:
    """--at-once and --watch."""
    watch = click.option("--watch", is_flag=True, help="Go on until every service of which that can be done is elsewhere.")
    number = click.option(
        "--at-once", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="So many at a time."
    )
    return number(watch(command))


def empty(context: click.Context, node: str, words: Words, *, why: str, at_once: int, watch: bool, as_json: bool) -> None:
    """Ask until nothing is left to be done, or once; say what became of each. Raises Failure where services stay."""
    calls, failed, seen = client(context), dict[str, str](), dict[str, str]()
    ask = partial(calls.post, below("nodes", node, words.path), {"why": why, "at_once": at_once})
    while True:
        found = patiently(ask) if seen else ask()
        if as_json and not watch:
            emit_json(found)
            return
        now = {each["service_id"]: each["job_id"] for each in found["moving"]}
        for service, job in now.items():
            if seen.get(service) != job:
                say(f"{service}: {words.under_way}, job {job}", err=as_json)
        for service, job in (over for over in seen.items() if now.get(over[0]) != over[1]):
            state = patiently(partial(calls.get, below("jobs", job)))["state"]
            say(f"{service}: {words.done if state == 'done' else f'NOT {words.done}, its job is {state}'}", err=as_json)
            failed |= {} if state == "done" else {service: f"job {job} is {state}"}
        seen = now
        left = f"{len(now)} {words.under_way}, {len(found['waiting'])} wait, {len(found['staying'])} stay"
        if not watch or failed or not (now or found["waiting"]):
            break
        time.sleep(POLL_SECONDS)
    if as_json:
        emit_json(found)
    else:
        say(f"{node}: {left}")
        for each in found["staying"]:
            say(f"{each['service_id']} stays: {each['why']}")
    if failed or (watch and found["staying"]):
        hint = "look at the jobs, then ask again" if failed else "see why each stays, then ask again"
        raise Failure(f"{node} is not empty: {', '.join(failed) or 'services stay'}", hint=hint, exit_code=WAITS)
