"""The lines that put a copy of the controller's state in its place, run in a root of the test's own."""

from __future__ import annotations

import getpass
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.domain.backups.state import Manifest
from orchestrator.domain.backups.state_return import commands, place_of

SECRET, HOSTS, CONFIG, KEY = "srv/odd name's/secret", "etc/ssh/known_hosts", "config/orchestrator.yaml", "state/keys/master.key"


def manifest(root: Path, *, database: str = "orchestrator.sqlite") -> Manifest:
    below = str(root).lstrip("/")
    return Manifest(
        provider="P",
        taken_at=datetime(2026, 11, 27, tzinfo=UTC),
        version="1",
        config_dir=str(root / "etc/orchestrator"),
        state_dir=str(root / "var/lib/orchestrator"),
        database=database,
        database_url="postgresql://db/ours?x=1&y=2",
        audit_rows=0,
        audit_head="",
        files=dict.fromkeys((CONFIG, KEY, f"elsewhere/{below}/{SECRET}", f"elsewhere/{below}/{HOSTS}"), ""),
    )


def test_put_in_its_place_it_leaves_the_machines_own_directories_as_they_are(tmp_path: Path) -> None:
    root, back = tmp_path / "root", tmp_path / "what came back"
    for name in ("etc/orchestrator", "etc/ssh", "srv", "var/lib/orchestrator"):
        (root / name).mkdir(parents=True)
    kept = [root, root / "etc", root / "etc/ssh", root / "srv", root / "var", root / "var/lib", Path("/"), Path("/tmp")]
    (root / "srv").chmod(0o751)
    (root / "etc").chmod(0o755)
    found = manifest(root)
    for name in found.files:
        path = back / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o644 if name.endswith(HOSTS) else 0o600)
    for path in (back, *(path for path in back.rglob("*") if path.is_dir())):
        path.chmod(0o700)
    modes = {name: stat.S_IMODE((back / name).stat().st_mode) for name in found.files}
    before = [_like(path) for path in kept]

    (root / "etc/orchestrator/plans.yaml").write_text("a sample")
    there = {root / HOSTS, root / "etc/orchestrator"}
    lines = list(commands(found, back, modes=modes, there=there, user=getpass.getuser()))
    assert "ORCHESTRATOR_FROZEN=1 && systemctl start" in lines.pop()
    subprocess.run(["sh", "-e", "-c", "\n".join(lines)], check=True)

    assert [_like(path) for path in kept] == before
    came = [
        root / SECRET,
        root / HOSTS,
        root / "etc/orchestrator/orchestrator.yaml",
        root / "var/lib/orchestrator/keys/master.key",
    ]
    assert [stat.S_IMODE(path.stat().st_mode) for path in came] == [0o600, 0o644, 0o600, 0o600]
    assert stat.S_IMODE((root / "var/lib/orchestrator").stat().st_mode) == 0o700
    config = root / "etc/orchestrator"
    assert ([path.name for path in config.iterdir()], stat.S_IMODE(config.stat().st_mode)) == (["orchestrator.yaml"], 0o755)
    assert (root / "etc/orchestrator.before/plans.yaml").exists(), "what stood there is put aside"
    (hosts,) = [line for line in lines if HOSTS in line]
    assert "compare them first" in hosts
    assert " -o " not in hosts, "a file that all read stays root's"


def test_a_dump_is_read_before_the_controller_starts(tmp_path: Path) -> None:
    *_, dump, start = commands(manifest(tmp_path, database="database.dump"), tmp_path / "back", modes={}, user="ours")
    assert dump.startswith(
        "runuser -u ours -- pg_restore --clean --if-exists --no-owner --dbname 'postgresql://db/ours?x=1&y=2' "
    )
    assert "systemctl start orchestrator" in start


def test_only_what_lay_elsewhere_has_a_place_of_its_own() -> None:
    assert place_of("elsewhere/etc/ssh/known_hosts") == Path("/etc/ssh/known_hosts")
    assert [place_of(name) for name in (CONFIG, KEY, "MANIFEST.json")] == [None] * 3


def _like(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
