"""``hosting-prepare``: what all accounts share is made, each piece tested before its service reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import nginx, people, tables, tree, units, web
from agents.node.hosting.doctor import hosting_doctor
from agents.node.hosting.layout import GROUP, Node
from agents.node.hosting.marks import node_lock
from agents.node.hosting.run import must, run
from agents.node.protocol import AgentError

_DUPLICATE = re.compile(r"a duplicate default server for (\S+):(80|443)")
_SCRIPT = "usr/local/lib/orchestrator/enter-slice"

_DEFAULT = """# Written by the node agent: a name that no account has is no account's, and not the first one's.
server {{
{listens}    server_name _;
{reject}    access_log off;
    return 404;
}}
"""


def hosting_prepare(call: Call) -> dict[str, Any]:
    """``changed``: what was not so before; ``doctor``: what the node still lacks."""
    node = Node(call.place)
    changed: list[str] = []
    with node_lock(node.place, "prepare"):
        for name, part in (
            ("group", _group),
            ("directories", _directories),
            ("sshd", _sshd),
            ("jobs in slices", _pam),
            ("log rotation", _logrotate),
            ("nginx", _nginx),
            ("MariaDB", tables.keep_inside),
        ):
            if part(node):
                changed.append(name)
    return {"changed": changed, "doctor": hosting_doctor(call)}


def _group(node: Node) -> bool:
    if GROUP in people.groups(node):
        return False
    must(["groupadd", "--system", GROUP], doing="making the group of accounts")
    return True


def _directories(node: Node) -> bool:
    changed = False
    for path, mode in (
        (node.under("etc/orchestrator"), 0o711),
        (node.marks, 0o700),
        (node.keys, 0o755),
        (node.fpm, 0o700),
        (node.tls, 0o700),
        (node.homes, 0o711),
        (node.vhosts, 0o755),
        (node.quarantine, 0o755),
        (node.logs, 0o711),
        (node.records, 0o700),
        (node.imports, 0o700),
    ):
        changed = _directory(path, mode) or changed
    file = node.under("etc/tmpfiles.d/orchestrator.conf")
    changed = tree.write(file, units.TMPFILES, mode=0o644) or changed
    if changed or not node.pending.is_dir():
        must(["systemd-tmpfiles", "--create", str(file)], doing="making the directories in /run")
    return changed


def _directory(path: Path, mode: int) -> bool:
    """There, root's, and as open as it must be: one that holds other things, too, keeps what it lets through already."""
    if path.is_symlink():
        raise AgentError("refused", f"{path} is a link")
    made = not path.is_dir()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    present = path.stat().st_mode & 0o777
    wanted = mode if made else present | mode
    if present != wanted:
        path.chmod(wanted)
    return made or present != wanted


def _sshd(node: Node) -> bool:
    """Tested as a whole; what sshd refuses is taken back."""
    file = node.under("etc/ssh/sshd_config.d/orchestrator.conf")
    before = tree.read(file)
    if before == units.SSHD:
        return False
    tree.write(file, units.SSHD, mode=0o644)
    done = run(["sshd", "-t"])
    says = run(["sshd", "-T", "-C", "user=root,host=localhost,addr=127.0.0.1"]) if done.status == 0 else done
    if done.status != 0 or says.status != 0:
        tree.remove(file)
        if before is not None:
            tree.write(file, before, mode=0o644)
        raise AgentError("driver-permanent", f"sshd refuses the block of hosting accounts: {done.said or says.said}")
    must(["systemctl", "try-reload-or-restart", "ssh.service"], doing="reloading sshd")
    return True


def _pam(node: Node) -> bool:
    """Debian's own way of adding to the sessions of all services: no package's file is changed by hand (pam-auth-update(8))."""
    script, profile = node.under(_SCRIPT), node.under("usr/share/pam-configs/orchestrator")
    script.parent.mkdir(parents=True, exist_ok=True)
    changed = tree.write(script, units.ENTER_SLICE, mode=0o755)
    common = node.under("etc/pam.d/common-session-noninteractive")
    if tree.write(profile, units.PAM_PROFILE, mode=0o644) or "enter-slice" not in (tree.read(common) or ""):
        must(["pam-auth-update", "--package"], doing="adding the accounts' jobs to PAM's sessions")
        changed = True
    return changed


