#!/usr/bin/python3 -I
"""All that the controller's key may call on a node: sshd runs this as the forced command of that key.

``node-agent COMMAND`` runs the agent, after its signature was verified against the signers installed at enrolment. The
zipapp is copied into sealed memory first, so that what was verified is what runs. libvirt's own call for a connection
over SSH (``proxy=native``) is passed on. Anything else is refused, with a sentence on stderr.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent
SIGNERS = "allowed_signers"
ZIPAPP = "agent/node-agent.pyz"
SIGNATURE = "agent/node-agent.pyz.sig"
PRINCIPAL = "controller"
NAMESPACE = "node-agent@orchestrator"
SIZE_LIMIT = 32 * 1024 * 1024

PYTHON = "/usr/bin/python3"
SSH_KEYGEN = "/usr/bin/ssh-keygen"
VIRT_SSH_HELPER = "/usr/bin/virt-ssh-helper"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}

AGENT_CALL = re.compile(r"node-agent ([a-z][a-z0-9-]{0,31})")
# What libvirt sends, word for word: 9.0 as seen on the wire, and the same call without the shell around it.
LIBVIRT_CALLS = frozenset(
    {
        "sh -c 'virt-ssh-helper 'qemu:///system''",
        "virt-ssh-helper 'qemu:///system'",
        "virt-ssh-helper qemu:///system",
    }
)
REFUSED, NOT_TO_BE_TRUSTED = 77, 78  # EX_NOPERM and EX_CONFIG of sysexits.h


class Untrusted(Exception):
    """The agent must not be run; the message says why."""


def load(path: Path) -> int:
    """A sealed copy of the file in memory, as a descriptor that a new program inherits."""
    data = path.read_bytes()
    if len(data) > SIZE_LIMIT:
        raise Untrusted(f"{path} is larger than {SIZE_LIMIT} bytes")
    fd = os.memfd_create("node-agent", os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(fd), "wb") as stream:
        stream.write(data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    os.set_inheritable(fd, True)
    return fd


def require_own(path: Path) -> None:
    """Raises Untrusted where somebody else than the user we run as could have written the file."""
    status = path.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise Untrusted(f"{path} is not a file that root alone may write")


def verify(fd: int, home: Path) -> None:
    """Raises Untrusted unless the open file was signed by one of the allowed signers (ssh-keygen(1), -Y verify)."""
    require_own(home / SIGNERS)
    os.lseek(fd, 0, os.SEEK_SET)
    call = [SSH_KEYGEN, "-Y", "verify", "-f", str(home / SIGNERS), "-I", PRINCIPAL, "-n", NAMESPACE, "-s", str(home / SIGNATURE)]
    try:
        done = subprocess.run(call, stdin=fd, capture_output=True, timeout=30, env=ENVIRONMENT, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Untrusted(f"the agent's signature could not be verified: {exc}") from None
    if done.returncode != 0:
        why = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Untrusted(f"the agent's signature does not hold: {why[-1] if why else 'no reason given'}")
    os.lseek(fd, 0, os.SEEK_SET)


def run_agent(command: str, home: Path) -> NoReturn:
    fd = load(home / ZIPAPP)
    verify(fd, home)
    os.umask(0o077)
    # No shell on purpose; the program is fixed and the command matched AGENT_CALL.
    os.execve(PYTHON, ["python3", "-I", f"/proc/self/fd/{fd}", command], ENVIRONMENT)  # noqa: S606


def main(asked: str, home: Path = HERE) -> int:
    """Become what was asked for; returns an exit code only where that is refused."""
    try:
        if asked in LIBVIRT_CALLS:
            os.execve(VIRT_SSH_HELPER, ["virt-ssh-helper", "qemu:///system"], ENVIRONMENT)  # noqa: S606 (all of it is fixed)
        call = AGENT_CALL.fullmatch(asked)
        if call is not None:
            run_agent(call[1], home)
    except (Untrusted, OSError) as exc:
        sys.stderr.write(f"launcher: {exc}; enrol the node again\n")
        return NOT_TO_BE_TRUSTED
    sys.stderr.write("launcher: this key runs the node agent and libvirt's connection, nothing else\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(os.environ.get("SSH_ORIGINAL_COMMAND", "")))
