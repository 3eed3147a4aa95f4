"""Deployments of machines (port Deployments), and the desk's side of them: what the deploy image itself asks and says.

The medium's URL has a secret in it, from which the token follows: so the ISO can be served with the token in it, and neither is
kept. Whoever comes with a token that was used, or is over, gets nothing, and the audit says so.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.canonical import canonical_json
from orchestrator.domain.deployments import differences, seed
from orchestrator.domain.errors import Forbidden, NotFound, RequestError, Unauthenticated, WrongState
from orchestrator.ports.clock import Clock
from orchestrator.ports.deployment import REPORTED, Deployment, Disk, Expected, Inspection, Network, Nic, Task, TaskState
from orchestrator.store import audit
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import deployment_tasks, deployments

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
MEDIA = "/deploy/v1/media/"
MEDIUM = "deploy.iso"  # some BMCs look at how a URL ends
# Of one token: whoever keeps trying fills no audit trail.
NOTED = 20
HEARD_EVERY = timedelta(seconds=5)
_TOKEN = b"orchestrator/deploy-token/1"
_SAID = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who says that it is the machine."""

    uuid: str
    serials: tuple[str, ...]
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the image says of a task."""

    key: str
    state: str
    fraction: float
    says: str
    result: Mapping[str, Any]


class StoreDeployments:
    """``url``: the desk's, as machines and BMCs reach it. ``certificate_sha256``: of the desk's certificate. ``random`` gives
    bytes."""

    def __init__(self, db: Database, clock: Clock, *, url: str, certificate_sha256: str, random: Callable[[int], bytes]) -> None:
        self._db, self._clock, self._random = db, clock, random
        self._url, self._certificate = url.rstrip("/"), certificate_sha256

    # -- the port -----------------------------------------------------------------------------------------------------------

    def open(self, machine: str, *, job_id: str, expected: Expected, network: Network) -> str:
        """See the port."""
        secret = _text(self._random(32))
        values = {
            "machine": machine,
            "job_id": job_id,
            "opened_at": self._clock.now(),
            "medium_sha256": _sha256(secret),
            "token_sha256": _sha256(_token(secret)),
            "expected": asdict(expected),
            "network": asdict(network),
        }
        self._seed(values, secret)  # one that does not fit is no token to be given
        with self._db.write() as conn:
            self._end(conn, machine)
            others = sa.and_(deployment_tasks.c.machine == machine, deployment_tasks.c.job_id != job_id)
            conn.execute(sa.delete(deployment_tasks).where(others))
            again = _tasks_of(machine, job_id, deployment_tasks.c.state != DONE)
            conn.execute(sa.update(deployment_tasks).where(again).values(state=WAITING, fraction=0.0, says="", result={}))
            conn.execute(sa.insert(deployments).values(**values))
            _note(conn, self._clock.now(), "deployment opened", machine, job_id)
        return f"{self._url}{MEDIA}{secret}/{MEDIUM}"

    def deployment(self, machine: str, *, job_id: str) -> Deployment | None:
        """See the port."""
        with self._db.read() as conn:
            row = _open_row(conn, machine, job_id)
            if row is None:
                return None
            tasks = conn.execute(
                sa.select(deployment_tasks).where(_tasks_of(machine, job_id)).order_by(deployment_tasks.c.number)
            )
            return Deployment(
                machine=machine,
                job_id=job_id,
                opened_at=row.opened_at,
                claimed_at=row.claimed_at,
                heard_at=row.heard_at,
                refused=row.refused,
                inspection=None if row.inspection is None else inspection_of(row.inspection),
                tasks=tuple(
                    TaskState(key=task.key, state=task.state, fraction=task.fraction, says=task.says, result=task.result)
                    for task in tasks
                ),
            )

    def give(self, machine: str, task: Task, *, job_id: str) -> None:
        """See the port."""
        arguments = dict(task.arguments)
        digest = hashlib.sha256(canonical_json({"kind": task.kind, "arguments": arguments}, floats=True)).hexdigest()
        with self._db.write() as conn:
            if _open_row(conn, machine, job_id) is None:
                raise WrongState(f"no deployment of {machine} is open for the job {job_id}")
            known = conn.execute(
                sa.select(deployment_tasks.c.arguments_sha256).where(
                    _tasks_of(machine, job_id, deployment_tasks.c.key == task.key)
                )
            ).scalar_one_or_none()
            if known is not None:
                if known != digest:
                    raise WrongState(f"the task {task.key} of {machine} was given with something else before")
                return
            count = conn.execute(sa.select(sa.func.count()).where(_tasks_of(machine, job_id))).scalar_one()
            conn.execute(
                sa.insert(deployment_tasks).values(
                    machine=machine,
                    job_id=job_id,
                    key=task.key,
                    number=count,
                    kind=task.kind,
                    arguments=arguments,
                    arguments_sha256=digest,
                    state=WAITING,
                )
            )

    def close(self, machine: str, *, job_id: str) -> None:
        """See the port."""
        with self._db.write() as conn:
            if _open_row(conn, machine, job_id) is not None:
                self._end(conn, machine)
                conn.execute(sa.delete(deployment_tasks).where(_tasks_of(machine, job_id)))
                _note(conn, self._clock.now(), "deployment closed", machine, job_id)

    # -- the desk -----------------------------------------------------------------------------------------------------------

    def medium(self, secret: str) -> str:
        """The seed to put into the image that is served at that URL. Raises NotFound where it is over, or was never given."""
        with self._db.read() as conn:
            row = conn.execute(
                sa.select(deployments).where(deployments.c.medium_sha256 == _sha256(secret), deployments.c.closed_at.is_(None))
            ).one_or_none()
        if row is None:
            raise NotFound("there is no such medium")
        return self._seed(dict(row._mapping), secret)

    def claim(self, token: str, identity: Identity, *, peer: str) -> str:
        """The session's secret, once for each token. ``peer``: whence it came, for the audit.

        Raises Unauthenticated for a token that is unknown, used or over, Forbidden where the machine is not the expected one.
        """
        now, session = self._clock.now(), _text(self._random(32))
        with self._db.write() as conn:
            row = conn.execute(sa.select(deployments).where(deployments.c.token_sha256 == _sha256(token))).one_or_none()
            refusal = _refusal(row, identity)
            if row is not None and not refusal:
                values = {"claimed_at": now, "heard_at": now, "session_sha256": _sha256(session)}
                conn.execute(sa.update(deployments).where(deployments.c.number == row.number).values(**values))
                facts = {"uuid": identity.uuid, "serials": list(identity.serials), "macs": list(identity.macs), "peer": peer}
                _note(conn, now, "deployment claimed", row.machine, row.job_id, **facts)
            elif row is not None:
                self._refuse(conn, row, refusal, peer=peer, now=now)
        if row is None:
            raise Unauthenticated("nobody was given this token")
        if refusal:
            raise (Unauthenticated if row.claimed_at or row.closed_at else Forbidden)(refusal)
        return session

    def next(self, session: str) -> Task | None:
        """The task to do now, None = there is none yet: the one that runs already, where the agent was started anew, else the
        first that waits. Raises Unauthenticated where the session is over."""
        with self._db.write() as conn:
            row = self._session(conn, session)
            pending = deployment_tasks.c.state.in_((RUNNING, WAITING))
            task = conn.execute(
                sa.select(deployment_tasks)
                .where(_tasks_of(row.machine, row.job_id, pending))
                .order_by(deployment_tasks.c.number)
                .limit(1)
            ).one_or_none()
            if task is None:
                return None
            this = _tasks_of(row.machine, row.job_id, deployment_tasks.c.key == task.key)
            conn.execute(sa.update(deployment_tasks).where(this).values(state=RUNNING))
            return Task(key=task.key, kind=task.kind, arguments=task.arguments)

    def waits(self, session: str) -> bool:
        """Whether there is something to do. Raises as ``next``, and writes nothing most of the time: it is asked often."""
        with self._db.read() as conn:
            row = _session_row(conn, session)
            pending = deployment_tasks.c.state.in_((RUNNING, WAITING))
            found = conn.execute(sa.select(sa.func.count()).where(_tasks_of(row.machine, row.job_id, pending))).scalar_one()
        if self._clock.now() - row.heard_at > HEARD_EVERY:
            with self._db.write() as conn:
                self._session(conn, session)
        return bool(found)

    def report(self, session: str, report: Report) -> None:
        """Raises Unauthenticated where the session is over, WrongState for a task that it was not given."""
        if report.state not in (RUNNING, DONE, FAILED):
            raise RequestError(f"'{report.state}' is no state of a task")
        with self._db.write() as conn:
            row = self._session(conn, session)
            this = _tasks_of(row.machine, row.job_id, deployment_tasks.c.key == report.key)
            task = conn.execute(sa.select(deployment_tasks).where(this)).one_or_none()
            if task is None or task.state == WAITING:
                raise WrongState(f"the task {report.key} was not given to this session")
            if task.state in (DONE, FAILED):
                return  # said again, because the answer was lost
            inspection = inspection_of(report.result) if (task.kind, report.state) == ("inspect", DONE) else None
            result = dict(report.result)
            if task.kind == "erase" and report.state != RUNNING:  # the controller may look at it much later
                result[REPORTED] = self._clock.now().isoformat(timespec="seconds")
            said = {"state": report.state, "fraction": report.fraction, "says": report.says[:_SAID], "result": result}
            conn.execute(sa.update(deployment_tasks).where(this).values(**said))
            if inspection is not None:
                number = deployments.c.number == row.number
                conn.execute(sa.update(deployments).where(number).values(inspection=asdict(inspection)))
            if report.state != RUNNING:
                facts = {"task": report.key, "kind": task.kind, "state": report.state, "says": said["says"]}
                _note(conn, self._clock.now(), "deployment task", row.machine, row.job_id, **facts)

    def fetches(self, session: str, image: str) -> None:
        """Raises Unauthenticated where the session is over, Forbidden where no task of its own writes that image now."""
        with self._db.read() as conn:
            row = _session_row(conn, session)
            running = sa.and_(deployment_tasks.c.state == RUNNING, deployment_tasks.c.kind == "write")
            tasks = conn.execute(sa.select(deployment_tasks.c.arguments).where(_tasks_of(row.machine, row.job_id, running)))
            if image not in [task.arguments.get("image") for task in tasks]:
                raise Forbidden(f"{row.machine} was not told to write the image {image}")

    # -- both ---------------------------------------------------------------------------------------------------------------

    def _seed(self, row: Mapping[str, Any], secret: str) -> str:
        known = {"url": self._url, "sha256": self._certificate, "token": _token(secret), "machine": row["machine"]}
        return seed(known | dict(row["network"]))

    def _session(self, conn: Connection, session: str) -> sa.Row[Any]:
        """The row of the session, which was heard just now."""
        row = _session_row(conn, session)
        conn.execute(sa.update(deployments).where(deployments.c.number == row.number).values(heard_at=self._clock.now()))
        return row

    def _end(self, conn: Connection, machine: str) -> None:
        left = sa.and_(deployments.c.machine == machine, deployments.c.closed_at.is_(None))
        conn.execute(sa.update(deployments).where(left).values(closed_at=self._clock.now()))

    def _refuse(self, conn: Connection, row: sa.Row[Any], why: str, *, peer: str, now: datetime) -> None:
        values = {"refused": why[:_SAID], "refusals": row.refusals + 1}
        conn.execute(sa.update(deployments).where(deployments.c.number == row.number).values(**values))
        if row.refusals < NOTED:
            _note(conn, now, "deployment refused", row.machine, row.job_id, why=why[:_SAID], peer=peer)


def forget(conn: Connection, *, before: datetime) -> int:
    """Delete those that were closed before ``before``; how many went. Their tasks went when they were closed."""
    return int(conn.execute(sa.delete(deployments).where(deployments.c.closed_at < before)).rowcount)


def inspection_of(values: Mapping[str, Any]) -> Inspection:
    """Out of the image's JSON. Raises RequestError."""
    try:
        rest = {key: value for key, value in values.items() if key not in ("disks", "nics")}
        disks, nics = tuple(Disk(**disk) for disk in values["disks"]), tuple(Nic(**nic) for nic in values["nics"])
        return Inspection(**rest, disks=disks, nics=nics)
    except (KeyError, TypeError) as exc:
        raise RequestError(f"this is no inspection: {exc}") from exc


