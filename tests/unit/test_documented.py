"""Nothing that can be called, scraped, set or put in a playbook is missing from the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

from orchestrator.api.app import RESOURCES
from orchestrator.api.resources import consoles
from orchestrator.api.vocabulary import EventData
from orchestrator.cli.main import cli
from orchestrator.config.files import NodesFile, OrchestratorFile, TemplatesFile
from orchestrator.config.machine_files import MachinePlanFile, MachinesFile
from orchestrator.config.plan_files import HostingPlanFile, PlanFile
from orchestrator.domain.errors import OUTCOMES
from orchestrator.domain.events import EventType
from orchestrator.observe.metrics import Metrics
from orchestrator.observe.snapshot import Snapshot
from orchestrator.steps.registry import STEPS

DOCS = Path(__file__).parents[2] / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(command: click.Command, path: str = "orchestrator") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its whole name."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, f"{path} {name}")
        if command.invoke_without_command:
            yield path, command
    else:
        yield path, command


COMMANDS = dict(commands(cli))
ROUTES = sorted(
    f"{method} {route.path}"
    for resource in RESOURCES
    for route in resource.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods or ()
)


def metric_names() -> list[str]:
    made = Metrics(snapshot=Snapshot, services=tuple)
    exposition = (made.render() + made.render_services()).decode()
    return re.findall(r"(?m)^# TYPE (\S+)", exposition)


def settings(model: Any, path: str = "") -> Iterator[str]:
    """Every key of a configuration file's model, by its own name, inner ones too."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in _models(field.annotation):
            yield from settings(inner)


def _models(annotation: Any) -> Iterator[Any]:
    if hasattr(annotation, "model_fields"):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_has_help(name: str) -> None:
    assert re.search(rf"`{re.escape(name)}\b", text("cli.md"))
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, (name, parameter.name)


@pytest.mark.parametrize("option", [opt for param in cli.params for opt in param.opts if opt.startswith("--")])
def test_every_global_option_is_documented(option: str) -> None:
    assert option in text("cli.md") or option in ("--version", "--help")


@pytest.mark.parametrize(
    "route", [*ROUTES, *(f"WEBSOCKET {route.path}" for route in consoles.router.routes if isinstance(route, APIWebSocketRoute))]
)
def test_every_route_is_documented(route: str) -> None:
    assert f"`{route}`" in text("api.md")


def test_no_route_is_documented_that_is_not_there() -> None:
    told = re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", text("api.md"))
    assert set(told) - {"GET /v1/openapi.json"} == set(ROUTES)


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_is_documented(name: str) -> None:
    assert f"| `{name}` |" in text("metrics.md")


def test_no_metric_is_documented_that_is_not_there() -> None:
    assert set(re.findall(r"(?m)^\| `(orchestrator_\w+)` \|", text("metrics.md"))) == set(metric_names())


@pytest.mark.parametrize(
    "model", [OrchestratorFile, NodesFile, MachinesFile, TemplatesFile, PlanFile, HostingPlanFile, MachinePlanFile]
)
def test_every_setting_is_documented(model: Any) -> None:
    told = text("configure.md")
    missing = sorted({name for name in settings(model) if not re.search(rf"`[\w.\[\]]*\b{name}\b[^`]*`|\b{name}:", told)})
    assert missing == []


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_documented(name: str) -> None:
    assert f"`{name}`" in text("steps.md")


@pytest.mark.parametrize("code", OUTCOMES)
def test_every_error_code_is_documented(code: str) -> None:
    assert f"`{code}`" in text("api.md")


@pytest.mark.parametrize("kind", list(EventType))
def test_every_event_is_documented(kind: EventType) -> None:
    assert f"`{kind.value}`" in text("webhooks.md")


@pytest.mark.parametrize("field", EventData.model_fields)
def test_every_field_of_an_event_is_documented(field: str) -> None:
    assert f"`{field}`" in text("webhooks.md")
