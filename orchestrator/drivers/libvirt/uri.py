"""How libvirt reaches a node: the URI, and the ssh wrapper that pins the node's key.

libvirt's ``qemu+ssh`` runs ``command`` instead of ssh and, with ``proxy=native``, one fixed program on the other side
(``virt-ssh-helper``); see https://libvirt.org/uri.html, "ssh transport". Everything that decides trust stands in the wrapper; the
operator's own ssh configuration is not read.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import quote

from orchestrator.domain.plans import Node
from orchestrator.ports.enrolment import HostKey

CONNECT_SECONDS = 10
# libvirt fails with nothing but "value too large" when ssh complains at length, as it does about a changed key: so only the end
# of what ssh writes to its standard error is passed on.
WRAPPER = """#!/bin/sh
{ ssh -F none OPTIONS "$@" 2>&1 1>&3 3>&- | tail -n 2 >&2 3>&-; } 3>&1
"""


def ssh_uri(node: Node, wrapper: Path) -> str:
    """The ``qemu+ssh`` URI of the node, through the wrapper made by ``write_wrapper``."""
    host = f"[{node.address}]" if ":" in node.address else node.address
    return (
        f"qemu+ssh://{quote(node.user, safe='')}@{host}:{node.port}/system"
        f"?command={quote(str(wrapper), safe='/')}&proxy=native&no_tty=1"
    )


def write_wrapper(directory: Path, node: Node, *, identity: Path, host_key: HostKey) -> Path:
    """Write the node's ssh wrapper and its known_hosts into ``directory`` (made 0700) and return the wrapper's path.

    Only ``host_key`` is accepted, and only the private key in ``identity`` is offered. Repeatable: both files are replaced whole.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    known_hosts = directory / f"{node.name}.known_hosts"
    _replace(known_hosts, f"{node.name} {host_key.line}\n", mode=0o600)
    options = {
        "UserKnownHostsFile": f'"{known_hosts}"',  # ssh splits this value at blanks unless it is quoted
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": node.name,
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "IdentityFile": f'"{identity}"',
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    words = " ".join(f"-o {shlex.quote(f'{key}={value}')}" for key, value in options.items())
    wrapper = directory / f"{node.name}.ssh"
    _replace(wrapper, WRAPPER.replace("OPTIONS", words), mode=0o700)
    return wrapper


def _replace(path: Path, text: str, *, mode: int) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(path)
