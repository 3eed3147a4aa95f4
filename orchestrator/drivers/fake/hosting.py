"""The simulated hosting node: accounts with their ways in, in the simulated world.

An account remembers what its owner had switched off (``off``), so that coming back can be compared with what was. Acts that take
several parts on a real node take two here, so that one can be cut off between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from orchestrator.domain.accounts import AccountFacts, AccountSpec, user_of
from orchestrator.domain.adopting import Adoption, Stranger
from orchestrator.domain.errors import RequestError, WrongState
from orchestrator.domain.moving_in import Tarball
from orchestrator.drivers.fake import hosting_copies as copies
from orchestrator.drivers.fake import hosting_state as state_of
from orchestrator.drivers.fake import hosting_strangers as strangers
from orchestrator.drivers.fake import hosting_tarballs as tarballs
from orchestrator.drivers.fake import hosting_wipes as wipes
from orchestrator.drivers.fake.directories import directories_of
from orchestrator.drivers.fake.hosting_state import INNER, OUTER, WAYS
from orchestrator.drivers.fake.world import FakeWorld, State, pool_available
from orchestrator.ports.clock import Clock
from orchestrator.ports.hosting_node import (
    AccountUsage,
    AccountWipe,
    Applied,
    Brought,
    DatabaseDump,
    HostingReport,
    Need,
    NodeResidue,
    Packed,
    Residue,
    SetAside,
    TakenOut,
    WayIn,
)

T = TypeVar("T")

PHP = ("8.2",)


class FakeHostingNode:
    """HostingNode over a simulated node. ``clock`` dates wipes; without one they carry the epoch."""

    def __init__(self, world: FakeWorld, node: str, *, clock: Clock | None = None) -> None:
        self._world = world
        self._node = node
        self._clock = clock

    def doctor(self, *, deadline: float, quick: bool = False) -> HostingReport:
        """See the port. ``missing`` of the world's node names what it lacks."""

        def stage(node: State) -> HostingReport:
            lacking = tuple(Need(name=name, ok=False, hint=f"apt-get install {name}") for name in node["missing"])
            return HostingReport(
                needs=(Need(name="quota", ok=True, says="simulated"), *lacking),
                hostname=node["name"],
                cpus=node["cpus"],
                memory_bytes=node["memory_bytes"],
                disk_bytes=node["pool_bytes"],
                disk_free_bytes=pool_available(node),
                accounts=len(state_of.accounts_of(node)),
                php=PHP,
            )

        return self._world.act("hosting.doctor", node=self._node, subject=self._node, deadline=deadline, stages=[stage])

    def apply(self, spec: AccountSpec, *, job_id: str, deadline: float) -> Applied:
        """See the port. First the user with its limits, then what it serves."""
        changed: list[str] = []
        plain = spec.dump()

        def user(node: State) -> None:
            _require(node, spec)
            there = state_of.accounts_of(node).get(spec.user)
            if there is None:
                there = state_of.accounts_of(node)[spec.user] = state_of.made(spec, job_id)
                directories_of(node).setdefault(copies.directory_of(spec.user), {})
                changed.append("user")
            state_of.require(there, spec.service_id)
            state_of.take_back(there)
            for part in ("limits", "access"):
                if there[part] != plain[part]:
                    there[part] = plain[part]
                    changed.append(part)

        def parts(node: State) -> Applied:
            there = state_of.own(node, spec.user, spec.service_id)
            plain["sites"] = state_of.certified(plain["sites"], there["sites"])
            names = {each["name"] for each in plain["databases"]}
            plain["databases"] += [each for each in there["databases"] if each["name"] not in names]  # only a wipe drops one
            for part in ("sites", "databases", "cron"):
                if there[part] != plain[part]:
                    there[part] = plain[part]
                    changed.append(part)
            return Applied(facts=state_of.facts(there, node), changed=tuple(changed))

        def first(node: State) -> Applied | None:
            user(node)
            return None

        return self._act("apply", spec.user, deadline, first, parts)

    def accounts(self, users: Sequence[str], *, deadline: float) -> tuple[AccountFacts, ...]:
        """See the port. Of those that the world's node is ``mute`` about it says nothing."""

        def stage(node: State) -> tuple[AccountFacts, ...]:
            there = state_of.accounts_of(node)
            names = [name for name in (list(users) or sorted(there)) if name not in node.get("mute", ())]
            return tuple(state_of.facts(there[name], node) if name in there else state_of.absent(node, name) for name in names)

        return self._world.act("hosting.accounts", node=self._node, subject=",".join(users), deadline=deadline, stages=[stage])

    def suspend(self, user: str, *, service_id: str, job_id: str, deadline: float) -> AccountFacts:
        """See the port. What is ``stuck`` stays open, as a process that does not die would."""

        def close(node: State, ways: Sequence[str]) -> AccountFacts:
            there = state_of.own(node, user, service_id)
            if there["manifest"] is None:
                there["manifest"] = {"open": list(there["open"]), "by": job_id}
            there["open"] = [way for way in there["open"] if way not in ways or way in there["stuck"]]
            return state_of.facts(there, node)

        return self._act("suspend", user, deadline, lambda node: close(node, OUTER), lambda node: close(node, WAYS))

    def probe(self, user: str, *, service_id: str, deadline: float) -> tuple[WayIn, ...]:
        """See the port."""

        def stage(node: State) -> tuple[WayIn, ...]:
            there = state_of.own(node, user, service_id)
            return tuple(WayIn(way=way, open=way in there["open"], says=state_of.says(way, there)) for way in WAYS)

        return self._world.act("hosting.probe", node=self._node, subject=user, deadline=deadline, stages=[stage])

    def unsuspend(self, user: str, *, service_id: str, job_id: str, deadline: float) -> Brought:
        """See the port."""

        def back(node: State, ways: Sequence[str]) -> Brought | None:
            there = state_of.own(node, user, service_id)
            before = there["manifest"]
            if before is None:
                return Brought(facts=state_of.facts(there, node))
            there["open"] = [way for way in WAYS if way in there["open"] or (way in before["open"] and way in ways)]
            if ways == INNER:  # the world sees it last
                return None
            there["manifest"] = None
            apart = tuple(f"{way} is not as it was" for way in WAYS if (way in before["open"]) != (way in there["open"]))
            return Brought(facts=state_of.facts(there, node), difference=apart)

        return self._act("unsuspend", user, deadline, lambda node: back(node, INNER), lambda node: back(node, WAYS))

    def usage(self, users: Sequence[str], *, deadline: float) -> tuple[AccountUsage, ...]:
        """See the port. What is used is what the test has said (``use``)."""

        def stage(node: State) -> tuple[AccountUsage, ...]:
            there = state_of.accounts_of(node)
            return tuple(state_of.usage(there[name]) for name in (list(users) or sorted(there)) if name in there)

        return self._world.act("hosting.usage", node=self._node, subject=",".join(users), deadline=deadline, stages=[stage])

    def wipe(self, user: str, *, service_id: str, job_id: str, deadline: float) -> AccountWipe:
        """See the port. First the databases, from which on there is no way back, then the rest."""

        def begin(node: State) -> AccountWipe | None:
            wipes.begin(node, user, service_id=service_id, job_id=job_id, now=self._now())
            return None

        def end(node: State) -> AccountWipe:
            return wipes.end(node, user, service_id=service_id, now=self._now())

        return self._act("wipe", user, deadline, begin, end)

    def residue(self, user: str, *, service_id: str, uid: int, clean: bool, deadline: float) -> Residue:
        """See the port."""
        if user != user_of(uid):
            raise RequestError(f"{user} is not the user of uid {uid}")

        def stage(node: State) -> Residue:
            return wipes.residue(node, user, service_id=service_id, clean=clean)

        return self._world.act("hosting.residue", node=self._node, subject=user, deadline=deadline, stages=[stage])

    def pack(self, user: str, *, service_id: str, job_id: str, deadline: float) -> Packed:
        """See the port. What is old goes, the dumps are made, then all is put in its place. A broken database is red."""

        def tidy(_state: State, node: State) -> None:
            copies.unpack(node, state_of.own(node, user, service_id))

        def begin(state: State, node: State) -> None:
            copies.begin(state, node, state_of.own(node, user, service_id))

        def end(state: State, node: State) -> Packed:
            return copies.end(state, node, state_of.own(node, user, service_id))

        done = self._world.act_from("hosting.pack", node=self._node, subject=user, deadline=deadline, stages=[tidy, begin, end])
        assert done is not None
        return done

    def load(
        self, user: str, *, service_id: str, job_id: str, databases: Sequence[str], deadline: float
    ) -> tuple[DatabaseDump, ...]:
        """See the port."""
        return self._act("load", user, deadline, lambda node: copies.load(node, state_of.own(node, user, service_id), databases))

    def unpack(self, user: str, *, service_id: str, deadline: float) -> None:
        """See the port."""

        def stage(node: State) -> None:
            copies.unpack(node, state_of.own(node, user, service_id))

        self._world.act("hosting.unpack", node=self._node, subject=user, deadline=deadline, stages=[stage])

    def show_restored(self, user: str, *, service_id: str, keep: Sequence[str], deadline: float) -> tuple[str, ...]:
        """See the port. Those that are shown are ``shown`` in the account's row."""
        return self._act(
            "show_restored", user, deadline, lambda node: copies.show_restored(node, state_of.own(node, user, service_id), keep)
        )

    def node_residue(self, *, deadline: float) -> NodeResidue:
        """See the port."""
        stages = [wipes.node_residue]
        return self._world.act("hosting.node_residue", node=self._node, subject=self._node, deadline=deadline, stages=stages)

    def look_into(self, file: str, *, most_bytes: int, most_inodes: int, deadline: float) -> Tarball:
        """See the port."""

        def stage(node: State) -> Tarball:
            return tarballs.look(node, file, most_bytes=most_bytes, most_inodes=most_inodes)

        return self._world.act("hosting.look_into", node=self._node, subject=file, deadline=deadline, stages=[stage])

    def bring_in(self, user: str, tarball: Tarball, *, service_id: str, job_id: str, deadline: float) -> tuple[DatabaseDump, ...]:
        """See the port. First the files, then the databases."""

        def files(state: State, node: State) -> tuple[DatabaseDump, ...] | None:
            tarballs.unpack(state, node, state_of.own(node, user, service_id), tarball, job_id=job_id)
            return None

        def databases(_state: State, node: State) -> tuple[DatabaseDump, ...]:
            return tarballs.load(node, state_of.own(node, user, service_id), tarball)

        stages = [files, databases]
        done = self._world.act_from("hosting.bring_in", node=self._node, subject=user, deadline=deadline, stages=stages)
        assert done is not None
        return done

    def take_out(self, user: str, *, service_id: str, job_id: str, deadline: float) -> TakenOut:
        """See the port. First the files, then the databases."""

        def files(node: State) -> TakenOut | None:
            tarballs.take_files(node, state_of.own(node, user, service_id), job_id=job_id)
            return None

        def rest(node: State) -> TakenOut:
            return tarballs.take_rest(state_of.own(node, user, service_id), job_id=job_id)

        return self._act("take_out", user, deadline, files, rest)

    def look_at(self, user: str, adoption: Adoption, *, service_id: str, deadline: float) -> Stranger:
        """See the port."""
        return self._act(
            "look_at", user, deadline, lambda node: strangers.look(node, self._own(node, user, service_id), adoption)
        )

    def set_aside(self, user: str, adoption: Adoption, *, service_id: str, job_id: str, deadline: float) -> SetAside:
        """See the port. First the vhosts, then the crontab."""

        def vhosts(node: State) -> SetAside | None:
            strangers.set_aside_vhosts(node, self._own(node, user, service_id), adoption, job_id=job_id)
            return None

        def crontab(node: State) -> SetAside:
            return strangers.set_aside_crontab(node, adoption, job_id=job_id)

        return self._act("set_aside", user, deadline, vhosts, crontab)

    def put_back(self, user: str, stranger: str, *, service_id: str, job_id: str, deadline: float) -> tuple[str, ...]:
        """See the port."""

        def stage(node: State) -> tuple[str, ...]:
            self._own(node, user, service_id)
            return strangers.put_back(node, stranger, job_id=job_id)

        return self._act("put_back", user, deadline, stage)

    def gather(self, user: str, adoption: Adoption, *, service_id: str, job_id: str, deadline: float) -> Tarball:
        """See the port."""
        return self._act(
            "gather", user, deadline, lambda node: strangers.gather(node, self._own(node, user, service_id), adoption)
        )

    def drop_gathered(self, user: str, *, service_id: str, job_id: str, deadline: float) -> None:
        """See the port."""

        def stage(node: State) -> None:
            strangers.drop_gathered(node, self._own(node, user, service_id))

        self._world.act("hosting.drop_gathered", node=self._node, subject=user, deadline=deadline, stages=[stage])

    def close(self) -> None:
        """Nothing is kept open."""

    def _act(self, method: str, user: str, deadline: float, *stages: Callable[[State], T | None]) -> T:
        """The last stage gives the answer; those before it give none."""
        done = self._world.act(f"hosting.{method}", node=self._node, subject=user, deadline=deadline, stages=list(stages))
        assert done is not None
        return done

    def _own(self, node: State, user: str, service_id: str) -> State:
        return state_of.own(node, user, service_id)

    def _now(self) -> str:
        return (self._clock.now() if self._clock else datetime.fromtimestamp(0, UTC)).isoformat()


