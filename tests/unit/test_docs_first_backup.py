"""The first backup as it is described: what is commented out in the files, and the policy of the page, can be used so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from orchestrator.config.load import load
from orchestrator.config.model import Config
from orchestrator.domain.calendar import Days

ROOT = Path(__file__).parents[2]
POLICY = "name: default\nprovider: Example Hosting\ndocument: the terms\n"


def example(directory: Path) -> Config:
    shutil.copytree(ROOT / "configs", directory)
    main = directory / "orchestrator.yaml"
    block = re.search(r"(?m)^# backups:\n(?:#   .*\n)+", main.read_text(encoding="utf-8"))
    assert block is not None
    plain = re.sub(r"(?m)^# ", "", block[0])
    main.write_text(main.read_text(encoding="utf-8").replace(block[0], plain), encoding="utf-8")
    nodes = directory / "nodes.yaml"
    text = nodes.read_text(encoding="utf-8").replace("    # backups: main", "    backups: main")
    nodes.write_text(re.sub(r"(?m)^  # (- name: web1|  \w+: )", r"  \1", text), encoding="utf-8")
    page = (ROOT / "docs" / "backups.md").read_text(encoding="utf-8")
    policy = re.search(r"(?s)## The first backup in five steps.*?```yaml\n(.*?)```", page)
    assert policy is not None
    told = re.sub(r"(?m)^   ", "", policy[1])
    (directory / "policies" / "default.yaml").write_text(POLICY + told, encoding="utf-8")
    return load(directory)


def test_what_is_commented_out_and_what_the_page_says_makes_a_service_with_backups(tmp_path: Path) -> None:
    config = example(tmp_path / "etc")
    assert set(config.settings.backups.targets) == {"main"}
    assert {node.name: node.backups for node in config.nodes} == {"hv1": "main", "hv2": "", "web1": "main"}
    policy = config.policies["default"]
    assert policy.backup.schedule is not None
    assert policy.backup.schedule.every == {"vps": Days(7), "hosting": Days(7)}
    assert policy.restore is not None
    assert (policy.restore.per_month, policy.restore.over_per_gb) == (1, 100_000)
