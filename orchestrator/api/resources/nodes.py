"""/v1/nodes: the hypervisors and hosting nodes, what they have and what is promised on them; enrolling and examining one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from orchestrator.api.callers import Admin, Operator, Reader
from orchestrator.api.context import ApiContext, Context
from orchestrator.api.once import OnceOnly
from orchestrator.api.paging import After, Limit, Page
from orchestrator.domain.errors import NotFound, PreconditionError
from orchestrator.domain.placement import NodeState, capacity, closed
from orchestrator.domain.planned import Announced
from orchestrator.domain.plans import Node
from orchestrator.observe.logs import redact
from orchestrator.ports.enrolment import EnrolmentReport, HostKey
from orchestrator.store import account_uids, audit, nodes
from orchestrator.store.nodes import NodeRecord

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])

Name = Annotated[str, Path(max_length=255, description="The node's name in nodes.yaml.")]
# Seconds. Enrolment may install Debian packages.
ASK_DEADLINE = 30.0
ENROL_DEADLINE = 900.0


class AnnouncedOut(BaseModel):
    """Maintenance that was announced."""

    at: datetime
    until: datetime
    announced_at: datetime
    who: str
    why: str

    @classmethod
    def of(cls, found: Announced) -> AnnouncedOut:
        return cls(at=found.at, until=found.until, announced_at=found.announced_at, who=found.who, why=found.why)


class NodeOut(BaseModel):
    """A declared node: what it has, what may be promised of that (less what it keeps, times its ratios; both null = never
    seen), and what is promised. Bytes; vCPUs unweighted. ``pool_…_percent``: how full its pool really is, null = not known.
    ``lost``: since when, on whose word and why; '' = it is not. ``takes_nothing_new``: why nothing is placed on it now, whatever
    room it has; empty = it takes services.
    """

    name: str
    zone: str
    kind: str
    address: str
    port: int
    driver: str
    maintenance: bool
    announced: AnnouncedOut | None
    drained: bool
    drained_why: str
    lost: str
    enrolled: bool
    up: bool
    seen_at: datetime | None
    problem: str
    cpus: int | None
    memory_bytes: int | None
    disk_bytes: int | None
    pool_data_percent: float | None
    pool_metadata_percent: float | None
    takes_nothing_new: list[str]
    promisable_vcpus: int | None
    promisable_memory_bytes: int | None
    promisable_disk_bytes: int | None
    promised_vcpus: int
    promised_memory_bytes: int
    promised_disk_bytes: int
    guests: int

    @classmethod
    def of(cls, state: NodeState, record: NodeRecord | None) -> NodeOut:
        node = state.node
        limit = capacity(state)
        return cls(
            name=node.name,
            zone=node.zone,
            kind=node.kind.value,
            address=node.address,
            port=node.port,
            driver=node.driver,
            maintenance=node.maintenance,
            announced=None if record is None or record.announced is None else AnnouncedOut.of(record.announced),
            drained=bool(state.drained),
            drained_why=state.drained,
            lost="" if state.lost is None else str(state.lost),
            enrolled=state.enrolled,
            up=state.up,
            seen_at=state.seen_at,
            problem="" if record is None else record.problem,
            cpus=state.cpus,
            memory_bytes=state.memory_bytes,
            disk_bytes=state.disk_bytes,
            pool_data_percent=state.filled.data_percent,
            pool_metadata_percent=state.filled.metadata_percent,
            takes_nothing_new=list(closed(state)),
            promisable_vcpus=None if limit is None else limit.vcpus,
            promisable_memory_bytes=None if limit is None else limit.memory_bytes,
            promisable_disk_bytes=None if limit is None else limit.disk_bytes,
            promised_vcpus=state.promised_vcpus,
            promised_memory_bytes=state.promised_memory_bytes,
            promised_disk_bytes=state.promised_disk_bytes,
            guests=state.guests,
        )


class NodeDetail(NodeOut):
    """With its ratios, its pinned host key, its agent, and what it last told of itself."""

    user: str
    pool: str
    bridge: str
    cpu_ratio: float
    memory_ratio: float
    disk_ratio: float
    reserved_memory_bytes: int
    disk_watermark_percent: float
    metadata_watermark_percent: float
    heavy_slots: int
    host_key: str
    agent_version: str
    agent_sha256: str
    enrolled_at: datetime | None
    drained_at: datetime | None
    drained_by: str
    facts: dict[str, Any]


class HostKeyOut(BaseModel):
    """``fingerprint`` as `ssh-keygen -l` prints it."""

    kind: str
    fingerprint: str
    line: str

    @classmethod
    def of(cls, key: HostKey) -> HostKeyOut:
        return cls(kind=key.kind, fingerprint=key.fingerprint, line=key.line)


class HostKeys(BaseModel):
    items: list[HostKeyOut]


class EnrolRequest(BaseModel):
    """``fingerprint``: of the host key you have compared with the node's own; ``identity``: a private key file, on the
    controller's machine, that may log in to the node now; ``install``: Debian packages that are missing are installed there.
    """

    model_config = ConfigDict(extra="forbid")

    fingerprint: str = Field(pattern=r"^SHA256:[A-Za-z0-9+/=._-]{1,64}$")
    identity: str = Field(min_length=1, max_length=4096, pattern=r"^/[^\x00-\x1f]*$")
    install: bool = False


class RequirementOut(BaseModel):
    """One thing a node must have; ``mend`` says what to do where ``ok`` is false."""

    name: str
    ok: bool
    found: str = ""
    mend: str = ""
    package: str = ""


class EnrolReport(BaseModel):
    """``complete``: everything is there, and the host hook was seen to refuse a held guest (null on a hosting node, which has
    none). ``said``: what was done."""

    complete: bool
    host_key: HostKeyOut
    agent_version: str
    agent_sha256: str
    hook_refuses: bool | None
    requirements: list[RequirementOut]
    said: list[str]


class DoctorReport(BaseModel):
    """What the agent found; ``accelerated`` false = software emulation, null = a hosting node."""

    ok: bool
    accelerated: bool | None
    requirements: list[RequirementOut]


class StrayOut(BaseModel):
    """What there is of an account that is none on the node. ``service_id``: whose it was, "" = nobody of ours; ``marked``: the
    controller's mark is there, and the user is not."""

    user: str
    service_id: str
    marked: bool
    found: list[str]