def _logrotate(node: Node) -> bool:
    system = node.under("etc/systemd/system")
    changed = tree.write(node.rotation, units.LOGROTATE, mode=0o644)
    changed = tree.write(system / "orchestrator-logs.service", units.LOGS_SERVICE, mode=0o644) or changed
    changed = tree.write(system / "orchestrator-logs.timer", units.LOGS_TIMER, mode=0o644) or changed
    if changed or run(["systemctl", "is-active", "--quiet", "orchestrator-logs.timer"]).status != 0:
        # Debian's own timer, which comes once a day, has nothing to do with them.
        node.under("etc/logrotate.d/orchestrator").unlink(missing_ok=True)
        must(["systemctl", "daemon-reload"], doing="telling systemd of the logs' timer")
        must(["systemctl", "enable", "--now", "orchestrator-logs.timer"], doing="starting the logs' timer")
        return True
    return False


def _nginx(node: Node) -> bool:
    conf, unit = node.under("etc/nginx/conf.d"), node.under("etc/systemd/system/nginx.service.d/orchestrator.conf")
    unit.parent.mkdir(parents=True, exist_ok=True)
    more_files = tree.write(unit, units.NGINX_UNIT, mode=0o644)
    changed = tree.write(conf / "orchestrator.conf", web.MAIN, mode=0o644)
    if changed:
        nginx.wait_for_reload(node)
    changed = _default_server(node, conf / "orchestrator-default.conf") or changed
    changed = _old_workers(node, node.under("etc/nginx/modules-enabled")) or changed
    if changed:
        try:
            nginx.settle(node)
        except AgentError:
            tree.remove(conf / "orchestrator.conf")
            tree.remove(conf / "orchestrator-default.conf")
            tree.remove(node.under("etc/nginx/modules-enabled/99-orchestrator.conf"))
            raise
    if more_files:
        must(["systemctl", "daemon-reload"], doing="reading the units anew")
        must(["systemctl", "try-restart", "nginx.service"], doing="letting nginx open more files")
    return changed or more_files


def _default_server(node: Node, file: Path) -> bool:
    """For every port that has none: another of the node's own is left."""
    before = tree.read(file)
    if before is not None:
        return False
    listens = ["80", "443"] + (["[::]:80", "[::]:443"] if nginx.ipv6(node) else [])
    while listens:
        tree.write(file, default_server(listens), mode=0o644)
        done = nginx.test()
        twice = _DUPLICATE.search(done.err)
        if done.status == 0 or not twice:
            break
        listens = [each for each in listens if each != (f"[::]:{twice[2]}" if twice[1].startswith("[") else twice[2])]
    if not listens:
        tree.write(file, "# Written by the node agent: this node has default servers of its own.\n", mode=0o644)
    nginx.wait_for_reload(node)
    return True


def _old_workers(node: Node, directory: Path) -> bool:
    """Where Debian's nginx reads what stands beside its blocks. Another time that the node has of its own is left."""
    file = directory / "99-orchestrator.conf"
    if not directory.is_dir() or tree.read(file) is not None:
        return False
    tree.write(file, units.NGINX_MAIN, mode=0o644)
    if "worker_shutdown_timeout" in nginx.test().err:
        tree.write(file, "# Written by the node agent: this node has a worker_shutdown_timeout of its own.\n", mode=0o644)
    nginx.wait_for_reload(node)
    return True


def default_server(listens: list[str]) -> str:
    rows = (f"    listen {each} {'ssl ' if each.endswith('443') else ''}default_server;\n" for each in listens)
    secured = any(each.endswith("443") for each in listens)
    return _DEFAULT.format(listens="".join(rows), reject="    ssl_reject_handshake on;\n" if secured else "")
