"""The JSON Schemas for editors are what the models say, every shipped file names its own, and the manual names every key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config.playbooks import load_playbooks
from orchestrator.config.schemas import FILES, file_name, main, settings, stale
from orchestrator.steps.registry import arguments

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def test_the_shipped_schemas_are_not_stale() -> None:
    assert stale(CONFIGS / "schemas") == [], "run: python -m orchestrator.config.schemas"


def test_check_names_a_changed_a_missing_and_a_foreign_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schemas = Path(shutil.copytree(CONFIGS / "schemas", tmp_path / "schemas"))
    (schemas / file_name("plan")).write_text("{}\n")
    (schemas / file_name("nodes")).unlink()
    (schemas / "old.schema.json").write_text("{}\n")
    assert main(["--check", str(schemas)]) == 1
    said = capsys.readouterr().err
    assert [name for name in (*FILES, "old") if f"/{file_name(name)} is stale" in said] == ["nodes", "plan", "old"]
    assert (schemas / file_name("plan")).read_text() == "{}\n", "--check writes nothing"


def test_the_command_writes_what_check_accepts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestrator.config.schemas", str(tmp_path / "new")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert main(["--check", str(tmp_path / "new")]) == 0


OURS = sorted(path for path in CONFIGS.rglob("*.yaml") if "prometheus" not in path.parts)  # its own tool knows its files


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_every_shipped_file_names_its_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named, first
    assert (path.parent / named[1]).is_file()


def test_schemas_refuse_unknown_keys_and_describe_every_key() -> None:
    for name in FILES:
        schema = json.loads((CONFIGS / "schemas" / file_name(name)).read_text())
        for part in (schema, *schema.get("$defs", {}).values()):
            assert part["additionalProperties"] is False
            assert all(value.get("description") for value in part["properties"].values()), part["title"]


MANUAL = [
    ("orchestrator", "configure.md", "orchestrator.yaml"),
    ("nodes", "configure.md", "nodes.yaml"),
    ("templates", "configure.md", "templates.yaml"),
    ("plan", "configure.md", "plans/NAME.yaml"),
    ("hosting-plan", "configure.md", "plans/NAME.yaml of kind hosting"),
    ("machines", "configure.md", "machines.yaml"),
    ("playbook", "playbooks.md", "Keys"),
    ("holidays", "policies-calendar.md", "holidays.yaml"),
]


@pytest.mark.parametrize(("name", "page", "heading"), MANUAL)
def test_the_manual_names_every_setting_with_its_default(name: str, page: str, heading: str) -> None:
    manual = (ROOT / "docs" / page).read_text()
    section = manual.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \| .+ \|$", section, re.MULTILINE)
    shown = [(setting.path, "*required*" if setting.default is None else _code(setting.default)) for setting in settings(name)]
    assert [(key, default.strip()) for key, default in rows] == shown


def test_the_example_in_the_manual_is_a_sound_playbook(tmp_path: Path) -> None:
    example = (ROOT / "docs" / "playbooks.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "vps-example.yaml").write_text(example)
    assert load_playbooks(tmp_path, steps=arguments())["vps-example"].steps[1].when


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
