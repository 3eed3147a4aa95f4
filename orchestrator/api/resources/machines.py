"""/v1/machines: the dedicated machines, in which state each is, and what operators do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Admin, Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.machine_schemas import (
    CertificateOut,
    MachineDetail,
    MachineEnrolled,
    MachineLog,
    MachineOut,
    MachineReport,
    PowerOut,
)
from orchestrator.api.once import Keep, OnceOnly
from orchestrator.api.paging import After, Limit, Page
from orchestrator.api.vocabulary import CONTROLS
from orchestrator.domain.machines import MachineRecord, MachineState, Standing
from orchestrator.domain.machines.testing import LEAST, MOST, USUAL, HardwareTest
from orchestrator.store import machines
from orchestrator.store.database import Connection

router = APIRouter(prefix="/v1/machines", tags=["machines"])

Name = Annotated[str, Path(max_length=255, description="The machine's name in machines.yaml.")]
DryRun = Annotated[bool, Query(description="Answer with what would be, and change nothing.")]


class MachineEnrolRequest(BaseModel):
    """``certificate_sha256``: of the BMC's certificate that you have compared, with or without colons."""

    model_config = ConfigDict(extra="forbid")

    certificate_sha256: str = Field(pattern=r"^([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$|^[0-9A-Fa-f]{64}$")

    @property
    def sha256(self) -> str:
        return self.certificate_sha256.replace(":", "").lower()


class WhyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=255, pattern=f"^[^{CONTROLS}]*$")


class MaintenanceRequest(WhyRequest):
    """``on``: the machine is taken out; else it is put back, to be enrolled anew."""

    on: bool


class DiskGoneRequest(WhyRequest):
    """``serial``: as `machine show` names it."""

    serial: str = Field(min_length=1, max_length=200, pattern=f"^[^{CONTROLS}]*$")


class TestRequest(WhyRequest):
    """``seconds``: for all of it, shared equally by the memory and each disk. Neither named: both."""

    memory: bool = False
    disks: bool = False
    seconds: int = Field(default=USUAL, ge=LEAST, le=MOST)


class PowerRequest(WhyRequest):
    """``graceful``, of off: the operating system is asked, which may do nothing of it."""

    on: bool
    graceful: bool = False


@router.get("")
def list_machines(
    _caller: Reader,
    context: Context,
    limit: Limit = 100,
    after: After = "",
    state: MachineState | None = None,
    machine_class: Annotated[str, Query(max_length=255)] = "",
    zone: Annotated[str, Query(max_length=255)] = "",
) -> Page[MachineOut]:
    """Declared machines by name."""
    with context.db.read() as conn:
        known = machines.standings(conn, context.config.machines)
    found = [
        each
        for each in known
        if each.machine.name > after
        and state in (None, each.record.state)
        and machine_class in ("", each.machine.machine_class)
        and zone in ("", each.machine.zone)
    ]
    items = [MachineOut.of(each) for each in found[:limit]]
    return Page(items=items, next=items[-1].name if len(found) > limit else None)


@router.get("/{name}")
def get_machine(_caller: Reader, context: Context, name: Name) -> MachineDetail:
    """One machine."""
    return MachineDetail.of(context.inventory.standing(name))


@router.get("/{name}/certificate")
def get_certificate(_caller: Operator, context: Context, name: Name) -> CertificateOut:
    """What its BMC presents now. Nothing is trusted by asking: compare it with what the BMC itself shows, on its console."""
    return CertificateOut.of(context.inventory.certificate(name))


@router.get("/{name}/log")
def get_log(_caller: Operator, context: Context, name: Name) -> MachineLog:
    """The newest entries of its BMC's own log, the oldest first; at most 200."""
    return MachineLog.of(context.inventory.log(name))


