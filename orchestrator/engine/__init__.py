"""Accepts events and commands, runs jobs durably, tells billing. Importing it costs 0.3 s: never on the CLI's path."""

from orchestrator.engine.acts import current_job
from orchestrator.engine.clerk import Submitted
from orchestrator.engine.engine import Engine
from orchestrator.engine.intake import Acceptance, EventParser
from orchestrator.engine.settings import Catalog, EngineSettings

__all__ = ["Acceptance", "Catalog", "Engine", "EngineSettings", "EventParser", "Submitted", "current_job"]