class OrphanOut(BaseModel):
    """``kind``: pool, vhost, crontab, linger or files, of a user that is not on the node."""

    kind: str
    what: str
    says: str


class NodeResidueOut(BaseModel):
    """``clean``: nothing was found, and every store could be looked into (``unknown`` names those that could not)."""

    clean: bool
    accounts: list[StrayOut]
    orphans: list[OrphanOut]
    unknown: list[str]


@router.get("")
def list_nodes(_caller: Reader, context: Context, limit: Limit = 100, after: After = "") -> Page[NodeOut]:
    """Declared nodes by name."""
    declared = sorted((node for node in context.config.nodes if node.name > after), key=lambda node: node.name)
    with context.db.read() as conn:
        states = nodes.states(conn, tuple(declared[:limit]))
        records = {record.name: record for record in nodes.list_all(conn)}
    items = [NodeOut.of(state, records.get(state.node.name)) for state in states]
    return Page(items=items, next=declared[limit - 1].name if len(declared) > limit else None)


@router.get("/{name}")
def get_node(_caller: Reader, context: Context, name: Name) -> NodeDetail:
    """One node."""
    node = declared(context, name)
    with context.db.read() as conn:
        (state,) = nodes.states(conn, (node,))
        record = nodes.get(conn, name) or NodeRecord(name=name)
    return NodeDetail(
        **NodeOut.of(state, record).model_dump(),
        user=node.user,
        pool=node.pool,
        bridge=node.bridge,
        cpu_ratio=node.cpu_ratio,
        memory_ratio=node.memory_ratio,
        disk_ratio=node.disk_ratio,
        reserved_memory_bytes=node.reserved_memory_bytes,
        disk_watermark_percent=node.disk_watermark_percent,
        metadata_watermark_percent=node.metadata_watermark_percent,
        heavy_slots=node.heavy_slots,
        host_key=record.host_key,
        agent_version=record.agent_version,
        agent_sha256=record.agent_sha256,
        enrolled_at=record.enrolled_at,
        drained_at=record.drained_at,
        drained_by=record.drained_by,
        facts=redact(record.facts),
    )


