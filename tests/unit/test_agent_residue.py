"""Residue: found wherever libvirt leaves it, never mistaken for a neighbour's, never removed where libvirt must do it."""

from __future__ import annotations

from pathlib import Path

from agents.node.place import Place
from agents.node.restic.running import cache_directory
from tests.unit.test_agent_protocol import ask, declare_pool

REMOVABLE = (
    "var/lib/libvirt/qemu/orch.vps-1.scratch",
    "var/lib/libvirt/qemu/save/orch.vps-1.save",
    "var/lib/libvirt/qemu/nvram/orch.vps-1.fd",
    "var/log/libvirt/qemu/orch.vps-1.log",
    "var/log/libvirt/qemu/orch.vps-1.log.0",
    "var/lib/orchestrator-agent/wipes/orch.vps-1.root.j1.qcow2.0123456789ab.report",
)
REPORTED = (
    "etc/libvirt/nwfilter/orch.vps-1.xml",
    "etc/libvirt/qemu/autostart/orch.vps-1.xml",
    "run/libvirt/qemu/orch.vps-1.pid",
    "pool/orch.vps-1.root.j1.qcow2",
    "pool/orch.vps-1.seed.j1.iso.wiping",
)
NEIGHBOURS = (
    "var/log/libvirt/qemu/orch.vps-10.log",
    "var/log/libvirt/qemu/orch.vps-1-b.log",
    "var/log/libvirt/qemu/other.log",
    "pool/orch.vps-10.root.j1.qcow2",
    "pool/debian.qcow2",
    "etc/libvirt/qemu/vps-1.xml",
)


def lay(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def residue(root: Path, *, clean: bool) -> dict[str, list[str]]:
    code, answer = ask("residue", {"service_id": "vps-1", "pool_path": str(root / "pool"), "clean": clean}, root)
    assert code == 0, answer
    return {key: [str(Path(p).relative_to(root)) for p in paths] for key, paths in answer["result"].items()}


def test_everything_of_the_service_is_found_and_nothing_of_others(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    lay(tmp_path, *REMOVABLE, *REPORTED, *NEIGHBOURS)
    assert residue(tmp_path, clean=False) == {"found": sorted((*REMOVABLE, *REPORTED)), "removed": []}
    assert all((tmp_path / name).exists() for name in (*REMOVABLE, *REPORTED, *NEIGHBOURS))


def test_cleaning_removes_by_products_and_leaves_what_libvirt_or_a_wipe_must_remove(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    lay(tmp_path, *REMOVABLE, *REPORTED, *NEIGHBOURS, "var/lib/libvirt/qemu/snapshot/orch.vps-1/before.xml")
    done = residue(tmp_path, clean=True)
    assert done["removed"] == sorted((*REMOVABLE, "var/lib/libvirt/qemu/snapshot/orch.vps-1"))
    assert residue(tmp_path, clean=False)["found"] == sorted(REPORTED)
    assert all((tmp_path / name).exists() for name in NEIGHBOURS)


def test_on_a_node_without_a_pool_caches_of_repositories_are_found_and_removed(tmp_path: Path) -> None:
    """It is one of accounts: nothing of its agent's configuration names a pool."""
    location = "/srv/backup/web-1.1"
    cache = cache_directory(Place(tmp_path), location)
    lay(tmp_path, str((cache / "known").relative_to(tmp_path)))
    request = {"service_id": "web-1", "clean": True, "repositories": [location]}
    for found in ([str(cache)], []):
        code, answer = ask("residue", request, tmp_path)
        assert (code, answer["result"]) == (0, {"found": found, "removed": found})
    code, answer = ask("residue", {**request, "pool_path": "/srv/pool"}, tmp_path)
    assert (code, answer["error"]["code"]) == (3, "wrong-state")


def test_cleaning_twice_is_harmless(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    lay(tmp_path, *REMOVABLE)
    residue(tmp_path, clean=True)
    assert residue(tmp_path, clean=True) == {"found": [], "removed": []}


def test_a_guest_that_is_still_defined_is_not_cleaned_up_after(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    lay(tmp_path, *REMOVABLE, "etc/libvirt/qemu/orch.vps-1.xml")
    code, answer = ask("residue", {"service_id": "vps-1", "pool_path": str(tmp_path / "pool"), "clean": True}, tmp_path)
    assert (code, answer["error"]["code"]) == (3, "wrong-state")
    assert all((tmp_path / name).exists() for name in REMOVABLE)


def test_a_name_that_is_not_utf8_is_told_with_its_bytes_and_removed(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    lay(tmp_path, "var/lib/libvirt/qemu/save/orch.vps-1.ä\udcff")
    assert residue(tmp_path, clean=True)["removed"] == ["var/lib/libvirt/qemu/save/orch.vps-1.ä\\xff"]
    assert residue(tmp_path, clean=True) == {"found": [], "removed": []}


def test_a_link_is_removed_and_never_followed(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    lay(tmp_path, "elsewhere/precious")
    snapshots = tmp_path / "var/lib/libvirt/qemu/snapshot"
    snapshots.mkdir(parents=True)
    (snapshots / "orch.vps-1").symlink_to(tmp_path / "elsewhere")
    assert residue(tmp_path, clean=True)["removed"] == ["var/lib/libvirt/qemu/snapshot/orch.vps-1"]
    assert (tmp_path / "elsewhere/precious").exists()


def test_secrets_are_found_by_the_volume_they_open(tmp_path: Path) -> None:
    declare_pool(tmp_path)
    secrets = tmp_path / "etc/libvirt/secrets"
    secrets.mkdir(parents=True)
    for name, volume in (("a", "/pool/orch.vps-1.root.j1.qcow2"), ("b", "/pool/orch.vps-10.root.j1.qcow2")):
        (secrets / f"{name}.xml").write_text(f"<secret><usage type='volume'><volume>{volume}</volume></usage></secret>")
        (secrets / f"{name}.base64").write_text("a2V5")
    assert residue(tmp_path, clean=False)["found"] == ["etc/libvirt/secrets/a.base64", "etc/libvirt/secrets/a.xml"]
