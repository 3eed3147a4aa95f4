"""The dedicated machines: which there are, in which state each is, and who has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from orchestrator.domain.machines import MachineRecord, MachineState, MachineWanted, Standing
from orchestrator.domain.placement import Placement


class MachinePool(Protocol):
    """Every call is one act, whole or not at all, and may be repeated; each change of a state is in the audit.

    Raises NotFound for a machine that is not declared, StoreUnavailable.
    """

    def machines(self) -> tuple[Standing, ...]:
        """Those that are declared, by name."""
        ...

    def machine(self, name: str) -> Standing: ...

    def of_service(self, service_id: str) -> tuple[Standing, ...]:
        """Those that bear its data, or are to; the one that is allocated to it is the first."""
        ...

    def allocate(self, *, service_id: str, job_id: str, wanted: MachineWanted) -> Placement:
        """Give the service a machine, with a verdict on each. A service that has one keeps it, whoever asks.

        Of several controllers that want the last one exactly one gets it. Raises NoCapacity where none is free.
        """
        ...

    def move(self, name: str, to: MachineState, *, reason: str, service_id: str, job_id: str, proof: str = "") -> MachineRecord:
        """Bring it to another state on behalf of the service; it is there already = success, and nothing is written.

        ``proof`` names what proves that its drives were erased, such as a certificate. Raises WrongState where the table has no
        such move, where it has another service, or where it was moved by somebody else meanwhile; Refused by a rule.
        """
        ...

    def inspected(self, name: str, inspection: Mapping[str, Any], *, job_id: str = "") -> MachineRecord:
        """Keep what the deploy image found in it: the JSON of an ``Inspection``. A machine that is declared, enrolled and does
        not differ gravely is available then."""
        ...
