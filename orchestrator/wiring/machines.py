"""The BMCs of the machines: opened when first used, kept, and opened anew when a machine was enrolled anew."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from orchestrator.config.model import Config
from orchestrator.domain.errors import ConfigError, NotFound, WrongState
from orchestrator.domain.machines import Machine
from orchestrator.drivers.fake.bmc import FakeMachineAccess, add_machine
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.drivers.local.files import read_secret
from orchestrator.drivers.redfish import Connection, RedfishBmc, presented
from orchestrator.ports.bmc import Bmc
from orchestrator.ports.clock import Clock
from orchestrator.ports.machine_access import BmcCertificate, MachineAccess
from orchestrator.store import machines as machine_store
from orchestrator.store.database import Database
from orchestrator.wiring.links import FAKE, WORLD_FILE

# Simulated machines have the same UUID on every controller.
_SIMULATED = uuid.UUID("5d0f2b2e-6a53-4a8e-9b61-6f1f0f6a3c02")


class RedfishAccess:
    """The port ``MachineAccess`` to real machines. Raises ConfigError where the file with a password cannot be used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def certificate(self, machine: Machine, *, deadline: float) -> BmcCertificate:
        return presented(machine.bmc, machine=machine.name, deadline=deadline)

    def bmc(self, machine: Machine, *, certificate_sha256: str) -> Bmc:
        connection = Connection(
            machine.bmc,
            user=machine.bmc_user,
            password=_password(machine),
            certificate_sha256=certificate_sha256,
            system=machine.bmc_system,
            machine=machine.name,
            clock=self._clock,
        )
        return RedfishBmc(connection)


class MachineLinks:
    """The BMCs of the machines that are enrolled, and the way to the others. Safe for many threads."""

    def __init__(self, config: Config, db: Database, *, clock: Clock) -> None:
        self._machines = {machine.name: machine for machine in config.machines}
        self._db = db
        self._real: MachineAccess = RedfishAccess(clock)
        self._world = _simulated(config)
        self._simulated = None if self._world is None else FakeMachineAccess(self._world)
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, Bmc]] = {}

    def bmc(self, name: str) -> Bmc:
        """Raises NotFound for a machine that is not declared, WrongState for one that is not enrolled."""
        machine = self._machines.get(name)
        if machine is None:
            hint = "a machine that had a service must stay declared"
            raise NotFound(f"there is no machine {name} in machines.yaml", hint=hint, machine=name)
        with self._db.read() as conn:
            record = machine_store.get(conn, name)
        if not record.enrolled:
            raise WrongState(f"machine {name} is not enrolled", hint=f"orchestrator machine enrol {name}", machine=name)
        with self._lock:
            pinned, bmc = self._open.get(name, ("", None))
            if bmc is None or pinned != record.certificate_sha256:
                bmc = self._of(machine).bmc(machine, certificate_sha256=record.certificate_sha256)
                self._open[name] = (record.certificate_sha256, bmc)
            return bmc

    @property
    def world(self) -> FakeWorld | None:
        """That of the simulated machines; None where there are none."""
        return self._world

    @property
    def access(self) -> MachineAccess:
        """To machines of either driver."""
        return _ByDriver(self._of)

    def close(self) -> None:
        with self._lock:
            opened, self._open = self._open, {}
        for _, bmc in opened.values():
            bmc.close()

    def _of(self, machine: Machine) -> MachineAccess:
        return self._simulated if machine.driver == FAKE and self._simulated is not None else self._real


class _ByDriver:
    def __init__(self, of: Callable[[Machine], MachineAccess]) -> None:
        self._of = of

    def certificate(self, machine: Machine, *, deadline: float) -> BmcCertificate:
        return self._of(machine).certificate(machine, deadline=deadline)

    def bmc(self, machine: Machine, *, certificate_sha256: str) -> Bmc:
        return self._of(machine).bmc(machine, certificate_sha256=certificate_sha256)


def _password(machine: Machine) -> str:
    what = f"password of the BMC of {machine.name}"
    if machine.bmc_secret_file is None:
        raise ConfigError(f"{what}: no file is named", hint="say bmc_secret_file in machines.yaml")
    try:
        password = read_secret(machine.bmc_secret_file, what=what).decode().strip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: {machine.bmc_secret_file} holds no text in UTF-8") from None
    if not password or not password.isprintable():
        raise ConfigError(f"{what}: {machine.bmc_secret_file} holds no line with it", hint="the password alone, in one line")
    return password


def _simulated(config: Config) -> FakeWorld | None:
    """The simulated machines, in the world of the simulated nodes; None where there are none."""
    machines = [machine for machine in config.machines if machine.driver == FAKE]
    if not machines:
        return None
    world = FakeWorld(config.settings.state_dir / WORLD_FILE)
    for number, machine in enumerate(machines, start=1):
        known = str(uuid.uuid5(_SIMULATED, machine.name))
        macs = machine.macs or (f"52:54:00:fa:{number >> 8 & 255:02x}:{number & 255:02x}",)
        add_machine(world, machine.name, uuid=known, serial=f"SIM-{machine.name}", macs=macs)
    return world
