"""What the API asks of the engine, as it sees it: the API does not import the engine, ``wiring`` hands it over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.domain.events import Event
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job
from orchestrator.domain.leaving import Leave
from orchestrator.domain.playbooks import Workflow
from orchestrator.domain.reconciliation import BillingList, Reconciled
from orchestrator.domain.services import CancellationKind

if TYPE_CHECKING:
    from orchestrator.domain.account_parts import AccountSettings
    from orchestrator.domain.account_settings import AccountChange
    from orchestrator.domain.backups.restoring import Asked
    from orchestrator.domain.backups.words import Generation
    from orchestrator.domain.conduct import Answer
    from orchestrator.domain.planned import Announced
    from orchestrator.domain.services import HoldReason
    from orchestrator.engine.conduct import ComplaintSaid, HoldAsked
    from orchestrator.engine.drifting import DriftReport
    from orchestrator.engine.fleet import Emptied
    from orchestrator.engine.hosting import Adopted, Adopting, Given, Moved, Moving
    from orchestrator.engine.losing import Found, Stated
    from orchestrator.engine.restoring import Restored
    from orchestrator.engine.taking_in import Newcomer, Taken
    from orchestrator.store.charges import ChargeRecord
    from orchestrator.store.database import Connection
    from orchestrator.store.nodes import NodeRecord


class Accepted(Protocol):
    """What became of an event; ``job_id`` '' = it made no job. ``detail`` is a sentence for billing."""

    @property
    def outcome(self) -> str: ...

    @property
    def job_id(self) -> str: ...

    @property
    def detail(self) -> str: ...


class Submitted(Protocol):
    """What became of a command; ``job_id`` '' = nothing had to be done, ``waits``: why the job waits for approval."""

    @property
    def job_id(self) -> str: ...

    @property
    def detail(self) -> str: ...

    @property
    def waits(self) -> str: ...


class MoneyControl(Protocol):
    """What operators do about disputes and charges."""

    def dispute(
        self,
        service_id: str,
        invoice_id: str,
        *,
        who: str,
        why: str,
        part: bool,
        issued_at: datetime | None,
        beside: Callable[[Connection, Submitted], None],
    ) -> Submitted: ...

    def settle(
        self,
        service_id: str,
        invoice_id: str,
        *,
        who: str,
        why: str,
        upheld: bool,
        beside: Callable[[Connection, Submitted], None],
    ) -> Submitted: ...

    def take_back(self, charge_id: str, *, who: str, why: str, beside: Callable[[Connection, ChargeRecord], None]) -> object: ...


class RepositoriesControl(Protocol):
    """What operators do about repositories of backups."""

    def give_up(
        self,
        service_id: str,
        number: int,
        *,
        who: str,
        why: str,
        last: bool,
        beside: Callable[[Connection, Generation], None],
    ) -> object: ...


class Leaves(Protocol):
    """How a service is left; see ``engine.leaving``."""

    def cancel(
        self,
        service_id: str,
        *,
        who: str,
        why: str,
        kind: CancellationKind,
        confirmed: bool,
        on: datetime | None,
        beside: Callable[[Connection, Submitted], None],
    ) -> Submitted: ...

    def keep(self, service_id: str, *, who: str, why: str, beside: Callable[[Connection, Submitted], None]) -> Submitted: ...

    def forget(self, service_id: str, *, who: str, why: str, beside: Callable[[Connection, Submitted], None]) -> Submitted: ...

    def would_end(self, service_id: str, *, kind: CancellationKind, confirmed: bool, on: datetime | None) -> Leave: ...


class Restores(Protocol):
    """How restores are asked for; see ``engine.restoring``."""

    def restore(self, service_id: str, asked: Asked, *, who: str, beside: Callable[[Connection, Restored], None]) -> Restored: ...

    def would(self, service_id: str, asked: Asked, *, who: str) -> Restored: ...


class Restarts(Protocol):
    """Planned restarts; see ``engine.restarting``."""

    def call_off(self, service_id: str, *, who: str, why: str, beside: Callable[[Connection, Submitted], None]) -> Submitted: ...


class Drills(Protocol):
    """Restore drills; see ``engine.drilling``."""

    def now(self, service_id: str, *, who: str, why: str, beside: Callable[[Connection, Submitted], None] = ...) -> Submitted: ...


class Nodes(Protocol):
    """What operators decide about nodes; see ``engine.fleet``."""

    def drain(self, name: str, *, who: str, why: str, beside: Callable[[Connection, NodeRecord], None]) -> NodeRecord: ...

    def undrain(self, name: str, *, who: str, why: str, beside: Callable[[Connection, NodeRecord], None]) -> NodeRecord: ...

    def evacuate(self, name: str, *, who: str, why: str, at_once: int) -> Emptied: ...


class Loses(Protocol):
    """What operators decide about nodes that never come back; see ``engine.losing``."""

    def lose(self, name: str, *, who: str, why: str, said: str, beside: Callable[[Connection, Stated], None]) -> Stated: ...

    def statements(self, name: str) -> tuple[dict[str, Any], ...]: ...

    def restore(
        self, service_id: str, *, to: str, backup: str, who: str, why: str, beside: Callable[[Connection, Submitted], None]
    ) -> Submitted: ...

    def would(self, service_id: str, *, to: str, backup: str) -> tuple[Workflow, str]: ...

    def restore_all(self, name: str, *, who: str, why: str, at_once: int) -> Emptied: ...

    def found(self, name: str, *, who: str, why: str, beside: Callable[[Connection, Found], None]) -> Found: ...


class Announcements(Protocol):
    """Maintenance of nodes; see ``engine.announcing``."""

    def announce(self, wanted: Announced, *, beside: Callable[[Connection, NodeRecord], None]) -> None: ...

    def call_off(self, name: str, *, who: str, why: str, beside: Callable[[Connection, NodeRecord], None]) -> None: ...


class Drifts(Protocol):
    """What differs between records and nodes; see ``engine.drifting``."""

    def look(self, node: str = "") -> DriftReport: ...

    def repair(self, node: str = "", *, who: str, why: str, dry: bool = False) -> DriftReport: ...


class TakesIn(Protocol):
    """Guests that nodes have and the store has not; see ``engine.taking_in``."""

    def rebuild(self, node: str, wanted_services: Sequence[str] = (), *, who: str, dry: bool = False) -> tuple[Taken, ...]: ...

    def adopt(self, node: str, newcomer: Newcomer, *, who: str, dry: bool = False) -> Taken: ...


class Accounts(Protocol):
    """What is set of hosting accounts; see ``engine.hosting``."""

    def settings(self, service_id: str) -> AccountSettings: ...

    def set_account(
        self,
        service_id: str,
        change: AccountChange,
        *,
        who: str,
        why: str,
        beside: Callable[[Connection, Submitted], None],
    ) -> Submitted: ...

    def would_set(self, service_id: str, change: AccountChange) -> Workflow: ...

    def bring_in(self, service_id: str, asked: Moving, *, who: str, beside: Callable[[Connection, Moved], None]) -> Moved: ...

    def would_bring_in(self, service_id: str, asked: Moving) -> Moved: ...

    def adopt(self, service_id: str, asked: Adopting, *, who: str, beside: Callable[[Connection, Adopted], None]) -> Adopted: ...

    def would_adopt(self, service_id: str, asked: Adopting) -> Adopted: ...

    def certify(
        self, service_id: str, given: Given, *, who: str, why: str, beside: Callable[[Connection, Submitted], None]
    ) -> Submitted: ...


class Conducts(Protocol):
    """Holds and complaints: see ``engine/conduct.py``."""

    def hold(
        self, service_id: str, asked: HoldAsked, who: str, *, beside: Callable[[Connection, Submitted], None] = ...
    ) -> Submitted: ...

    def lift(
        self, service_id: str, reason: HoldReason, who: str, why: str, *, beside: Callable[[Connection, Submitted], None] = ...
    ) -> Submitted: ...

    def report(
        self, service_id: str, said: ComplaintSaid, who: str, *, beside: Callable[[Connection, Submitted], None] = ...
    ) -> Submitted: ...

    def answer(
        self, service_id: str, complaint_id: str, given: Answer, *, beside: Callable[[Connection, Submitted], None] = ...
    ) -> Submitted: ...


class Reconciles(Protocol):
    """What billing's own list says: see ``engine/reconciling.py``."""

    def look(self, given: BillingList, *, keep_waiting: bool) -> Reconciled: ...

    def mend(
        self,
        given: BillingList,
        who: str,
        *,
        keep_waiting: bool,
        beside: Callable[[Connection, Reconciled], None] = ...,
    ) -> Reconciled: ...


