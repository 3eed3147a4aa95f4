"""The slice of an account and the masters of PHP in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from agents.node.hosting import tree, units
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.marks import node_lock
from agents.node.hosting.run import must, run
from agents.node.hosting.spec import Spec
from agents.node.protocol import AgentError

_WANTED_BY = "multi-user.target.wants"
_LISTENS_SECONDS = 20.0


def php_versions(node: Node) -> list[str]:
    """Those that can be run here."""
    names = tree.names(node.under("usr/sbin"))
    return [name.removeprefix("php-fpm") for name in names if name.startswith("php-fpm") and name[7:8].isdigit()]


def enabled(node: Node, unit: str) -> bool:
    return (node.units / _WANTED_BY / unit).is_symlink()


def enable(node: Node, unit: str) -> bool:
    """What ``systemctl enable`` does for such a unit; whether it was not."""
    link = node.units / _WANTED_BY / unit
    if link.is_symlink():
        return False
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(Path("/etc/systemd/system") / unit)
    return True


def disable(node: Node, unit: str) -> bool:
    return tree.remove(node.units / _WANTED_BY / unit)


def active(units_asked: Sequence[str]) -> dict[str, bool]:
    if not units_asked:
        return {}
    said = run(["systemctl", "is-active", *units_asked]).out.split()
    return {unit: state in ("active", "reloading", "activating") for unit, state in zip(units_asked, said, strict=False)}


def pending(node: Node, unit: str) -> Path:
    return node.pending / unit


def settle(home: Home, spec: Spec, *, run_fpm: bool) -> list[str]:
    """Slice, logins and masters of PHP as the spec says; what was changed. With ``run_fpm`` false nothing of PHP is started.

    A version that no site wants any more is stopped and its unit removed.
    """
    node, changed = home.node, []
    with node_lock(node.place, "systemd"):
        if _limits(home, spec):
            changed.append("limits")
        changed += [f"php {version}" for version in spec.php_versions() if _configure(home, spec, version)]
        waiting = sorted(name for name in tree.names(node.pending) if home.owns(name))
        gone = [path for path in home.fpm_units() if path.name not in {home.fpm_unit(v) for v in spec.php_versions()}]
        if gone:
            remove_fpm(home, gone)
            changed.append("php removed")
        if waiting or gone:
            must(["systemctl", "daemon-reload"], doing="reading the units anew")
        _start(home, spec, waiting, run_fpm=run_fpm)
        for name in waiting:
            tree.remove(node.pending / name)
    return changed


def _limits(home: Home, spec: Spec) -> bool:
    home.logins_file.parent.mkdir(exist_ok=True)
    changed = _write(home, home.logins_file, units.logins(home.user, spec.limits), home.slice)
    return _write(home, home.slice_file, units.slice_unit(home.user, spec.limits), home.slice) or changed


def _configure(home: Home, spec: Spec, version: str) -> bool:
    unit, config = home.fpm_unit(version), units.fpm_config(home.user, version, spec.sites, spec.limits)
    file = home.fpm_file(version)
    changed = False
    if tree.read(file) != config:
        trial = file.with_name(f"{file.name}.trial")
        tree.write(trial, config)
        try:
            done = run([f"php-fpm{version}", "--test", "--fpm-config", str(trial)])
        finally:
            tree.remove(trial)
        if done.status != 0:
            raise AgentError("driver-permanent", f"PHP {version} refuses the pools of {home.user}: {done.said}")
        changed = _write(home, file, config, unit)
    return _write(home, home.node.units / unit, units.fpm_unit(home.user, version), f"{unit}.unit") or changed


def _write(home: Home, path: Path, text: str, unit: str) -> bool:
    """Noted first as something that systemd or PHP has not read: a call that is killed here is made good by the next."""
    if tree.read(path) == text:
        return False
    tree.write(pending(home.node, unit), "")
    return tree.write(path, text, mode=0o644)


def _start(home: Home, spec: Spec, waiting: list[str], *, run_fpm: bool) -> None:
    node = home.node
    wanted = [home.slice]
    enable(node, home.slice)
    again = []
    for version in spec.php_versions() if run_fpm else ():
        unit = home.fpm_unit(version)
        enable(node, unit)
        wanted.append(unit)
        if unit in waiting or f"{unit}.unit" in waiting:
            again.append(unit)
    running = active(again)
    for unit in again:
        if running.get(unit):
            verb = "restart" if f"{unit}.unit" in waiting else "reload"
            must(["systemctl", verb, unit], doing=f"letting PHP of {home.user} read its pools")
    must(["systemctl", "start", *wanted], doing=f"starting what runs for {home.user}")
    if again:
        _wait_for_sockets(home, spec)


def _wait_for_sockets(home: Home, spec: Spec) -> None:
    """A reload returns before PHP has read its pools: nginx must not be told of a socket that is not there yet. Raises AgentError
    (driver-transient) where one stays away."""
    wanted = {home.node.sockets / f"{home.user}-{site.name}-{site.php}.sock" for site in spec.sites if site.php}
    end = time.monotonic() + _LISTENS_SECONDS
    while missing := sorted(path.name for path in wanted if not path.exists()):
        if time.monotonic() > end:
            raise AgentError("driver-transient", f"PHP of {home.user} does not open {', '.join(missing)}")
        time.sleep(0.05)


def stop_fpm(home: Home, paths: Sequence[Path]) -> None:
    """Stopped, and not started at the next boot."""
    for path in paths:
        disable(home.node, path.name)
    if paths:
        must(["systemctl", "stop", *(path.name for path in paths)], doing=f"stopping PHP of {home.user}")


def remove_fpm(home: Home, paths: Sequence[Path]) -> None:
    stop_fpm(home, paths)
    for path in paths:
        version = path.name.removesuffix(".service").rpartition("-")[2]
        tree.remove(home.fpm_file(version))
        tree.remove(path)


def remove_all(home: Home) -> None:
    """Every unit of the account, and systemd's memory of them."""
    with node_lock(home.node.place, "systemd"):
        remove_fpm(home, home.fpm_units())
        for left in home.node.fpm.glob(f"{home.user}-*"):
            tree.remove(left)
        if home.slice_file.exists() or home.cgroup.exists():
            must(["systemctl", "stop", home.slice], doing=f"stopping the slice of {home.user}")
        disable(home.node, home.slice)
        tree.remove(home.slice_file)
        tree.remove(home.logins_file)
        if home.logins_file.parent.is_dir():
            home.logins_file.parent.rmdir()
        for name in tree.names(home.node.pending):
            if home.owns(name):
                tree.remove(home.node.pending / name)
        must(["systemctl", "daemon-reload"], doing="reading the units anew")
        run(["systemctl", "reset-failed", f"orch-fpm-{home.user}-*.service", home.slice])
