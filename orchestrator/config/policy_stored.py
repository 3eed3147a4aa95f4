"""A policy as it is kept in the store, so that a later start can tell what was promised before."""

from __future__ import annotations

from orchestrator.config.policy_reading import parse_policy
from orchestrator.config.policy_shown import shown
from orchestrator.domain.canonical import canonical_json
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.policies import Policy


def to_store(policy: Policy) -> str:
    """The same text for the same policy, whatever its file looks like."""
    return canonical_json(shown(policy)).decode()


def from_store(text: str) -> Policy | None:
    """The policy, or None where this version cannot read any more what an earlier one kept."""
    try:
        return parse_policy(text, "policy.yaml")
    except ConfigError:
        return None
