"""Batteries of crash scenarios: many services, each killed at its own point by the one end of one process.

What is compared is the simulated node and our own tables, never the engine's: a *snapshot* of a service, with ids masked, has
to be the same after a crash and a restart as without any crash.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import signal
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.backups.words import BackupState
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.kept_volumes import KeptKind
from orchestrator.domain.plans import guest_name
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import addresses, backups, drills, jobs, services
from orchestrator.store.database import Connection
from orchestrator.store.tables import certificates, moving_reservations, outbox, reservations, service_locks
from tests.fault import account_ground, controller, machine_ground, things
from tests.fault.controller import ASIDE, KEEPING, Orders, Report, Scenario
from tests.fault.house import prepared, seeded_world
from tests.hosting_ground import HOST, furnish
from tests.store_files import SQLITE, copy_house, engine_database, house_database

ROOT = Path(__file__).parents[2]
WIDTH = 8  # services in one process: the simulated world is written whole at each change of one
PROCESS_SECONDS = 120
# Some two hundred lives, of which each would compute longer for its imports and for its statements than for its work: they are
# forked from a process that has both behind it (and no threads), not from the one that runs the tests.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.fault.warm", "orchestrator.store.migrate"])
# What has to have happened to a service before a job of the intent makes sense.
BEFORE: dict[str, tuple[str, ...]] = {
    IntentKind.PROVISION: (),
    IntentKind.UNSUSPEND: (IntentKind.PROVISION, IntentKind.SUSPEND),
    IntentKind.UNLIMIT: (IntentKind.PROVISION, IntentKind.LIMIT),
    IntentKind.START: (IntentKind.PROVISION, IntentKind.STOP),
    IntentKind.BACKUP: (IntentKind.PROVISION, IntentKind.BACKUP),
    IntentKind.TERMINATE: (IntentKind.PROVISION, IntentKind.BACKUP),
    KEEPING: (IntentKind.PROVISION, IntentKind.BACKUP),
    IntentKind.RESTORE: (IntentKind.PROVISION, IntentKind.BACKUP),
    IntentKind.DRILL: (IntentKind.PROVISION, IntentKind.BACKUP),
    IntentKind.MOVE: (IntentKind.PROVISION, IntentKind.BACKUP),
    IntentKind.RECOVER: (IntentKind.PROVISION, IntentKind.BACKUP),
    IntentKind.TIDY: (IntentKind.PROVISION, IntentKind.BACKUP, IntentKind.RESTORE),
    IntentKind.ERASE: (IntentKind.PROVISION, KEEPING),
    IntentKind.REACTIVATE: (IntentKind.PROVISION, KEEPING),
}
HOSTING = "hosting"
_OF_COPIES = (IntentKind.BACKUP, IntentKind.TERMINATE, IntentKind.RESTORE, IntentKind.DRILL)
BEFORE_ACCOUNTS: dict[str, tuple[str, ...]] = {
    IntentKind.PROVISION: (),
    IntentKind.UNSUSPEND: (IntentKind.PROVISION, IntentKind.SUSPEND),
    IntentKind.UNLIMIT: (IntentKind.PROVISION, IntentKind.LIMIT),
    **dict.fromkeys((*_OF_COPIES, KEEPING, ASIDE), (IntentKind.PROVISION, IntentKind.BACKUP)),
    IntentKind.TIDY: (IntentKind.PROVISION, IntentKind.BACKUP, ASIDE),
    IntentKind.ERASE: (IntentKind.PROVISION, KEEPING),
    IntentKind.REACTIVATE: (IntentKind.PROVISION, KEEPING),
}
DEDICATED = "machines"
BEFORE_MACHINES: dict[str, tuple[str, ...]] = {
    IntentKind.PROVISION: (),
    IntentKind.UNSUSPEND: (IntentKind.PROVISION, IntentKind.SUSPEND),
    IntentKind.START: (IntentKind.PROVISION, IntentKind.STOP),
    IntentKind.TERMINATE: (IntentKind.PROVISION, IntentKind.SUSPEND),
    KEEPING: (IntentKind.PROVISION, IntentKind.SUSPEND),
    IntentKind.ERASE: (IntentKind.PROVISION, KEEPING),
    IntentKind.REACTIVATE: (IntentKind.PROVISION, KEEPING),
    IntentKind.LEAVE_RESCUE: (IntentKind.PROVISION, IntentKind.RESCUE),
}
# What the customer wrote to the disk before anything else happened.
LETTERS = "the letters of {}"
_JOB_ID = re.compile(r"j[0-9a-z]{15}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_USER = re.compile(r"\bh1000\d\d\b")
_MACHINE = re.compile(r"\bm\d\d\b")
_UID = re.compile(r"\b1000\d\d\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+]+")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_MASKS = (
    (_MACHINE, "MACHINE"),
    (_USER, "USER"),
    (_UID, "0"),
    (_UUID, "UUID"),
    (_JOB_ID, "JOB"),
    (_TIME, "TIME"),
    (_HASH, "HASH"),
)


def service(number: int) -> str:
    return f"s{number:02}"


@dataclass(frozen=True, kw_only=True)
class Battery:
    """Runs scenarios of one suite: ``things``, ``product``, ``hosting``. ``home`` holds the prepared states, made once each.

    ``kind``: of database.
    """

    suite: str
    home: Path
    kind: str = SQLITE

    def process(self, directory: Path, scenarios: Sequence[Scenario], *, submit: bool = True, kill: bool = False) -> Report:
        """One life of the controller; returns what it left as its report."""
        orders = Orders(suite=self.suite, scenarios=list(scenarios), submit=submit, kill=kill)
        report = directory / "report.json"
        report.unlink(missing_ok=True)
        said = directory / "said"
        life = FORKS.Process(target=controller.forked, args=(directory, orders, said))
        life.start()
        life.join(PROCESS_SECONDS)
        if life.exitcode is None:
            life.kill()
            life.join()
            raise AssertionError(f"a controller did not end within {PROCESS_SECONDS} s: {said.read_text()[-3000:]}")
        assert life.exitcode == (-signal.SIGKILL if kill else 0), said.read_text()[-3000:]
        return Report(**json.loads(report.read_text()))

    def state_before(self, intent: str, directory: Path) -> Path:
        """A state directory of ``WIDTH`` services that wait for a job of the intent."""
        known = {HOSTING: BEFORE_ACCOUNTS, DEDICATED: BEFORE_MACHINES}.get(self.suite, BEFORE)
        return copy_house(self._after(known.get(intent, (IntentKind.PROVISION,))), directory)

    def _after(self, history: Sequence[str]) -> Path:
        """The state in which all this has been done, made of the one before its last part."""
        kept = self.home / "-".join((self.suite, *history, "done"))
        if kept.exists():
            return kept
        building = kept.with_suffix(".new")
        if not history:
            self._furnish(prepared(building, partial(engine_database, kind=self.kind)))
        else:
            *before, last = history
            copy_house(self._after(before), building)
            report = self.process(building, [Scenario(service=service(n), intent=last) for n in range(WIDTH)])
            assert set(report.jobs.values()) == {"done"}, report.jobs
            if last == IntentKind.PROVISION:
                self._fill(building)
            with seeded_world(building).change() as state:
                state["deliveries"] = []  # nobody asks for them, and the world is written whole at each change
        return building.rename(kept)

    def _fill(self, directory: Path) -> None:
        """The customers write to what they have."""
        if self.suite == HOSTING:
            account_ground.fill(directory)
        elif self.suite == DEDICATED:
            with closing(house_database(directory)) as db:
                machine_ground.fill(seeded_world(directory), db)
        else:
            write_letters(directory)

    def _furnish(self, directory: Path) -> None:
        world = seeded_world(directory)
        with closing(house_database(directory)) as db:
            if self.suite == HOSTING:
                furnish(world, db, now=SystemClock().now())
            elif self.suite == DEDICATED:
                machine_ground.furnish(world, db)

    def run(self, directory: Path, scenarios: Sequence[Scenario], *, kills: int = 1) -> list[dict[str, Any]]:
        """Kill ``kills`` times at the scenarios' points, restart, let everything come to rest, and look."""
        scenarios = [replace(scenario, service=service(n)) for n, scenario in enumerate(scenarios)]
        self.state_before(scenarios[0].intent, directory)
        for life in range(kills):
            report = self.process(directory, scenarios, submit=life == 0, kill=True)
            missed = [s for s in scenarios if life == 0 and s.kill and s.service not in report.reached]
            assert not missed, f"never reached: {missed}"
        self.process(directory, scenarios, submit=kills == 0)
        return [snapshot(directory, scenario.service) for scenario in scenarios]

    def recon(self, directory: Path, scenario: Scenario) -> tuple[list[str], dict[str, Any]]:
        """The points that a scenario passes when nothing is killed, and how it ends."""
        self.state_before(scenario.intent, directory)
        scenario = replace(scenario, service=service(0))
        report = self.process(directory, [scenario])
        return report.points[scenario.service], snapshot(directory, scenario.service)