def _require(node: State, spec: AccountSpec) -> None:
    """Before anything is touched. Raises WrongState."""
    lacking = sorted({site.php for site in spec.sites if site.php} - set(PHP))
    if lacking:
        raise WrongState(f"PHP {', '.join(lacking)} is not on {node['name']}")
    taken = state_of.taken(node, spec)
    if taken:
        raise WrongState(f"served for another account already: {', '.join(taken)}")


# -- what a test does to an account --------------------------------------------------------------------------------------------


def use(world: FakeWorld, node: str, user: str, **used: Any) -> None:
    """From now on the account uses so much: ``bytes``, ``inodes``, ``database_bytes``, ``traffic`` by month, ``cpu_seconds``."""
    with world.change() as state:
        state["nodes"][node]["accounts"][user]["used"].update(used)


def close_ways(world: FakeWorld, node: str, user: str, *ways: str) -> None:
    """The account's owner, or somebody for him, has switched these ways in off."""
    with world.change() as state:
        there = state["nodes"][node]["accounts"][user]
        there["open"] = [way for way in there["open"] if way not in ways]


def stick(world: FakeWorld, node: str, user: str, *ways: str) -> None:
    """These ways stay open whatever a suspension does."""
    with world.change() as state:
        state["nodes"][node]["accounts"][user]["stuck"] = list(ways)


def unsee(world: FakeWorld, node: str, user: str, *said: str) -> None:
    """The node cannot tell these parts of the account, and says so."""
    with world.change() as state:
        state["nodes"][node]["accounts"][user]["unseen"] = list(said)
