"""Proof that the host hook counts: a throw-away guest with a hold is defined, and libvirt must refuse to start it."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable

from orchestrator.drivers.ssh.shell import OperatorShell
from orchestrator.ports.enrolment import Requirement

NAME = "host hook"
GUEST_PREFIX = "orch-hook-proof-"
VIRSH = "virsh -q -c qemu:///system"
GUEST = """\
<domain type='qemu'>
  <name>{name}</name>
  <metadata>
    <orch:guest xmlns:orch='https://orchestrator.example/xmlns/guest/1' service='hook-proof' job='enrolment'>
      <orch:hold reason='proof'/>
    </orch:guest>
  </metadata>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='{arch}'>hvm</type></os>
</domain>
"""


def prove_hook(shell: OperatorShell, *, restart: str, say: Callable[[str], None]) -> Requirement:
    """Whether a held guest is refused; libvirt is restarted (``restart`` is the program for it) only where it is not yet.

    A daemon that found no hook when it started may look for none afterwards.
    """
    refused, found = _try(shell)
    if not refused and _reached(shell):
        say("libvirt does not call the hook yet: restarting its daemon (guests go on running)")
        done = shell.run(f"/usr/bin/python3 -I -c {shlex.quote(restart)}")
        if done.status != 0:
            found = done.stderr.strip()[-300:] or found
        else:
            refused, found = _try(shell)
    mend = "" if refused else "look into libvirt's log, restart its daemon, and enrol the node again"
    return Requirement(name=NAME, ok=refused, found="a held guest is refused" if refused else found, mend=mend)


def _reached(shell: OperatorShell) -> bool:
    return shell.run(f"{VIRSH} version", seconds=60).status == 0


def _try(shell: OperatorShell) -> tuple[bool, str]:
    """Whether the hook's own refusal came back from libvirt, and what came instead."""
    _clear(shell)
    name = f"{GUEST_PREFIX}{secrets.token_hex(4)}"
    xml = GUEST.format(name=name, arch=shell.output("uname -m").strip())
    defined = shell.run(f"{VIRSH} define /dev/stdin", xml.encode(), seconds=60)
    if defined.status != 0:
        return False, f"no guest could be defined: {defined.stderr.strip()[-300:]}"
    try:
        # Paused: should the hook fail us, nothing runs.
        started = shell.run(f"{VIRSH} start --paused {name}", seconds=120)
    finally:
        _clear(shell)
    if started.status != 0 and f"orchestrator: {name} is not started" in started.stderr:
        return True, ""
    if started.status == 0:
        return False, "a held guest was started"
    return False, f"a held guest was not started, but not by the hook: {started.stderr.strip()[-300:]}"


def _clear(shell: OperatorShell) -> None:
    """Remove every guest of a proof, those of an enrolment that was cut off too."""
    listed = shell.run(f"{VIRSH} list --all --name", seconds=60)
    for name in listed.stdout.decode(errors="replace").split():
        if name.startswith(GUEST_PREFIX):
            shell.run(f"{VIRSH} destroy {shlex.quote(name)}; {VIRSH} undefine {shlex.quote(name)}", seconds=60)