@router.post("/{name}/enrol", response_model=MachineEnrolled)
def enrol_machine(
    caller: Admin, context: Context, once: OnceOnly, name: Name, request: MachineEnrolRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Pin the certificate of its BMC, and write down which machine that tells of and how it differs from what is declared."""
    return once.look(
        lambda: MachineEnrolled.of(context.inventory.enrol(name, request.sha256, who=caller.name, dry=dry_run), dry_run=dry_run)
    )


@router.post("/{name}/doctor", response_model=MachineReport)
def examine_machine(_caller: Operator, context: Context, once: OnceOnly, name: Name) -> JSONResponse:
    """Ask its BMC now for everything that it tells."""
    return once.look(lambda: MachineReport.of(context.inventory.doctor(name)))


@router.post("/{name}/maintenance", response_model=MachineOut)
def maintain_machine(
    caller: Operator, context: Context, once: OnceOnly, name: Name, request: MaintenanceRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Take a machine out that has no service, or put it back: then it has to be enrolled anew."""

    def act(keep: Keep) -> object:
        return context.inventory.maintain(
            name, on=request.on, who=caller.name, why=request.why, beside=_kept(context, name, keep)
        )

    def would() -> MachineOut:
        return _out(context, name, context.inventory.maintain(name, on=request.on, who=caller.name, why=request.why, dry=True))

    return once.look(would) if dry_run else once.run(act)


@router.post("/{name}/broken", response_model=MachineOut)
def fail_machine(
    caller: Operator, context: Context, once: OnceOnly, name: Name, request: WhyRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Call a machine broken that has no service: none is placed on it."""

    def act(keep: Keep) -> object:
        return context.inventory.fail(name, who=caller.name, why=request.why, beside=_kept(context, name, keep))

    if dry_run:
        return once.look(lambda: _out(context, name, context.inventory.fail(name, who=caller.name, why=request.why, dry=True)))
    return once.run(act)


@router.post("/{name}/disk-gone", response_model=MachineOut)
def say_disk_gone(
    caller: Operator, context: Context, once: OnceOnly, name: Name, request: DiskGoneRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Say that a disk is not in the machine any more: its service's jobs ask for it no more, and the certificate says so."""
    inventory, who = context.inventory, caller.name

    def act(keep: Keep) -> object:
        return inventory.disk_gone(name, request.serial, who=who, why=request.why, beside=_kept(context, name, keep))

    def would() -> MachineOut:
        return _out(context, name, inventory.disk_gone(name, request.serial, who=who, why=request.why, dry=True))

    return once.look(would) if dry_run else once.run(act)


@router.post("/{name}/test", response_model=MachineOut)
def try_machine(
    caller: Operator, context: Context, once: OnceOnly, name: Name, request: TestRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Have the deploy image test an available machine, which is taken out meanwhile. One that fails is broken. Can take minutes
    until the test has begun."""
    wanted = HardwareTest.of(request.model_dump(exclude={"why"}))

    def act() -> MachineOut:
        record = context.testing.begin(name, wanted, who=caller.name, why=request.why, dry=dry_run)
        return _out(context, name, record)

    return once.look(act)


@router.post("/{name}/power", response_model=PowerOut)
def switch_machine(
    caller: Operator, context: Context, once: OnceOnly, name: Name, request: PowerRequest, dry_run: DryRun = False
) -> JSONResponse:
    """Turn a machine on or off that has no service. Can take minutes."""
    return once.look(
        lambda: PowerOut(
            name=name,
            power=context.inventory.power(
                name, on=request.on, graceful=request.graceful, who=caller.name, why=request.why, dry=dry_run
            ),
            dry_run=dry_run,
        )
    )


def _kept(context: ApiContext, name: str, keep: Keep) -> Callable[[Connection, MachineRecord], None]:
    return lambda conn, record: keep(conn, _out(context, name, record))


def _out(context: ApiContext, name: str, record: MachineRecord) -> MachineOut:
    machine = next(each for each in context.config.machines if each.name == name)
    return MachineOut.of(Standing(machine=machine, record=record))
