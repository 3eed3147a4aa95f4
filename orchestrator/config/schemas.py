"""JSON Schemas of the configuration files, for editors: ``python -m orchestrator.config.schemas [--check] [DIRECTORY]``.

Without ``--check`` they are written to DIRECTORY (configs/schemas); with it nothing is written, and the exit code is 1 where a
schema there is not what the models say.
"""

from __future__ import annotations

import argparse
import json
import sys
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.config.files import NodesFile, OrchestratorFile, PlaybookFile, TemplatesFile
from orchestrator.config.holidays import HolidaysFile
from orchestrator.config.machine_files import MachinePlanFile, MachinesFile
from orchestrator.config.plan_files import HostingPlanFile, PlanFile
from orchestrator.config.policy_file import PolicyFile
from orchestrator.config.sentences import inner_model

FILES: dict[str, type[BaseModel]] = {
    "orchestrator": OrchestratorFile,
    "nodes": NodesFile,
    "templates": TemplatesFile,
    "plan": PlanFile,
    "hosting-plan": HostingPlanFile,
    "dedicated-plan": MachinePlanFile,
    "machines": MachinesFile,
    "policy": PolicyFile,
    "playbook": PlaybookFile,
    "holidays": HolidaysFile,
}


def schema(name: str) -> str:
    """The schema's file content. JSON Schema 2020-12, keys sorted by the models."""
    body = FILES[name].model_json_schema(by_alias=True)
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "title": f"{name}.yaml"}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def file_name(name: str) -> str:
    return f"{name}.schema.json"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a file: its path as the manual writes it (``billing[].source``), and its default as a file would hold it.

    ``default`` None = the key is required; '' where there is nothing to show (a section, a list).
    """

    path: str
    default: str | None


def settings(name: str) -> list[Setting]:
    """Every key of a file, in the file's order."""
    return list(_settings(FILES[name], json.loads(schema(name)), ""))


def stale(directory: Path) -> list[str]:
    """The schema files under ``directory`` that are missing or differ from the models, and those that belong to none."""
    wanted = {file_name(name): schema(name) for name in FILES}
    found = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (directory / file_name(name)).write_text(schema(name), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.config.schemas", description="JSON Schemas of the configuration"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a schema is stale")
    parser.add_argument("directory", nargs="?", type=Path, default=Path("configs/schemas"))
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.directory)
    differing = stale(options.directory)
    for name in differing:
        sys.stderr.write(f"{options.directory / name} is stale: run 'python -m orchestrator.config.schemas'\n")
    return 1 if differing else 0


def _settings(model: type[BaseModel], schema: dict[str, Any], prefix: str) -> Iterator[Setting]:
    described = schema if model.__name__ not in schema.get("$defs", {}) else schema["$defs"][model.__name__]
    for name, field in model.model_fields.items():
        key = field.alias or name
        inner = inner_model(field.annotation)
        path = f"{prefix}{key}"
        default = described["properties"][key].get("default")
        shown = "" if default is None else default if isinstance(default, str) and default else json.dumps(default)
        yield Setting(path, None if field.is_required() else shown)
        if inner is not None:
            listed = any(typing.get_origin(part) is list for part in (field.annotation, *typing.get_args(field.annotation)))
            yield from _settings(inner, schema, f"{path}[]." if listed else f"{path}.")


if __name__ == "__main__":
    raise SystemExit(main())
