"""One machine through its BMC. What is asked for is read back until it is so: BMCs take orders that they do not carry out.

Quirks, each where it is handled: ``_PASSING`` (power states in between), ``boot_once`` (choices that are kept), ``_drives``
(where the CD is), ``_shows`` (URLs that are told shortened), ``_moment`` (dates that are none).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import sushy
from sushy import exceptions
from sushy.resources.manager.virtual_media import VirtualMedia
from sushy.resources.system.system import System

from orchestrator.domain.errors import PermanentDriverError, TransientDriverError
from orchestrator.drivers.redfish.connection import Connection
from orchestrator.ports.bmc import BmcFacts, BootFrom, LogEntry, MachinePower, Sensor

_POLL_SECONDS = 1.0
_MOST_ENTRIES = 200
_CDS = (sushy.BootSource.CD, sushy.BootSource.USB_CD)
_DRIVE_TYPES = (sushy.VirtualMediaType.CD, sushy.VirtualMediaType.DVD)
_POWER = {sushy.PowerState.ON: MachinePower.ON, sushy.PowerState.OFF: MachinePower.OFF}
# On its way to the other state a machine still is in the one that it leaves: only what has arrived counts.
_PASSING = {sushy.PowerState.POWERING_ON: MachinePower.OFF, sushy.PowerState.POWERING_OFF: MachinePower.ON}
_HEALTH = {"OK": "ok", "Warning": "warning", "Critical": "critical"}


class RedfishBmc:
    """The port ``Bmc`` on ``connection``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def facts(self, *, deadline: float) -> BmcFacts:
        return self._connection.run("looking", _facts, deadline=deadline)

    def turn_on(self, *, deadline: float) -> BmcFacts:
        return self._turn(MachinePower.ON, (sushy.ResetType.ON, sushy.ResetType.FORCE_ON), deadline)

    def turn_off(self, *, graceful: bool = False, deadline: float) -> BmcFacts:
        ways = (sushy.ResetType.GRACEFUL_SHUTDOWN,) if graceful else (sushy.ResetType.FORCE_OFF,)
        return self._turn(MachinePower.OFF, ways, deadline)

    def _turn(self, wanted: MachinePower, ways: tuple[sushy.ResetType, ...], deadline: float) -> BmcFacts:
        def work(system: System) -> BmcFacts:
            if _power(system) != wanted:
                offered = system.get_allowed_reset_system_values()
                way = next((each for each in ways if each in offered), None)
                if way is None:
                    raise PermanentDriverError(f"it offers no {ways[0].value}")
                system.reset_system(way)
                self._until(system, f"the machine is not {wanted}", lambda: _power(system) == wanted)
            return _facts(system)

        return self._connection.run(f"turning the machine {wanted}", work, deadline=deadline)

    def boot_once(self, source: BootFrom, *, deadline: float) -> BmcFacts:
        """Some keep what they were told for one boot, or forget it at the next reset: the disk is asked for as the CD is."""
        target = sushy.BootSource.CD if source == BootFrom.CD else sushy.BootSource.HDD
        wanted = source if source == BootFrom.CD else None

        def work(system: System) -> BmcFacts:
            if _next(system) != wanted or source == BootFrom.CD:
                system.set_system_boot_options(target=target, enabled=sushy.BootSourceOverrideEnabled.ONCE)
                self._until(system, f"the next boot is not from {source}", lambda: _next(system) == wanted)
            return _facts(system)

        return self._connection.run(f"choosing the {source} for the next boot", work, deadline=deadline)

    def insert_media(self, url: str, *, deadline: float) -> BmcFacts:
        def work(system: System) -> BmcFacts:
            drive = _drive(system)
            if not _shows(drive, url):
                self._eject(drive)
                drive.insert_media(url, inserted=True, write_protected=True)
                self._until(drive, "the image is not in the drive", lambda: _shows(drive, url))
            return _facts(system, media=url)

        return self._connection.run("inserting an image", work, deadline=deadline)

    def eject_media(self, *, deadline: float) -> BmcFacts:
        def work(system: System) -> BmcFacts:
            self._eject(_drive(system))
            return _facts(system)

        return self._connection.run("ejecting the image", work, deadline=deadline)

    def _eject(self, drive: VirtualMedia) -> None:
        if _media(drive):
            drive.eject_media()
            self._until(drive, "the image is still in the drive", lambda: not _media(drive))

    def sensors(self, *, deadline: float) -> tuple[Sensor, ...]:
        return self._connection.run("reading the sensors", _sensors, deadline=deadline)

    def log(self, *, deadline: float) -> tuple[LogEntry, ...]:
        return self._connection.run("reading the log", _log, deadline=deadline)

    def close(self) -> None:
        """Nothing is kept open between two calls."""

    def _until(self, resource: Any, otherwise: str, ready: Callable[[], bool]) -> None:
        """Read it anew until it is so; the connection ends the waiting at the call's deadline, and ``otherwise`` says why."""
        while True:
            try:
                resource.invalidate()
                resource.refresh(force=True)
            except TransientDriverError:
                raise TransientDriverError(otherwise) from None
            if ready():
                return
            self._connection.clock.sleep(_POLL_SECONDS)


