"""Imported by the process that all lives of the crash tests are forked from: it lives once itself, so that every statement that a
life asks of a store is compiled already, and no life compiles it anew."""

from __future__ import annotations

import tempfile
import threading
from functools import partial
from pathlib import Path

from orchestrator.domain.intents import IntentKind
from orchestrator.steps.registry import STEPS
from tests import statements
from tests.fault.controller import BOOKS
from tests.fault.house import House, prepared
from tests.store_files import SQLITE, engine_database

ONCE = "s00"


def live_once() -> None:
    """A service is ordered, stopped and terminated. Raises RuntimeError where a thread is left: none outlives a fork."""
    with tempfile.TemporaryDirectory() as there:
        directory = prepared(Path(there), partial(engine_database, kind=SQLITE))
        house = House(directory, steps=STEPS, playbooks=BOOKS)
        house.engine.start()
        try:
            house.wait(house.order(ONCE).job_id)
            for intent in (IntentKind.STOP, IntentKind.TERMINATE):
                house.wait(house.engine.command(intent, ONCE, who="anna", why="a test", arguments={}).job_id)
        finally:
            house.close()
    if threading.active_count() > 1:
        raise RuntimeError(f"threads are left: {threading.enumerate()}")


statements.share()
live_once()