def _refusal(row: sa.Row[Any] | None, identity: Identity) -> str:
    """Why whoever has the token gets nothing; '' = it does."""
    if row is None:
        return ""
    if row.closed_at is not None:
        return "the deployment of this token is over"
    if row.claimed_at is not None:
        return "this token was claimed before, and is good for once"
    wrong = differences(
        uuid=row.expected["uuid"],
        serials=row.expected["serials"],
        found_uuid=identity.uuid,
        found_serials=identity.serials,
    )
    return f"this is not the machine {row.machine}: {'; '.join(wrong)}" if wrong else ""


def _session_row(conn: Connection, session: str) -> sa.Row[Any]:
    live = sa.and_(deployments.c.session_sha256 == _sha256(session), deployments.c.closed_at.is_(None))
    row = conn.execute(sa.select(deployments).where(live)).one_or_none()
    if row is None:
        raise Unauthenticated("this session is over, or never was")
    return row


def _open_row(conn: Connection, machine: str, job_id: str) -> sa.Row[Any] | None:
    mine = sa.and_(deployments.c.machine == machine, deployments.c.job_id == job_id, deployments.c.closed_at.is_(None))
    return conn.execute(sa.select(deployments).where(mine)).one_or_none()


def _tasks_of(machine: str, job_id: str, *also: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(deployment_tasks.c.machine == machine, deployment_tasks.c.job_id == job_id, *also)


def _note(conn: Connection, now: datetime, what: str, machine: str, job_id: str, **facts: Any) -> None:
    audit.append(conn, at=now, who="deploy", what=what, job_id=job_id, facts={"machine": machine, **facts})


def _token(secret: str) -> str:
    return _text(hmac.new(secret.encode(), _TOKEN, hashlib.sha256).digest())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
