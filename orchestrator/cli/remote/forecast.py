"""orchestrator forecast: what will happen to whom, and what another policy would change in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.failure import Failure
from orchestrator.cli.output import emit_json, moment, say, table
from orchestrator.cli.remote.options import client, json_option, paging_options
from orchestrator.cli.tables import Column, Kind, Row

# What the controller takes; its own limit on bodies may be lower.
_MOST_CHARACTERS = 200_000
# Its own count goes over all services.
_COUNT_SECONDS = 300.0


def waiting(row: Row, before: str = "") -> str:
    """What an act waits for besides its time; '' = nothing."""
    asks = "an operator's approval" if row["asks"] else ""
    confirms = "billing's confirmation" if row["confirms"] else ""
    said = "; ".join(part for part in (row["waits"], confirms, asks) if part)
    return f"{before}waits: {said}" if said and before else said


_ACTS: tuple[Column, ...] = (
    Column("WHEN", moment("at"), Kind.TIME),
    Column("SERVICE", "service_id", Kind.ID),
    Column("ACT", "action", Kind.ID),
    Column("CLIENT", "client_id", spare=6),
    Column("PLAN", "plan", spare=5),
    Column("POLICY", "policy", spare=4),
    Column("WHY", "reason", Kind.PROSE, spare=2),
    Column("CLAUSE", "clause", Kind.PROSE, spare=3),
    Column("WAITS FOR", waiting, Kind.PROSE, spare=1),
)
_CHANGES: tuple[Column, ...] = (Column("", "change", Kind.ID), *_ACTS)


@click.command("forecast")
@click.option(
    "--days",
    default=30,
    show_default=True,
    type=click.IntRange(1, 366),
    metavar="N",
    help="How many days to look ahead, 366 at most.",
)
@click.option("--service", "service_id", default="", help="Only this service.")
@click.option("--policy-file", metavar="FILE", help="Show what this policy (YAML) would change, in place of the one of its name.")
@paging_options
@json_option
@click.pass_context
def forecast(
    context: click.Context,
    /,
    days: int,
    service_id: str,
    policy_file: str | None,
    as_json: bool,
    **paging: Any,
) -> None:
    """Tell what will happen to whom, when, why and by which clause, if nothing else does."""
    if policy_file is None:
        _show(context, None, as_json, days=days, service_id=service_id, **paging)
        return
    body = {"file": Path(policy_file).name, "text": _text(policy_file)}
    _show(context, body, as_json, days=days, service_id=service_id, **paging)


def _show(
    context: click.Context,
    body: dict[str, str] | None,
    as_json: bool,
    *,
    limit: int,
    after: str,
    everything: bool,
    **asked: Any,
) -> None:
    calls = client(context)
    items: list[dict[str, Any]] = []
    ended: int | None = None
    while True:
        where = {"limit": limit, "after": after, **asked}
        page = calls.get("forecast", **where) if body is None else calls.post("forecast", body, timeout=_COUNT_SECONDS, **where)
        items += page["items"]
        ended = page.get("terminates") if ended is None else ended
        after = page["next"] or ""
        if not everything or not after:
            break
    if as_json:
        emit_json({**page, "items": items} | ({} if body is None else {"terminates": ended}))
        return
    rows = sorted(_acts(items) if body is None else _changes(items, page["policy"]), key=lambda row: str(row["at"]))
    if body is not None:
        say(f"{page['policy']}: plans {', '.join(page['plans']) or 'none'}")
    table(
        _ACTS if body is None else _CHANGES,
        rows,
        empty=f"nothing within {asked['days']} days (--days N looks further)" if body is None else "nothing changes",
    )
    for note in page["notes"]:
        say(f"note: {note}", err=True)
    if after:
        say(f"more: --after {after}   (or --all)", err=True)
    if ended is not None:
        _tell_ended(ended)


def _tell_ended(count: int) -> None:
    say(f"terminated within 24 hours of adopting it, and not otherwise: {count}")
    if count:
        say(f"nobody is before somebody agrees: `orchestrator terminations release --yes-terminate {count} --why TEXT`")


def _acts(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        for act in item["acts"]:
            yield item | act


def _changes(items: list[dict[str, Any]], policy: str) -> Iterator[dict[str, Any]]:
    for item in items:
        for sign, acts in (("-", item["goes"]), ("+", item["comes"])):
            for act in acts:
                yield item | act | {"change": sign, "policy": policy}


def _text(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8-sig") as stream:
            text = stream.read(_MOST_CHARACTERS + 1)
    except UnicodeDecodeError:
        raise Failure(f"{path} is not UTF-8 text", exit_code=2) from None
    except OSError as exc:
        raise Failure(f"{path} cannot be read: {exc.strerror}", exit_code=2) from None
    if len(text) > _MOST_CHARACTERS:
        raise Failure(f"{path} is larger than any policy", exit_code=2)
    return text
