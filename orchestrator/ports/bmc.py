"""The BMC of one dedicated machine: what switches it on and off, chooses what it boots from, and puts an image before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class MachinePower(StrEnum):
    ON = "on"
    OFF = "off"


class BootFrom(StrEnum):
    """``DISK``: as the machine's firmware is set, which after an installation is its disk."""

    DISK = "disk"
    CD = "cd"


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcFacts:
    """A machine as its BMC tells of it, which need not be so: what it cannot tell is empty or 0.

    ``uuid`` in lower case. ``macs`` in lower case, sorted. ``memory_bytes`` and ``processors`` as the firmware counted them at
    the last boot. ``boot_once``: what the next boot is from, and only that one; None = as always. ``media``: the URL of the image
    that is inserted as a CD; '' = none. ``health``: ok, warning, critical or '' (Redfish DSP0268, Resource.Health).
    """

    uuid: str
    power: MachinePower
    boot_once: BootFrom | None
    media: str
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    memory_bytes: int = 0
    processors: int = 0
    macs: tuple[str, ...] = ()
    health: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One reading. ``unit``: ``celsius``, ``rpm`` or ``percent``; ``health`` as in BmcFacts."""

    name: str
    value: float
    unit: str
    health: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of the BMC's own log. ``at`` by the BMC's clock, with a zone; None where it has none. ``severity`` as health."""

    id: str
    at: datetime | None
    severity: str
    text: str


class Bmc(Protocol):
    """The BMC of one machine. Each call blocks up to ``deadline`` seconds and may be repeated.

    Raises TransientDriverError where it does not answer, answers with a fault of its own, or does not do as told in time;
    PermanentDriverError where it refuses the password, shows another certificate than the pinned one, or cannot do what is asked.
    """

    def facts(self, *, deadline: float) -> BmcFacts: ...

    def turn_on(self, *, deadline: float) -> BmcFacts:
        """Read back as on. One that is on stays as it is: it is not started anew."""
        ...

    def turn_off(self, *, graceful: bool = False, deadline: float) -> BmcFacts:
        """Read back as off; off already is success. ``graceful`` asks the operating system (ACPI), which may do nothing of it."""
        ...

    def boot_once(self, source: BootFrom, *, deadline: float) -> BmcFacts:
        """The next boot is from there, read back; the one after it as always. ``DISK`` takes back what was chosen before."""
        ...

    def insert_media(self, url: str, *, deadline: float) -> BmcFacts:
        """The image at ``url`` is a CD in the machine's drive, read back; another that was there is taken out first."""
        ...

    def eject_media(self, *, deadline: float) -> BmcFacts:
        """Nothing is in the drive, read back; an empty one is success."""
        ...

    def sensors(self, *, deadline: float) -> tuple[Sensor, ...]:
        """Temperatures and fans, by name; () where the BMC tells of none."""
        ...

    def log(self, *, deadline: float) -> tuple[LogEntry, ...]:
        """The newest entries of its logs, oldest first, at most 200; () where it keeps none."""
        ...

    def close(self) -> None:
        """Let the connection go; it is opened again when it is needed again."""
        ...
