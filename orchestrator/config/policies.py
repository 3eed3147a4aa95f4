"""policies/*.yaml to Policies."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.directory import yaml_files
from orchestrator.config.load import MAX_POLICIES
from orchestrator.config.policy_reading import read_policy
from orchestrator.config.problems import Problem, config_error
from orchestrator.domain.policies import Policy


def load_policies(directory: Path) -> dict[str, Policy]:
    """The policies of a directory by name.

    Raises ConfigError, its details as ``config.load.load`` has them.
    """
    problems: list[Problem] = []
    policies: dict[str, Policy] = {}
    for path in yaml_files(directory, problems, most=MAX_POLICIES):
        read, wrong = read_policy(path)
        problems.extend(wrong)
        if read is not None:
            policies[read.name] = read
    if problems:
        raise config_error(f"the policies in {directory} cannot be used", problems)
    return policies
