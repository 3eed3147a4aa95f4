"""Asking for an act on a service that makes a job, and showing what became of it."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.output import emit_json, say
from orchestrator.cli.remote.client import Client, below
from orchestrator.cli.remote.options import client
from orchestrator.cli.remote.watch import WAITS, say_outcome, watch_job
from orchestrator.cli.remote.workflow import show_workflow


def ask(context: click.Context, service: str, what: str, body: dict[str, Any], options: dict[str, Any]) -> None:
    """Ask for the act on the service, and show what became of it. ``options``: dry_run, watch and as_json."""
    calls = client(context)
    answer = calls.post(below("services", service, what), body, dry_run="true" if options["dry_run"] else "")
    told(context, calls, f"{service}: {what}", answer, options)


def told(context: click.Context, calls: Client, what: str, answer: dict[str, Any], options: dict[str, Any]) -> None:
    """What became of it; with --watch, of its job."""
    if options["dry_run"]:
        show_workflow(answer["workflow"] or {}, as_json=options["as_json"])
        return
    if options["watch"] and answer["job_id"]:
        if not options["as_json"]:
            say(f"{what}: job {answer['job_id']}")
        watch_job(calls, answer["job_id"], as_json=options["as_json"])
        return
    if options["as_json"]:
        emit_json(answer)
    else:
        say_outcome(what, answer, none="no job was needed: ")
    if answer["waits"]:
        context.exit(WAITS)
