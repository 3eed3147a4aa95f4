"""orchestrator drift"""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, say, table
from orchestrator.cli.remote.options import client, json_option
from orchestrator.cli.tables import Column, Kind, Row

# All nodes are looked at, eight at a time, each a minute at most.
DRIFT_TIMEOUT_SECONDS = 600.0
_FOUND = 6
_UNSEEN = 5


def _mends(row: Row) -> str:
    """What was done, or would be, or what a person does."""
    if row["job_id"] or row["detail"]:
        return ": ".join(part for part in (f"job {row['job_id']}" if row["job_id"] else "", row["detail"]) if part)
    return f"--repair: {row['repair']}" if row["repair"] else str(row["todo"])


_COLUMNS: tuple[Column, ...] = (
    Column("NODE", "node", Kind.ID),
    Column("KIND", "kind"),
    Column("SERVICE", "service_id", Kind.ID),
    Column("WHAT", "name", Kind.ID),
    Column("SAYS", "says", Kind.PROSE),
    Column("TO DO", _mends, Kind.PROSE),
)


@click.command(name="drift")
@click.option("--node", default="", metavar="NODE", help="Look at this node only.")
@click.option("--repair", is_flag=True, help="Mend what is safe: limits and holds, by jobs; nothing is deleted.")
@click.option("--dry-run", is_flag=True, help="With --repair: only show what would be mended.")
@click.option("--why", default="", metavar="TEXT", help="With --repair: goes into the audit and the jobs.")
@json_option
@click.pass_context
def drift(context: click.Context, /, node: str, as_json: bool, **options: Any) -> None:
    """Compare the records with what the nodes show: guests, volumes and accounts that are missing, stray or not as sold."""
    if not options["repair"] and (options["dry_run"] or options["why"]):
        raise Failure("--dry-run and --why belong to --repair", exit_code=2)
    body = {"node": node, **{key: options[key] for key in ("repair", "why", "dry_run")}}
    found = client(context).post("drift", body, timeout=DRIFT_TIMEOUT_SECONDS)
    if as_json:
        emit_json(found)
    else:
        looked = len(found["nodes"]) - len(found["unseen"])
        table(_COLUMNS, found["findings"], empty=f"nothing differs on {looked} node{'' if looked == 1 else 's'}")
        for each in found["unseen"]:
            say(f"not seen: {each['node']}: {each['problem']}")
    _verdict(found, repairs=options["repair"] and not options["dry_run"])


def _verdict(found: dict[str, Any], *, repairs: bool) -> None:
    drifts = [row for row in found["findings"] if row["kind"] != "foreign"]
    if repairs:
        drifts = [row for row in drifts if not (row["job_id"] or row["detail"])]
    if drifts:
        some = f"{len(drifts)} thing{' differs' if len(drifts) == 1 else 's differ'} between records and nodes"
        safe = not repairs and any(row["repair"] for row in drifts)
        hint = "orchestrator drift --repair mends what is safe" if safe else "what is left is for a person: see the column TO DO"
        raise Failure(some, hint=hint, exit_code=_FOUND)
    if found["unseen"]:
        raise Failure("not every node answered", hint="orchestrator node doctor NODE", exit_code=_UNSEEN)