def batches(scenarios: Iterable[Scenario], width: int = WIDTH) -> list[list[Scenario]]:
    waiting = list(scenarios)
    return [waiting[at : at + width] for at in range(0, len(waiting), width)]


def snapshot(directory: Path, service_id: str) -> dict[str, Any]:
    """What there is of the service, outside and in our tables, with everything masked that is different each time."""
    world = seeded_world(directory)
    db = house_database(directory)
    try:
        with db.read() as conn:
            seen = _tables(conn, service_id) | _node(world.node(things.NODE), service_id)
            if controller.SECOND.name in world.read()["nodes"]:
                seen["second"] = _node(world.node(controller.SECOND.name), service_id)
            seen["machines"] = machine_ground.machines_of(world, conn, service_id)
            seen["accounts"] = _accounts(world, service_id)
            seen["homes"] = _homes(world, directory, service_id)
            seen["held"] = [texts for _, texts in held(world, service_id)]
    finally:
        db.close()
    return _masked(seen, service_id)


def _accounts(world: FakeWorld, service_id: str) -> list[dict[str, Any]]:
    """The service's accounts as the hosting node has them; [] where there is no such node."""
    node = world.read()["nodes"].get(HOST.name, {})
    left = [user for user, kept in node.get("account_wipes", {}).items() if kept["service_id"] == service_id]
    there = [account for account in node.get("accounts", {}).values() if account["service_id"] == service_id]
    return [*there, *({"report of": user} for user in left)]


