"""The simulated hypervisor: behaves as the real driver does, host hook included."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from orchestrator.domain.errors import AlreadyExists, NotFound, PermanentDriverError, Refused, WrongState
from orchestrator.drivers.fake.world import FakeWorld, State, pool_available
from orchestrator.ports.hypervisor import (
    GuestDefinition,
    GuestDisk,
    GuestFacts,
    GuestMark,
    NodeFacts,
    Power,
    PowerAction,
    SignedRecord,
)

KILOBYTE = 1000
# Of a guest whose running part has another network rate than its definition: what a call leaves that is cut off between the two.
LIVE_RATE = "live_rate"
# Of a guest that runs with another size than it is defined with.
LIVE_SIZE = "live_size"
# Of a guest whose running part has another filter than its definition.
LIVE_MAIL = "live_mail"
FILTERS = {True: "orch-guard", False: "orch-guard-no-mail"}  # by whether mail goes out
_DEFINITION = TypeAdapter(GuestDefinition)
_MARK = TypeAdapter(GuestMark)


class FakeHypervisor:
    """Guests on one simulated node."""

    def __init__(self, world: FakeWorld, node: str) -> None:
        self._world = world
        self._node = node

    def node_facts(self, *, deadline: float) -> NodeFacts:
        def stage(node: State) -> NodeFacts:
            return NodeFacts(
                hostname=node["name"],
                cpus=node["cpus"],
                memory_bytes=node["memory_bytes"],
                pool_capacity_bytes=node["pool_bytes"],
                pool_available_bytes=pool_available(node),
                accelerated=node["accelerated"],
                libvirt_version="9.0.0",
                hypervisor_version="7.2.0",
                guests=len(node["guests"]),
                pool_path=node["pool_path"],
            )

        return self._world.act("hypervisor.node_facts", node=self._node, subject="", deadline=deadline, stages=[stage])

    def guests(self, *, deadline: float) -> tuple[GuestFacts, ...]:
        def stage(node: State) -> tuple[GuestFacts, ...]:
            return tuple(facts_in(node, name) for name in sorted(node["guests"]))

        return self._world.act("hypervisor.guests", node=self._node, subject="", deadline=deadline, stages=[stage])

    def guest(self, name: str, *, deadline: float) -> GuestFacts | None:
        def stage(node: State) -> GuestFacts | None:
            return facts_in(node, name) if name in node["guests"] else None

        return self._world.act("hypervisor.guest", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def define(self, definition: GuestDefinition, *, deadline: float) -> GuestFacts:
        def stage(node: State) -> GuestFacts:
            old = node["guests"].get(definition.name)
            if old is not None:
                mark = old["mark"]
                if mark is None or mark["service_id"] != definition.mark.service_id:
                    raise AlreadyExists(f"a guest named {definition.name} is there and belongs to somebody else")
                if old["definition"]["uuid"] != definition.uuid:
                    raise AlreadyExists(f"a guest named {definition.name} is there with another uuid")
            elif any(g["definition"]["uuid"] == definition.uuid for g in node["guests"].values()):
                raise AlreadyExists(f"another guest has the uuid {definition.uuid}")
            standing = None if old is None else _MARK.validate_python(old["mark"])
            wanted = definition.over(standing)
            fresh = {"power": "stopped", "autostart": False, "managed_save": False, "boots": 0}
            guest = {**fresh, **(old or {})}
            guest["definition"] = _DEFINITION.dump_python(wanted, mode="json")
            guest["mark"] = _MARK.dump_python(wanted.mark, mode="json")
            node["guests"][definition.name] = guest
            _leave(node, f"/etc/libvirt/qemu/{definition.name}.xml")
            return facts_in(node, definition.name)

        return self._world.act("hypervisor.define", node=self._node, subject=definition.name, deadline=deadline, stages=[stage])

    def power(self, name: str, action: PowerAction, *, deadline: float) -> GuestFacts:
        def stage(node: State) -> GuestFacts:
            guest = guest_in(node, name)
            if action is PowerAction.START:
                _start(node, name, guest)
            elif action in (PowerAction.SHUTDOWN, PowerAction.DESTROY):
                guest["power"] = "stopped"
                guest.pop(LIVE_RATE, None)
                guest.pop(LIVE_SIZE, None)
                guest.pop(LIVE_MAIL, None)
            elif guest["power"] != "running":
                raise WrongState(f"{name} does not run and cannot be restarted")
            else:
                guest["boots"] += 1
            return facts_in(node, name)

        return self._world.act(f"hypervisor.power.{action}", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def mark(self, name: str, mark: GuestMark, *, autostart: bool, deadline: float) -> GuestFacts:
        def set_mark(node: State) -> GuestFacts:
            guest_in(node, name)["mark"] = _MARK.dump_python(mark, mode="json")
            return facts_in(node, name)

        def set_autostart(node: State) -> GuestFacts:
            guest_in(node, name)["autostart"] = autostart
            return facts_in(node, name)

        return self._world.act(
            "hypervisor.mark", node=self._node, subject=name, deadline=deadline, stages=[set_mark, set_autostart]
        )

    def keep_record(self, name: str, record: SignedRecord, *, deadline: float) -> None:
        def stage(node: State) -> None:
            guest_in(node, name)["record"] = {"text": record.text, "signature": record.signature}

        self._world.act("hypervisor.keep_record", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def set_network_rate(self, name: str, bytes_per_second: int, *, deadline: float) -> GuestFacts:
        rate = _whole_kilobytes(bytes_per_second)

        def at_start(node: State) -> GuestFacts:
            guest = guest_in(node, name)
            if guest["power"] != "stopped":
                guest.setdefault(LIVE_RATE, guest["definition"]["network_bytes_per_second"])
            guest["definition"]["network_bytes_per_second"] = rate
            return facts_in(node, name)

        def live(node: State) -> GuestFacts:
            guest_in(node, name).pop(LIVE_RATE, None)
            return facts_in(node, name)

        return self._world.act(
            "hypervisor.set_network_rate", node=self._node, subject=name, deadline=deadline, stages=[at_start, live]
        )

    def set_mail(self, name: str, *, out: bool, deadline: float) -> GuestFacts:
        ran = False

        def at_start(node: State) -> GuestFacts:
            guest = guest_in(node, name)
            if guest["power"] != "stopped":
                guest.setdefault(LIVE_MAIL, guest["definition"]["mail_out"])
            guest["definition"]["mail_out"] = out
            return facts_in(node, name)

        def halt(node: State) -> GuestFacts:
            nonlocal ran
            guest = guest_in(node, name)
            ran = guest["power"] == "running" and guest.get(LIVE_MAIL, out) != out
            if ran:
                guest["power"] = "paused"
            return facts_in(node, name)

        def live(node: State) -> GuestFacts:
            guest = guest_in(node, name)
            guest.pop(LIVE_MAIL, None)
            if ran:
                guest["power"] = "running"
            return facts_in(node, name)

        return self._world.act(
            "hypervisor.set_mail", node=self._node, subject=name, deadline=deadline, stages=[at_start, halt, live]
        )

    def undefine(self, name: str, *, deadline: float) -> None:
        def stage(node: State) -> None:
            guest = node["guests"].get(name)
            if guest is None:
                return
            if guest["power"] != "stopped":
                raise WrongState(f"{name} still runs; it must be stopped before it is removed")
            del node["guests"][name]
            definition = f"/etc/libvirt/qemu/{name}.xml"
            node["files"] = [path for path in node["files"] if path != definition]

        self._world.act("hypervisor.undefine", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def agent_ping(self, name: str, *, deadline: float) -> bool:
        def stage(node: State) -> bool:
            guest = guest_in(node, name)
            return bool(guest["power"] == "running" and guest["definition"]["agent"])

        return self._world.act("hypervisor.agent_ping", node=self._node, subject=name, deadline=deadline, stages=[stage])

    def close(self) -> None:
        """Nothing is kept open."""


def guest_in(node: State, name: str) -> dict[str, Any]:
    try:
        guest: dict[str, Any] = node["guests"][name]
    except KeyError:
        raise NotFound(f"there is no guest {name} on {node['name']}") from None
    return guest


def _whole_kilobytes(rate: int) -> int:
    """As hypervisors count a rate; 0 = no limit."""
    return max(1, rate // KILOBYTE) * KILOBYTE if rate else 0


def _start(node: State, name: str, guest: dict[str, Any]) -> None:
    if guest["power"] == "running":
        return
    holds = guest["mark"]["holds"] if guest["mark"] else []
    if holds:
        raise Refused(f"the host refuses to start {name}: held for {', '.join(holds)}")
    for disk in guest["definition"]["disks"]:
        volume = node["volumes"].get(disk["path"].rpartition("/")[2])
        if volume is None:
            raise PermanentDriverError(f"{name} cannot start: {disk['path']} is missing")
        if volume["secret_uuid"] and volume["secret_uuid"] not in {s["uuid"] for s in node["secrets"].values()}:
            raise PermanentDriverError(f"{name} cannot start: the secret of {disk['path']} is missing")
    guest["power"] = "running"
    guest["boots"] += 1
    _leave(node, f"/var/log/libvirt/qemu/{name}.log")


def _leave(node: State, path: str) -> None:
    if path not in node["files"]:
        node["files"].append(path)


def facts_in(node: State, name: str) -> GuestFacts:
    guest = node["guests"][name]
    definition = _DEFINITION.validate_python(guest["definition"])
    lease = definition.lease
    running = guest["power"] == "running"
    most = max(definition.vcpus, definition.vcpus_most)
    size = guest.get(LIVE_SIZE, {"vcpus": definition.vcpus, "memory_bytes": definition.memory_bytes, "vcpus_most": most})
    return GuestFacts(
        name=name,
        uuid=definition.uuid,
        power=Power(guest["power"]),
        autostart=guest["autostart"],
        mark=_MARK.validate_python(guest["mark"]) if guest["mark"] else None,
        **size,
        vcpus_at_start=definition.vcpus,
        memory_at_start=definition.memory_bytes,
        cpu_percent=definition.cpu_percent,
        disks=tuple(_disk(node, disk) for disk in definition.disks),
        mac=lease.mac,
        bridge=definition.bridge,
        addresses=(*(str(a.ip) for a in lease.ipv4), *(str(a.ip) for a in lease.ipv6)),
        filter_name=FILTERS[guest.get(LIVE_MAIL, definition.mail_out)],
        mail_out=guest.get(LIVE_MAIL, definition.mail_out),
        mail_out_at_start=definition.mail_out,
        network_bytes_per_second=guest.get(LIVE_RATE, definition.network_bytes_per_second),
        network_at_start=definition.network_bytes_per_second,
        managed_save=guest["managed_save"],
        agent_connected=running and definition.agent,
        record=SignedRecord(**guest["record"]) if guest.get("record") else None,
    )


def _disk(node: State, disk: GuestDisk) -> GuestDisk:
    """As defined, with the capacity that the volume really has (0 where it is missing)."""
    volume = node["volumes"].get(disk.path.rpartition("/")[2])
    return GuestDisk(
        path=disk.path,
        format=disk.format,
        target=disk.target,
        capacity_bytes=volume["capacity_bytes"] if volume else 0,
        secret_uuid=disk.secret_uuid,
        bytes_per_second=disk.bytes_per_second,
        iops=disk.iops,
        read_only=disk.read_only,
        cdrom=disk.cdrom,
    )
