"""Accounts on a hosting node, through the agent there."""

from orchestrator.drivers.hosting.node import AgentHostingNode

__all__ = ["AgentHostingNode"]