def _homes(world: FakeWorld, directory: Path, service_id: str) -> dict[str, dict[str, str]]:
    """What the account's directories hold, also of one that is gone."""
    node = world.read()["nodes"].get(HOST.name, {})
    return account_ground.files_of(node, account_ground.user(directory, service_id))


def write_letters(directory: Path) -> None:
    """Each service's guest writes to its disk."""
    world = seeded_world(directory)
    for name in world.node(things.NODE)["volumes"]:
        _, _, rest = name.partition("orch.")
        if rest.partition(".")[2].startswith("disk."):
            world.plant(things.NODE, name, LETTERS.format(rest.partition(".")[0]))


def write_more(directory: Path, service_id: str, text: str) -> None:
    """The service's guest writes to the disk that it has."""
    world = seeded_world(directory)
    path = world.node(things.NODE)["guests"][guest_name(service_id)]["definition"]["disks"][0]["path"]
    world.plant(things.NODE, path.rpartition("/")[2], text)


def disk_of(directory: Path, service_id: str) -> list[str] | None:
    """What the disk holds that the guest's definition names; None where that is not there."""
    node = seeded_world(directory).node(things.NODE)
    path = node["guests"][guest_name(service_id)]["definition"]["disks"][0]["path"]
    found = node["volumes"].get(path.rpartition("/")[2])
    return None if found is None else _plain(found["markers"], service_id)


def safety_copies(directory: Path, service_id: str) -> list[list[str]]:
    """What the volumes hold that the service's record calls safety copies."""
    db = house_database(directory)
    try:
        with db.read() as conn:
            record = services.get(conn, service_id)
    finally:
        db.close()
    assert record is not None
    volumes = seeded_world(directory).node(things.NODE)["volumes"]
    kept = [each.name for each in record.kept if each.kind == KeptKind.SAFETY_COPY]
    return [_plain(volumes[name]["markers"], service_id) for name in kept]


def _plain(texts: Sequence[str], service_id: str) -> list[str]:
    return [text.removesuffix(f" of {service_id}") for text in texts]


def held(world: FakeWorld, service_id: str) -> list[tuple[str, list[str]]]:
    """Every snapshot of the service that can be read, with what it holds."""
    kept = world.read().get("repositories", {})
    return [
        (snapshot["id"], sorted(file["text"] for file in snapshot["files"].values()))
        for name, repository in sorted(kept.items())
        if name.startswith(f"{service_id}.") and repository["password"]
        for snapshot in repository["snapshots"].values()
        if not snapshot["damaged"]
    ]


def good_backups(directory: Path, service_id: str) -> int:
    """How many backups of the service the store calls verified, that are held with all that the customer wrote."""
    db = house_database(directory)
    try:
        with db.read() as conn:
            known = backups.of_service(conn, service_id)
    finally:
        db.close()
    there = dict(held(seeded_world(directory), service_id))
    verified = [each.snapshot_id for each in known if each.state == BackupState.VERIFIED]
    return sum(there.get(snapshot) == [LETTERS.format(service_id)] for snapshot in verified)


