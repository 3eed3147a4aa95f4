"""restic, run by the agent on the node where the data is."""

from orchestrator.drivers.restic.repositories import ResticRepositories

__all__ = ["ResticRepositories"]
