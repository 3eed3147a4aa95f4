"""The agent's answers on accounts as values of ours. Each raises KeyError, TypeError or ValueError for what is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.domain.account_parts import CronLine
from orchestrator.domain.accounts import uid_of
from orchestrator.domain.adopting import CertificateSeen, SiteSeen, Stranger
from orchestrator.domain.moving_in import Tarball
from orchestrator.ports.hosting_node import (
    AccountUsage,
    AccountWipe,
    DatabaseDump,
    HostingReport,
    Need,
    NodeResidue,
    Orphan,
    Packed,
    Residue,
    SetAside,
    Stray,
    TakenOut,
    WayIn,
)

_KNOWN = frozenset({"needs", "hostname", "cpus", "memory_bytes", "disk_bytes", "disk_free_bytes", "accounts", "php"})
# What is counted ends in a signed 64-bit column.
_MOST = 2**63 - 1
_MONTH = re.compile(r"(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])")


def count(value: Any) -> int:
    """So many of something, or bytes; raises TypeError or ValueError for what cannot be."""
    found = int(value)
    if not 0 <= found <= _MOST:
        raise ValueError(f"{found} is no count")
    return found


def _seconds(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found) or found < 0:
        raise ValueError(f"{found} is no number of seconds")
    return found


def _month(text: str) -> str:
    if not _MONTH.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is no month")
    return text


def _user(text: str) -> str:
    uid_of(text)
    return text


def report(data: Mapping[str, Any]) -> HostingReport:
    return HostingReport(
        needs=tuple(
            Need(
                name=str(each["name"]),
                ok=bool(each["ok"]),
                says=str(each.get("says", "")),
                hint=str(each.get("hint", "")),
            )
            for each in data["needs"]
        ),
        hostname=str(data["hostname"]),
        cpus=count(data["cpus"]),
        memory_bytes=count(data["memory_bytes"]),
        disk_bytes=count(data["disk_bytes"]),
        disk_free_bytes=count(data["disk_free_bytes"]),
        accounts=count(data["accounts"]),
        php=tuple(str(version) for version in data.get("php", ())),
        details={key: value for key, value in data.items() if key not in _KNOWN},
    )


def way(data: Mapping[str, Any]) -> WayIn:
    return WayIn(way=str(data["way"]), open=bool(data["open"]), says=str(data.get("says", "")))


def usage(data: Mapping[str, Any], *, unknown: bool) -> AccountUsage:
    """``unknown``: the databases could not be looked at."""
    return AccountUsage(
        user=_user(str(data["user"])),
        bytes=count(data["bytes"]),
        inodes=count(data["inodes"]),
        database_bytes=None if unknown else count(data.get("database_bytes", 0)),
        traffic={_month(str(month)): count(total) for month, total in dict(data.get("traffic_bytes") or {}).items()},
        cpu_seconds=_seconds(data.get("cpu_seconds", 0.0)),
    )


def wipe(data: Mapping[str, Any]) -> AccountWipe:
    return AccountWipe(
        user=str(data["user"]),
        files=count(data.get("files", 0)),
        bytes=count(data.get("bytes", 0)),
        databases=tuple(str(name) for name in data.get("databases", ())),
        method=str(data.get("method", "unlink")),
        limits=tuple(str(sentence) for sentence in data.get("limits", ())),
        started_at=str(data.get("started_at", "")),
        finished_at=str(data.get("ended_at", "")),
        medium=dict(data.get("medium") or {}),
    )


def residue(data: Mapping[str, Any]) -> Residue:
    return Residue(
        found=tuple(str(each) for each in data["found"]),
        removed=tuple(str(each) for each in data.get("removed", ())),
        kept=tuple(str(each) for each in data.get("kept", ())),
        unknown=tuple(str(each) for each in data.get("unknown", ())),
    )


def packed(data: Mapping[str, Any]) -> Packed:
    return Packed(directory=str(data["directory"]), databases=dumps(data["databases"]), bytes=count(data["bytes"]))


def tarball(file: str, data: Mapping[str, Any]) -> Tarball:
    return Tarball(
        file=file,
        sha256=str(data["sha256"]),
        bytes=count(data["bytes"]),
        inodes=count(data["inodes"]),
        databases=tuple(str(each["name"]) for each in data["databases"]),
        settings=dict(data["settings"]),
    )


def taken_out(data: Mapping[str, Any]) -> TakenOut:
    return TakenOut(
        removed=int(data["removed"]),
        left=tuple(str(each) for each in data["left"]),
        left_count=int(data["left_count"]),
        emptied=tuple(str(each) for each in data["emptied"]),
    )


def stranger(data: Mapping[str, Any]) -> Stranger:
    def texts(key: str) -> tuple[str, ...]:
        return tuple(str(each) for each in data[key])

    return Stranger(
        name=str(data["stranger"]),
        uid=int(data["uid"]),
        home=str(data["home"]),
        bytes=int(data["bytes"]),
        inodes=int(data["inodes"]),
        sites=tuple(
            SiteSeen(
                name=str(each["name"]),
                root=str(each["root"]),
                domains=tuple(str(name) for name in each["domains"]),
                php=str(each["php"]),
                runs_php=bool(each["runs_php"]),
            )
            for each in data["sites"]
        ),
        databases=tuple((str(each["name"]), str(each["from"]), int(each["bytes"])) for each in data["databases"]),
        cron=tuple(CronLine(schedule=str(each["schedule"]), command=str(each["command"])) for each in data["cron"]),
        certificates=tuple(
            CertificateSeen(site=str(each["site"]), fits=bool(each["fits"]), until=str(each["until"]), says=str(each["says"]))
            for each in data["certificates"]
        ),
        files=texts("files"),
        roots=texts("roots"),
        obstacles=texts("obstacles"),
        not_taken=texts("not_taken"),
        left=texts("left"),
    )


def set_aside(data: Mapping[str, Any]) -> SetAside:
    return SetAside(
        files=tuple(str(each) for each in data["aside"]),
        certificates=tuple(str(each) for each in data["certificates"]),
        kept=str(data["kept"]),
    )


def dumps(rows: Iterable[Mapping[str, Any]]) -> tuple[DatabaseDump, ...]:
    return tuple(DatabaseDump(name=str(each["name"]), bytes=count(each["bytes"])) for each in rows)


def node_residue(data: Mapping[str, Any]) -> NodeResidue:
    return NodeResidue(
        accounts=tuple(
            Stray(user=_user(str(each["user"])), marked=bool(each["marked"]), found=tuple(str(one) for one in each["found"]))
            for each in data["accounts"]
        ),
        orphans=tuple(Orphan(**{key: str(each[key]) for key in ("kind", "what", "says")}) for each in data["orphans"]),
        unknown=tuple(str(each) for each in data["unknown"]),
    )