def copies(directory: Path, service_id: str) -> int:
    """How many whole copies of what the customer wrote there are: volumes that nobody has begun to wipe, and snapshots."""
    world, letters, name = seeded_world(directory), [LETTERS.format(service_id)], guest_name(service_id)
    volumes = [each for node in world.read()["nodes"].values() for each in node["volumes"].items()]
    disks = [key for key, volume in volumes if _mine(key, name) and volume["markers"] == letters]
    kept = [texts for _, texts in held(world, service_id) if texts == letters]
    return len(kept) + sum(not key.endswith(".wiping") for key in disks)


def _tables(conn: Connection, service_id: str) -> dict[str, Any]:
    record = services.get(conn, service_id)
    assert record is not None
    rows, _ = jobs.list_page(conn, limit=100, service_id=service_id)
    sent = conn.execute(sa.select(outbox.c.type).where(outbox.c.service_id == service_id)).scalars()
    return {
        "outbox": sorted(sent),
        "state": record.state.value,
        "plan": record.plan,
        "holds": sorted(hold.reason.value for hold in record.holds),
        "suspension proven": record.suspension_proven_at is not None,
        "limited": record.limited_proven_at is not None,
        "no return": record.point_of_no_return is not None,
        "jobs": [(job.intent.value, job.state.value, job.error_code, job.error) for job in rows],
        "steps": [[(step.id, step.state.value) for step in jobs.steps(conn, job.id)] for job in rows],
        "facts": {key: _keys(value) for key, value in services.facts(conn, service_id).values.items()},
        "node": services.facts(conn, service_id).node,
        "leased": len(addresses.held(conn, service_id)),
        "mac": addresses.held_mac(conn, service_id) is not None,
        "reserved": _count(conn, reservations, service_id),
        "moving": _count(conn, moving_reservations, service_id),
        "certificates": _count(conn, certificates, service_id),
        "kept": [(each.kind.value, each.name) for each in record.kept],
        "drills": [(each.state.value, each.why) for each in drills.list_page(conn, service_id=service_id)[0]],
        "restores": [(each.state.value, each.done_at is not None, each.why) for each in backups.restores_of(conn, service_id)],
        "backups": [
            (each.job_id, each.state.value, each.consistency, str(each.share), each.pruned_at is not None, each.problem)
            for each in backups.of_service(conn, service_id)
        ],
        "generations": [(each.number, each.state.value) for each in backups.generations(conn, service_id)],
        "locks": _count(conn, service_locks, service_id),
    }


def _node(node: dict[str, Any], service_id: str) -> dict[str, Any]:
    name = guest_name(service_id)
    own = {key: guest for key, guest in node["guests"].items() if key == name}
    return {
        "guests": [
            {
                "power": guest["power"],
                "autostart": guest["autostart"],
                "holds": guest["mark"]["holds"],
                "power before": guest["mark"]["power_before"],
                "limits": guest["mark"]["limits"],
                "network": [guest["definition"]["network_bytes_per_second"], guest.get("live_rate")],
                "network before": guest["mark"]["network_before"],
                "logins": guest.get("logins", {}),
                "size": [guest["definition"]["vcpus"], guest["definition"]["memory_bytes"], guest.get("live_size")],
                "disks": [disk["path"] for disk in guest["definition"]["disks"]],
            }
            for guest in own.values()
        ],
        "volumes": sorted(
            (key, v["backing"], v["capacity_bytes"], v["markers"]) for key, v in node["volumes"].items() if _mine(key, name)
        ),
        "caches": [where for where in node.get("caches", []) if f"/{service_id}." in where],
        "checkpoints": node.get("checkpoints", {}).get(name, []),
        "exported": name in node.get("exports", {}),
        "frozen": name in node.get("frozen", []),
        "secrets": sorted(key for key in node["secrets"] if _mine(key, name)),
        "files": sorted(file for file in node["files"] if _mine(file.rpartition("/")[2], service_id, name)),
    }


def _mine(name: str, *owners: str) -> bool:
    return any(name.startswith(f"{owner}.") for owner in owners)


def _keys(value: object) -> object:
    return sorted(value) if isinstance(value, dict) else value


def _count(conn: Connection, table: sa.Table, service_id: str) -> int:
    wanted = sa.select(sa.func.count()).select_from(table).where(table.c.service_id == service_id)
    return int(conn.execute(wanted).scalar_one())


def _masked(seen: dict[str, Any], service_id: str) -> dict[str, Any]:
    text = json.dumps(seen, sort_keys=True)
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    text = text.replace(service_id, "SERVICE")  # last: the letters of a short name may stand in a job's id
    masked: dict[str, Any] = json.loads(text)
    return masked
