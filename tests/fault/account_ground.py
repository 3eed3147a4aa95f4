"""What the accounts of a battery hold: their files and databases, written before anything else happened, and where copies are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.domain.accounts import user_of
from orchestrator.domain.backups.words import BackupState
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.directories import put_file
from orchestrator.drivers.fake.hosting_copies import write_database
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import backups
from orchestrator.store.account_uids import StoreAccountUids
from tests.fault.house import seeded_world
from tests.hosting_ground import HOST
from tests.store_files import house_database

LETTERS, ROWS = "the letters of {}", "the rows of {}"
SPOILT = "spoilt"
_LETTERS, _DUMP = "home/letters", "backup/databases/main.sql"


def fill(directory: Path) -> None:
    """The customer of each account writes to its home and its database."""
    world = seeded_world(directory)
    for user, account in world.node(HOST.name)["accounts"].items():
        _write(world, user, LETTERS.format(account["service_id"]), ROWS.format(account["service_id"]))


def spoil(directory: Path, service_id: str) -> None:
    """He spoils both."""
    _write(seeded_world(directory), str(user(directory, service_id)), SPOILT, SPOILT)


def empty_database(world: FakeWorld, service_id: str) -> None:
    """He empties his database, as what moves in is loaded into an empty one only."""
    for user, account in world.node(HOST.name)["accounts"].items():
        if account["service_id"] == service_id:
            write_database(world, HOST.name, user, "main", "")


def _write(world: FakeWorld, owner: str, letters: str, rows: str) -> None:
    put_file(world, HOST.name, f"/srv/h/{owner}", _LETTERS, letters)
    write_database(world, HOST.name, owner, "main", rows)


def user(directory: Path, service_id: str) -> str | None:
    """The user of the service's account, whether that is there or not; None where it never had one."""
    db = house_database(directory)
    try:
        uid = StoreAccountUids(db, SystemClock()).known(service_id)
    finally:
        db.close()
    return None if uid is None else user_of(uid)


def files_of(node: dict[str, Any], owner: str | None) -> dict[str, dict[str, str]]:
    """Every directory of the account, with what its files hold."""
    top = f"/srv/h/{owner}"
    return {
        path: {name: file["text"] for name, file in files.items()}
        for path, files in node.get("directories", {}).items()
        if owner is not None and (path == top or path.startswith(f"{top}/"))
    }


def content(directory: Path, service_id: str) -> tuple[str, str, bool] | None:
    """What the account's letters and rows are, and whether it is open; None where it is not there."""
    owner, node = user(directory, service_id), seeded_world(directory).node(HOST.name)
    there = node.get("accounts", {}).get(owner)
    if there is None:
        return None
    files = files_of(node, owner).get(f"/srv/h/{owner}", {})
    return files.get(_LETTERS, ""), there["content"].get("main", ""), bool(there["open"])


def whole_copies(directory: Path, service_id: str) -> int:
    """How many snapshots can be read that hold all that the customer wrote."""
    kept = seeded_world(directory).read().get("repositories", {})
    wanted = (LETTERS.format(service_id), ROWS.format(service_id))
    rows = [
        row["files"]
        for name, repository in kept.items()
        if name.startswith(f"{service_id}.") and repository["password"]
        for row in repository["snapshots"].values()
        if not row["damaged"]
    ]
    return sum(tuple(files.get(name, {}).get("text") for name in (_LETTERS, _DUMP)) == wanted for files in rows)


def copies(directory: Path, service_id: str) -> int:
    """How often the customer's data is whole: in the account that nobody has begun to wipe, and in snapshots."""
    there = content(directory, service_id)
    whole = there is not None and there[:2] == (LETTERS.format(service_id), ROWS.format(service_id))
    return whole_copies(directory, service_id) + int(whole)


def good_backups(directory: Path, service_id: str) -> int:
    """How many backups of the service the store calls verified, that are held with all that the customer wrote."""
    db = house_database(directory)
    try:
        with db.read() as conn:
            known = backups.of_service(conn, service_id)
    finally:
        db.close()
    kept = seeded_world(directory).read().get("repositories", {})
    held = {key for name, each in kept.items() if name.startswith(f"{service_id}.") for key in each["snapshots"]}
    verified = [each.snapshot_id for each in known if each.state == BackupState.VERIFIED]
    return sum(snapshot in held for snapshot in verified) if whole_copies(directory, service_id) else 0
