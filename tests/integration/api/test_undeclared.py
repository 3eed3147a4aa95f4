"""A node or a machine that is gone from the configuration while services are on it: whoever starts the controller is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.cli.local.doctor import examine
from orchestrator.store import machine_tables, overview
from tests.live import Live

MACHINES = """
machines:
  - {name: m1, zone: z1, class: small-1, driver: fake}
"""
WITHOUT = """
zones: [{name: z1}]
nodes:
  - {name: n2, zone: z1, address: 192.0.2.12, driver: fake}
address_ranges:
  - {name: v4, zone: z1, network: 10.9.0.0/16, gateway: 10.9.0.1, first: 10.9.0.10, last: 10.9.255.250}
  - {name: v6, zone: z1, network: "fd09::/64", gateway: "fd09::1", first: "fd09::10", last: "fd09::ffff"}
"""


def told(directory: Path) -> dict[str, str]:
    return {row.name: row.found for row in examine(directory) if row.name.startswith("undeclared")}


def test_what_is_gone_from_the_configuration_and_has_services_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    live = Live(tmp_path / "c", files={"machines.yaml": MACHINES})
    live.start()
    directory = live.config.directory
    try:
        live.provisioned("s1")
        with live.db.write() as conn:
            texts = dict.fromkeys(("reason", "job_id", "certificate_sha256", "uuid", "problem"), "")
            row = {"name": "m1", "state": "allocated", "service_id": "d1", "up": False, "told": {}, **texts}
            conn.execute(sa.insert(machine_tables.machines).values(row))
            assert overview.undeclared(conn, {"n1", "m1"}) == {}
            assert overview.undeclared(conn, ()) == {"m1": ("d1",), "n1": ("s1",)}
        assert told(directory) == {}
        assert "orchestrator_undeclared_services 0.0" in live.http.get("/metrics").text
    finally:
        live.stop()
    live.socket.unlink(missing_ok=True)  # as the command does that served there
    (directory / "nodes.yaml").write_text(WITHOUT)
    (directory / "machines.yaml").write_text("machines: []\n")
    assert told(directory) == {
        "undeclared m1": "it has d1, to which nothing can be done",
        "undeclared n1": "it has s1, to which nothing can be done",
    }
    controller = wiring.build(wiring.load_config(directory))
    with caplog.at_level(logging.ERROR):
        controller.start()
    try:
        assert "n1 is not declared any more, and has s1: nothing can be done to them" in caplog.text
        assert "m1 is not declared any more, and has d1: nothing can be done to them" in caplog.text
        assert b"orchestrator_undeclared_services 2.0" in controller.metrics.render()
    finally:
        controller.stop()
