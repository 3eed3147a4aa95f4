"""The deploy image on a dedicated machine: what it is told to do there, and what it says of it.

The image is a small system that the machine is booted from once, from a CD that its BMC inserts. It is given a token that is good
for one claim, asks the controller for its tasks one after the other, and tells how they went.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

REPORTED = "reported_at"
"""In the result of an erasure: when the image told of its end, by the controller's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """``name`` as the kernel calls it this time (sda); ``by_id`` its lasting name, '' where it has none. ``transport``: nvme,
    ata, virtio or scsi."""

    name: str
    serial: str
    by_id: str
    model: str
    bytes: int
    rotational: bool
    transport: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """``mac`` in lower case. ``link``: whether a cable is in it whose other end answers."""

    name: str
    mac: str
    link: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the image found in the machine. ``uuid`` in lower case. ``firmware``: bios or uefi, as this boot went."""

    uuid: str
    serial: str
    firmware: str
    cpus: int
    cpu_model: str
    memory_bytes: int
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Which machine has to claim. ``uuid`` '' and ``serials`` () = not known yet: then whatever claims is believed, and named.
    ``serials``: of disks that have to be there; others may be."""

    uuid: str = ""
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How the image reaches the controller: ``mac`` '' = by the first card with a link; ``address`` '' = DHCP, else
    10.77.0.50/16, with ``gateway`` '' = the controller is in that network."""

    mac: str = ""
    address: str = ""
    gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """``key`` is unique in its job: giving it again is success. ``kind``: inspect, write, erase, test or finish; their arguments
    and results are in docs/deploy-image.md."""

    key: str
    kind: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """``state``: waiting, running, done or failed. ``fraction`` from 0 to 1. ``says``: the image's own sentence, or why it
    failed. ``result`` is empty until it is done; one that failed may have one too."""

    key: str
    state: str
    fraction: float
    says: str
    result: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """``claimed_at`` None = the image has not come yet; ``heard_at``: when it was last heard. ``refused``: why somebody who held
    the token was sent away ('' = nobody was). ``tasks`` in the order in which they were given."""

    machine: str
    job_id: str
    opened_at: datetime
    claimed_at: datetime | None
    heard_at: datetime | None
    refused: str
    inspection: Inspection | None
    tasks: tuple[TaskState, ...]


class Deployments(Protocol):
    """The deployments of all machines, one at a time of each. Blocks for as long as the store does."""

    def open(self, machine: str, *, job_id: str, expected: Expected, network: Network) -> str:
        """A new token; the URL of the medium to insert. An earlier one of the machine is over, also where it was another job's:
        its token and session get nothing any more. Of the same job's, the tasks are kept: those not done wait again."""
        ...

    def deployment(self, machine: str, *, job_id: str) -> Deployment | None:
        """None where this job has none open for the machine."""
        ...

    def give(self, machine: str, task: Task, *, job_id: str) -> None:
        """Raises WrongState where this job has none open, and where the key was given with something else."""
        ...

    def close(self, machine: str, *, job_id: str) -> None:
        """Its token and session get nothing any more, and what was given with its tasks is forgotten; none open, or another
        job's, is success."""
        ...