class Control(Protocol):
    """The engine, as far as the API uses it. ``who`` goes into the audit, ``beside`` writes in the act's own transaction."""

    @property
    def controller_id(self) -> str: ...

    @property
    def money(self) -> MoneyControl: ...

    @property
    def conduct(self) -> Conducts: ...

    @property
    def reconciliation(self) -> Reconciles: ...

    @property
    def hosting(self) -> Accounts: ...

    @property
    def restoring(self) -> Restores: ...

    @property
    def restarting(self) -> Restarts: ...

    @property
    def drilling(self) -> Drills: ...

    @property
    def fleet(self) -> Nodes: ...

    @property
    def announcing(self) -> Announcements: ...

    @property
    def losing(self) -> Loses: ...

    @property
    def taking_in(self) -> TakesIn: ...

    @property
    def drifting(self) -> Drifts: ...

    @property
    def repositories(self) -> RepositoriesControl: ...

    def answering(self) -> AbstractContextManager[None]: ...

    def accept(self, event: Event, *, body: bytes, body_sha256: str) -> Accepted: ...

    def command(
        self,
        kind: IntentKind,
        service_id: str,
        *,
        who: str,
        why: str,
        arguments: Mapping[str, object],
        beside: Callable[[Connection, Submitted], None] = ...,
    ) -> Submitted: ...

    def dry_run(self, kind: IntentKind, service_id: str, arguments: Mapping[str, object]) -> Workflow: ...

    def approve(self, job_id: str, who: str, *, why: str = "", beside: Callable[[Connection, None], None] = ...) -> object: ...

    def cancel(self, job_id: str, who: str, *, why: str = "", beside: Callable[[Connection, None], None] = ...) -> object: ...

    def retry(self, job_id: str, who: str, *, why: str = "", beside: Callable[[Connection, None], None] = ...) -> object: ...

    def replay(self, seq: int, who: str, *, beside: Callable[[Connection, Accepted], None] = ...) -> Accepted: ...

    def retry_message(self, message_id: str, who: str, *, beside: Callable[[Connection, int], None] = ...) -> int: ...

    def retry_dead_messages(
        self, who: str, *, kind: str, service_id: str, beside: Callable[[Connection, int], None] = ...
    ) -> int: ...

    @property
    def leaving(self) -> Leaves: ...

    def freeze(self, who: str, why: str) -> object: ...

    def unfreeze(self, who: str) -> list[Job]: ...

    def release(self, who: str, why: str, *, terminates: int | None = ...) -> object: ...
