"""What ``--dry-run`` and ``job show --workflow`` print of a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.remote.workflow import show_lines, show_workflow

GUEST = {"vcpus": 1, "memory_bytes": 1 << 30, "disk_bytes_per_second": 0, "network_bytes_per_second": 12_500_000, "ready": ""}
KNOWN = {f"step{number}": {"made": number, "by": "j1"} for number in range(12)}


def flow(**args: Any) -> dict[str, Any]:
    call = {"id": "define", "step": "guest.define", "destructive": False, "on_failure": "undo", "skipped": "", "args": args}
    return {"playbook": "vps-provision", "service_id": "s1", "calls": [call]}


def test_what_a_step_would_be_given_is_said_in_peoples_units(capsys: pytest.CaptureFixture[str]) -> None:
    show_workflow(
        flow(node={"$ref": "place.node"}, guest=GUEST, left="", keys=["a", "b"], capacity_bytes=20 * 10**9), as_json=False
    )
    said = capsys.readouterr().out
    assert (
        "node: <place.node>; guest: vcpus 1, memory 1 GiB, disk no limit, network 100 Mbit/s; keys: a, b; capacity: 20 GB" in said
    )
    assert "left" not in said


def test_of_what_has_very_many_parts_the_table_has_the_names_and_the_lines_have_all(capsys: pytest.CaptureFixture[str]) -> None:
    show_workflow(flow(known=KNOWN), as_json=False)
    assert "known: step0, step1, " in (said := capsys.readouterr().out)
    assert ("step11 (whole with --json)" in said, "made" in said) == (True, False)
    show_lines(flow(known=KNOWN))
    assert "known: step0.made 0, step0.by j1, step1.made 1" in capsys.readouterr().out


def test_parts_of_a_list_are_numbered(capsys: pytest.CaptureFixture[str]) -> None:
    show_workflow(flow(volumes=[{"name": "x", "capacity_bytes": 1 << 20}, {"name": "y"}]), as_json=False)
    assert "volumes: 1.name x, 1.capacity 1 MiB, 2.name y" in capsys.readouterr().out
