"""The port HostingNode over the agent's account commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from orchestrator.domain.accounts import AccountFacts, AccountSpec
from orchestrator.domain.adopting import Adoption, Stranger
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.moving_in import Tarball
from orchestrator.drivers.hosting import answers
from orchestrator.ports.hosting_node import (
    AccountUsage,
    AccountWipe,
    Applied,
    Brought,
    DatabaseDump,
    HostingReport,
    NodeResidue,
    Packed,
    Residue,
    SetAside,
    TakenOut,
    WayIn,
)
from orchestrator.ports.node_transport import NodeTransport

T = TypeVar("T")


class AgentHostingNode:
    """``agent`` reaches the node ``name``; it is not closed with this. ``backups``: of its accounts some are made."""

    def __init__(self, agent: NodeTransport, *, name: str, backups: bool = False) -> None:
        self._agent = agent
        self._name = name
        self._backups = {"backups": True} if backups else {}

    def doctor(self, *, deadline: float, quick: bool = False) -> HostingReport:
        """See the port."""
        request = {**self._backups, **({"quick": True} if quick else {})}
        return self._ask("hosting-doctor", request, answers.report, deadline=deadline)

    def apply(self, spec: AccountSpec, *, job_id: str, deadline: float) -> Applied:
        """See the port."""

        def read(data: Mapping[str, Any]) -> Applied:
            return Applied(facts=AccountFacts.parse(data["facts"]), changed=tuple(str(word) for word in data["changed"]))

        return self._ask("account-apply", {"account": spec.dump(), "job_id": job_id}, read, deadline=deadline)

    def accounts(self, users: Sequence[str], *, deadline: float) -> tuple[AccountFacts, ...]:
        """See the port."""

        def read(data: Mapping[str, Any]) -> tuple[AccountFacts, ...]:
            return tuple(AccountFacts.parse(each) for each in data["accounts"])

        return self._ask("account-facts", {"users": list(users)}, read, deadline=deadline)

    def suspend(self, user: str, *, service_id: str, job_id: str, deadline: float) -> AccountFacts:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id}
        return self._ask("account-suspend", request, lambda data: AccountFacts.parse(data["facts"]), deadline=deadline)

    def probe(self, user: str, *, service_id: str, deadline: float) -> tuple[WayIn, ...]:
        """See the port."""

        def read(data: Mapping[str, Any]) -> tuple[WayIn, ...]:
            return tuple(answers.way(each) for each in data["ways"])

        return self._ask("account-probe", {"user": user, "service_id": service_id}, read, deadline=deadline)

    def unsuspend(self, user: str, *, service_id: str, job_id: str, deadline: float) -> Brought:
        """See the port."""

        def read(data: Mapping[str, Any]) -> Brought:
            return Brought(facts=AccountFacts.parse(data["facts"]), difference=tuple(str(each) for each in data["difference"]))

        request = {"user": user, "service_id": service_id, "job_id": job_id}
        return self._ask("account-unsuspend", request, read, deadline=deadline)

    def usage(self, users: Sequence[str], *, deadline: float) -> tuple[AccountUsage, ...]:
        """See the port."""

        def read(data: Mapping[str, Any]) -> tuple[AccountUsage, ...]:
            unknown = bool(data.get("unknown"))
            return tuple(answers.usage(each, unknown=unknown) for each in data["accounts"])

        return self._ask("account-usage", {"users": list(users)}, read, deadline=deadline)

    def wipe(self, user: str, *, service_id: str, job_id: str, deadline: float) -> AccountWipe:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id}
        return self._ask("account-wipe", request, lambda data: answers.wipe({"user": user, **data["report"]}), deadline=deadline)

    def residue(self, user: str, *, service_id: str, uid: int, clean: bool, deadline: float) -> Residue:
        """See the port."""
        request = {"service_id": service_id, "user": user, "uid": uid, "clean": clean}
        return self._ask("account-residue", request, answers.residue, deadline=deadline)

    def pack(self, user: str, *, service_id: str, job_id: str, deadline: float) -> Packed:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id}
        return self._ask("account-pack", request, answers.packed, deadline=deadline)

    def load(
        self, user: str, *, service_id: str, job_id: str, databases: Sequence[str], deadline: float
    ) -> tuple[DatabaseDump, ...]:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id, "databases": list(databases)}
        return self._ask("account-load", request, lambda data: answers.dumps(data["loaded"]), deadline=deadline)

    def unpack(self, user: str, *, service_id: str, deadline: float) -> None:
        """See the port."""
        self._agent.call("account-unpack", {"user": user, "service_id": service_id}, deadline=deadline)

    def show_restored(self, user: str, *, service_id: str, keep: Sequence[str], deadline: float) -> tuple[str, ...]:
        """See the port."""

        def read(data: Mapping[str, Any]) -> tuple[str, ...]:
            return tuple(str(each) for each in data["restored"])

        request = {"user": user, "service_id": service_id, "keep": list(keep)}
        return self._ask("account-restored", request, read, deadline=deadline)

    def node_residue(self, *, deadline: float) -> NodeResidue:
        """See the port."""
        return self._ask("node-residue", {}, answers.node_residue, deadline=deadline)

    def look_into(self, file: str, *, most_bytes: int, most_inodes: int, deadline: float) -> Tarball:
        """See the port."""
        request = {"file": file, "most_bytes": most_bytes, "most_inodes": most_inodes}
        return self._ask("account-tarball", request, lambda data: answers.tarball(file, data), deadline=deadline)

    def bring_in(self, user: str, tarball: Tarball, *, service_id: str, job_id: str, deadline: float) -> tuple[DatabaseDump, ...]:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id, "file": tarball.file, "sha256": tarball.sha256}
        return self._ask("account-import", request, lambda data: answers.dumps(data["loaded"]), deadline=deadline)

    def take_out(self, user: str, *, service_id: str, job_id: str, deadline: float) -> TakenOut:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id}
        return self._ask("account-import-undo", request, answers.taken_out, deadline=deadline)

    def look_at(self, user: str, adoption: Adoption, *, service_id: str, deadline: float) -> Stranger:
        """See the port."""
        request = {"user": user, "service_id": service_id, "adoption": adoption.dump()}
        return self._ask("account-adopt-look", request, answers.stranger, deadline=deadline)

    def set_aside(self, user: str, adoption: Adoption, *, service_id: str, job_id: str, deadline: float) -> SetAside:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id, "adoption": adoption.dump()}
        return self._ask("account-adopt", request, answers.set_aside, deadline=deadline)

    def put_back(self, user: str, stranger: str, *, service_id: str, job_id: str, deadline: float) -> tuple[str, ...]:
        """See the port."""

        def read(data: Mapping[str, Any]) -> tuple[str, ...]:
            return tuple(str(each) for each in data["back"])

        request = {"user": user, "service_id": service_id, "job_id": job_id, "stranger": stranger}
        return self._ask("account-adopt-back", request, read, deadline=deadline)

    def gather(self, user: str, adoption: Adoption, *, service_id: str, job_id: str, deadline: float) -> Tarball:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id, "adoption": adoption.dump()}
        return self._ask("account-gather", request, lambda data: answers.tarball(str(data["file"]), data), deadline=deadline)

    def drop_gathered(self, user: str, *, service_id: str, job_id: str, deadline: float) -> None:
        """See the port."""
        request = {"user": user, "service_id": service_id, "job_id": job_id}
        self._agent.call("account-gathered", request, deadline=deadline)

    def close(self) -> None:
        """Nothing is kept open here."""

    def _ask(self, command: str, request: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], *, deadline: float) -> T:
        """Raises PermanentDriverError where the answer is none of that command's."""
        answer = self._agent.call(command, request, deadline=deadline)
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            raise PermanentDriverError(
                f"{self._name} answered {command} with what is no answer to it ({type(exc).__name__}: {exc})",
                hint="enrol the node again: its agent may be of another version",
                node=self._name,
            ) from exc