def _facts(system: System, *, media: str | None = None) -> BmcFacts:
    """``media``: what was just read back, as whoever inserted it calls it."""
    memory, processors = system.memory_summary, (system.json.get("ProcessorSummary") or {})
    if media is None:
        media = next((_media(drive) for drive in _drives(system)), "")
    return BmcFacts(
        uuid=(system.uuid or "").lower(),
        power=_power(system),
        boot_once=_next(system),
        media=media,
        manufacturer=system.manufacturer or "",
        model=str(system.json.get("Model") or ""),
        serial=str(system.json.get("SerialNumber") or ""),
        firmware=system.bios_version or "",
        memory_bytes=int((memory.size_gib or 0) * 2**30) if memory else 0,
        processors=int(processors.get("Count") or 0),
        macs=_macs(system),
        health=_health(system.json),
    )


def _power(system: System) -> MachinePower:
    state = system.power_state
    found = _POWER.get(state) or _PASSING.get(state)
    if found is None:  # while a BMC starts anew, it often tells of none
        raise TransientDriverError(f"it does not say whether the machine is on ({state})")
    return found


def _next(system: System) -> BootFrom | None:
    boot = system.boot
    chosen = boot is not None and boot.enabled != sushy.BootSourceOverrideEnabled.DISABLED and boot.target in _CDS
    return BootFrom.CD if chosen else None


def _macs(system: System) -> tuple[str, ...]:
    try:
        found = system.ethernet_interfaces.get_members()
    except (exceptions.MissingAttributeError, exceptions.ResourceNotFoundError):
        return ()
    addresses = {each.permanent_mac_address or each.mac_address for each in found}
    return tuple(sorted(address.lower() for address in addresses if address))


def _drives(system: System) -> Iterator[VirtualMedia]:
    """Those that take a CD. Newer BMCs have them with the system, older ones with the manager (DSP0268, VirtualMedia)."""
    for owner in (system, *_managers(system)):
        try:
            members = owner.virtual_media.get_members()
        except (exceptions.MissingAttributeError, exceptions.ResourceNotFoundError):
            continue
        yield from (drive for drive in members if set(drive.media_types or ()) & set(_DRIVE_TYPES))


def _managers(system: System) -> list[Any]:
    try:
        return list(system.managers)
    except (exceptions.MissingAttributeError, exceptions.ResourceNotFoundError):
        return []


def _drive(system: System) -> VirtualMedia:
    for drive in _drives(system):
        return drive
    raise PermanentDriverError("it has no drive for images", hint="virtual media may need a licence of the vendor's")


def _media(drive: VirtualMedia) -> str:
    """A URL that stays when the image was taken out is none."""
    return (drive.image or drive.image_name or "") if drive.inserted else ""


def _shows(drive: VirtualMedia, url: str) -> bool:
    """Whether the image is in it. Some tell of the file's name only."""
    told = _media(drive)
    return bool(told) and (told == url or ("/" not in told and url.rpartition("/")[2] == told))


def _sensors(system: System) -> tuple[Sensor, ...]:
    found = []
    for chassis in _chassis(system):
        try:
            thermal = chassis.thermal
        except (exceptions.MissingAttributeError, exceptions.ResourceNotFoundError):
            continue
        found += [_sensor(row, "ReadingCelsius", "celsius") for row in thermal.json.get("Temperatures") or ()]
        fans = thermal.json.get("Fans") or ()
        found += [_sensor(row, "Reading", str(row.get("ReadingUnits") or "RPM").lower()) for row in fans]
    return tuple(sorted((each for each in found if each), key=lambda each: each.name))


def _chassis(system: System) -> list[Any]:
    try:
        return list(system.chassis)
    except (exceptions.MissingAttributeError, exceptions.ResourceNotFoundError):
        return []


def _sensor(row: dict[str, Any], key: str, unit: str) -> Sensor | None:
    """None for one that is not there or reads nothing: empty slots have sensors, too."""
    value = row.get(key)
    if not isinstance(value, int | float):
        return None
    return Sensor(name=str(row.get("Name") or row.get("FanName") or ""), value=float(value), unit=unit, health=_health(row))


def _health(row: dict[str, Any]) -> str:
    return _HEALTH.get(str((row.get("Status") or {}).get("Health")), "")


def _log(system: System) -> tuple[LogEntry, ...]:
    """sushy knows nothing of logs (DSP0268, LogService): they are read as they stand."""
    found: list[LogEntry] = []
    for owner in (system, *_managers(system)):
        services = (owner.json.get("LogServices") or {}).get("@odata.id")
        for service in _members(owner, services):
            entries = (_read(owner, service).get("Entries") or {}).get("@odata.id")
            found += _entries(_read(owner, entries).get("Members") or ()) if entries else ()
    found.sort(key=lambda entry: (entry.at is not None, entry.at.timestamp() if entry.at else 0.0))
    return tuple(found[-_MOST_ENTRIES:])


def _members(owner: Any, path: str | None) -> list[str]:
    rows = _read(owner, path).get("Members") or () if path else ()
    return [str(row["@odata.id"]) for row in rows if "@odata.id" in row]


def _read(owner: Any, path: str) -> dict[str, Any]:
    try:
        read: Any = owner._conn.get(path).json()
    except exceptions.ResourceNotFoundError:
        return {}
    return read if isinstance(read, dict) else {}


def _entries(rows: Any) -> Iterator[LogEntry]:
    for row in rows:
        text = " ".join(str(row.get("Message") or "").split())
        severity = _HEALTH.get(str(row.get("Severity")), "")
        yield LogEntry(id=str(row.get("Id") or ""), at=_moment(row.get("Created")), severity=severity, text=text)


def _moment(text: Any) -> datetime | None:
    """None for a date without a zone or that is none: BMCs that never learnt the time write 0000-00-00."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