@router.get("/{name}/host-keys")
def get_host_keys(_caller: Operator, context: Context, name: Name) -> HostKeys:
    """What the node presents now. Nothing is trusted by asking: compare it with `ssh-keygen -l` on the node itself."""
    found = context.enrolment.host_keys(declared(context, name), deadline=ASK_DEADLINE)
    return HostKeys(items=[HostKeyOut.of(key) for key in found])


@router.post("/{name}/enrol", response_model=EnrolReport)
def enrol_node(caller: Admin, context: Context, once: OnceOnly, name: Name, request: EnrolRequest) -> JSONResponse:
    """Make the machine a node: agent, launcher and our key are put there, on a hypervisor the host hook, too, and its host key
    is pinned; a hosting node is made ready for accounts."""
    node = declared(context, name)
    return once.look(lambda: _enrol(context, node, request, who=caller.name))


@router.post("/{name}/doctor", response_model=DoctorReport)
def examine_node(_caller: Operator, context: Context, once: OnceOnly, name: Name) -> JSONResponse:
    """Have the agent look for everything that the node must have."""
    node = declared(context, name)
    return once.look(lambda: _examine(context, node))


@router.post("/{name}/residue", response_model=NodeResidueOut)
def look_for_residue(_caller: Operator, context: Context, once: OnceOnly, name: Name) -> JSONResponse:
    """What others left on a hosting node: of accounts that are none there, and of users that are gone. Nothing is touched."""
    node = declared(context, name)
    return once.look(lambda: _residue(context, node))


def _residue(context: ApiContext, node: Node) -> NodeResidueOut:
    found = context.node_residue(node)
    with context.db.read() as conn:
        services = account_uids.services_of(conn, (int(each.user[1:]) for each in found.accounts))
    return NodeResidueOut(
        clean=not (found.accounts or found.orphans or found.unknown),
        accounts=[
            StrayOut(user=each.user, service_id=services.get(int(each.user[1:]), ""), marked=each.marked, found=list(each.found))
            for each in found.accounts
        ],
        orphans=[OrphanOut(kind=each.kind, what=each.what, says=each.says) for each in found.orphans],
        unknown=list(found.unknown),
    )


def declared(context: ApiContext, name: str) -> Node:
    for node in context.config.nodes:
        if node.name == name:
            return node
    raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")


def _enrol(context: ApiContext, node: Node, request: EnrolRequest, *, who: str) -> EnrolReport:
    presented = context.enrolment.host_keys(node, deadline=ASK_DEADLINE)
    key = next((key for key in presented if key.fingerprint == request.fingerprint), None)
    if key is None:
        raise PreconditionError(
            f"the node {node.name} presents no host key with the fingerprint {request.fingerprint}",
            hint=f"compare again: `orchestrator node host-keys {node.name}`",
            presented=[key.fingerprint for key in presented],
        )
    said: list[str] = []
    report = context.enrolment.enrol(
        node,
        host_key=key,
        identity=request.identity,
        say=said.append,
        deadline=ENROL_DEADLINE,
        install=request.install,
    )
    now = context.clock.now()
    with context.db.write() as conn:
        nodes.set_enrolled(
            conn,
            node.name,
            host_key=key.line,
            agent_version=report.agent_version,
            agent_sha256=report.agent_sha256,
            now=now,
        )
        audit.append(
            conn,
            at=now,
            who=who,
            what="node enrolled",
            facts={"node": node.name, "fingerprint": key.fingerprint, "complete": report.complete},
        )
    # So that the node can take guests at once.
    context.look(node.name)
    return _report(report, said)


def _report(report: EnrolmentReport, said: list[str]) -> EnrolReport:
    return EnrolReport(
        complete=report.complete,
        host_key=HostKeyOut.of(report.host_key),
        agent_version=report.agent_version,
        agent_sha256=report.agent_sha256,
        hook_refuses=report.hook_refuses,
        requirements=[
            RequirementOut(name=r.name, ok=r.ok, found=r.found, mend=r.mend, package=r.package) for r in report.requirements
        ],
        said=said,
    )


def _examine(context: ApiContext, node: Node) -> DoctorReport:
    found = context.doctor(node)
    requirements = [RequirementOut.model_validate(entry) for entry in found.get("requirements", [])]
    return DoctorReport(
        ok=all(requirement.ok for requirement in requirements),
        accelerated=found.get("accelerated", False),
        requirements=requirements,
    )
