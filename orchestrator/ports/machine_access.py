"""Getting at the BMC of a machine that may not be enrolled yet: what it presents, and the BMC by a certificate one chose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.domain.machines import Machine
from orchestrator.ports.bmc import Bmc


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcCertificate:
    """``sha256`` of its DER form, 64 hexadecimal digits. ``subject``: whom it names; ``until`` it runs, by its own word."""

    sha256: str
    subject: str = ""
    until: datetime | None = None


class MachineAccess(Protocol):
    """Raises TransientDriverError where the BMC does not answer, PermanentDriverError where what answers speaks no TLS."""

    def certificate(self, machine: Machine, *, deadline: float) -> BmcCertificate:
        """What its BMC presents now; nothing is trusted by asking."""
        ...

    def bmc(self, machine: Machine, *, certificate_sha256: str) -> Bmc:
        """Its BMC, which has to present that certificate at each call. The caller closes it."""
        ...
