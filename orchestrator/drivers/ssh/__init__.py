"""Nodes over SSH (paramiko): calls to their agent, and making a plain machine a node."""

from orchestrator.drivers.ssh.enrolment import SshEnrolment
from orchestrator.drivers.ssh.identity import ensure_identity
from orchestrator.drivers.ssh.transport import SshTransport

__all__ = ["SshEnrolment", "SshTransport", "ensure_identity"]
