"""Making a plain machine a node (port Enrolment): everything is put in place at once, then proven from both sides.

The operator's key is used for this only. What stays on the node is the controller's key, bound to the launcher.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

from agents.build import Bundle
from agents.launcher.launcher import NAMESPACE, PRINCIPAL
from orchestrator.domain.errors import PermanentDriverError, Refused, WrongState
from orchestrator.domain.plans import Node, NodeKind
from orchestrator.drivers.ssh import host_keys as presented
from orchestrator.drivers.ssh import hosting_ready
from orchestrator.drivers.ssh.connection import Deadline, SshConnection
from orchestrator.drivers.ssh.hook_proof import prove_hook
from orchestrator.drivers.ssh.identity import ensure_identity
from orchestrator.drivers.ssh.packages import Packages, by_hand
from orchestrator.drivers.ssh.shell import OperatorShell
from orchestrator.drivers.ssh.sshsig import allowed_signers, armored
from orchestrator.drivers.ssh.transport import SshTransport
from orchestrator.drivers.words import plain_json
from orchestrator.ports.enrolment import EnrolmentReport, HostKey, Requirement
from orchestrator.ports.secrets import Secrets

LIBRARY = "/usr/local/lib/orchestrator"
LAUNCHER = f"{LIBRARY}/launcher"
HOOK = "/etc/libvirt/hooks/qemu.d/orchestrator-hold"
CONFIG = "/etc/orchestrator/agent.json"
POOL = "storage pool"  # the doctor's name of that requirement
Say = Callable[[str], None]


class SshEnrolment:
    """``identity`` is the controller's private key file, made if missing."""

    def __init__(self, *, bundle: Bundle, secrets: Secrets, identity: Path) -> None:
        self._bundle = bundle
        self._secrets = secrets
        self._identity = identity

    def host_keys(self, node: Node, *, deadline: float) -> tuple[HostKey, ...]:
        """See the port."""
        return presented.host_keys(node, deadline=deadline)

    def enrol(
        self, node: Node, *, host_key: HostKey, identity: str, say: Say, deadline: float, install: bool = False
    ) -> EnrolmentReport:
        """See the port. Raises Refused where the operator's access is not root's, WrongState where Python is missing."""
        limit = Deadline(deadline)
        operator = SshConnection(address=node.address, port=node.port, user=node.user, key_path=Path(identity), host_key=host_key)
        try:
            shell = OperatorShell(operator, limit)
            packages = Packages(shell, say, wanted=install)
            self._require(packages)
            hosting = node.kind == NodeKind.HOSTING
            say(f"putting {'agent and launcher' if hosting else 'agent, launcher and host hook'} in place")
            pool_path = "" if hosting else self._pool_path(shell, node)
            changed = self._install(shell, node, pool_path)
            say(f"{len(changed)} files changed" if changed else "everything was in place already")
            return self._prove(node, host_key, pool_path, packages, limit=limit)
        finally:
            operator.close()

    def _require(self, packages: Packages) -> None:
        """What must be there before anything can be: root, and a Python that runs the agent."""
        shell = packages.shell
        if shell.output("id -u").strip() != "0":
            raise Refused("the agent runs as root: enrol the node with root's access", hint="set user: root in nodes.yaml")
        probe = "/usr/bin/python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'"
        if shell.run(probe).status == 0:
            return
        if not packages.bring({"python3"}):
            raise WrongState(
                "the node has no Python 3.11 at /usr/bin/python3",
                hint=f"on the node: {by_hand(['python3'])}; then enrol it again",
            )
        if shell.run(probe).status != 0:
            raise WrongState("the node's Python is older than 3.11", hint="nodes need Debian 12 or newer")

    def _pool_path(self, shell: OperatorShell, node: Node) -> str:
        """The directory of the node's storage pool, as libvirt says; '' where there is no such pool (the report names it)."""
        found = shell.run(f"virsh -c qemu:///system pool-dumpxml {shlex.quote(node.pool)}")
        if found.status != 0:
            return ""
        text = found.stdout.decode(errors="replace")
        return unescape(text.partition("<target>")[2].partition("<path>")[2].partition("</path>")[0].strip())

    def _install(self, shell: OperatorShell, node: Node, pool_path: str) -> list[str]:
        request = json.dumps(self._request(node, pool_path)).encode()
        done = shell.run(f"/usr/bin/python3 -I -c {shlex.quote(self._bundle.installer)}", request)
        answer: dict[str, Any] = {}
        if done.stdout.startswith(b"{"):
            answer = plain_json(done.stdout)
        if done.status != 0 or "changed" not in answer:
            reason = answer.get("error") or done.stderr.strip()[-300:] or "no reason given"
            raise PermanentDriverError(f"nothing was installed on {shell.name}: {reason}")
        return [str(path) for path in answer["changed"]]

    def _request(self, node: Node, pool_path: str) -> dict[str, Any]:
        """The files with their modes; libvirt's hook for a hypervisor only. The agent and its signature lie in a directory of
        their own that one link names: both change in the same instant."""
        bundle, home = self._bundle, f"{LIBRARY}/agent-{self._bundle.sha256[:16]}"
        public = self._secrets.public_key()
        signature = armored(
            bundle.zipapp,
            namespace=NAMESPACE,
            public_key=public,
            sign=lambda payload: base64.b64decode(self._secrets.sign(payload).value),
        )
        config = json.dumps({"pool_paths": [pool_path] if pool_path else []}) + "\n"
        hook = ((f"{LIBRARY}/hold-check", 0o644, bundle.hold_check), (HOOK, 0o755, bundle.hook))
        files = (
            (f"{home}/node-agent.pyz", 0o644, bundle.zipapp),
            (f"{home}/node-agent.pyz.sig", 0o644, signature.encode()),
            (f"{LIBRARY}/allowed_signers", 0o644, allowed_signers(public, principal=PRINCIPAL, namespace=NAMESPACE).encode()),
            (LAUNCHER, 0o755, bundle.launcher),
            (CONFIG, 0o600, config.encode()),
            *(hook if node.kind == NodeKind.HYPERVISOR else ()),
        )
        return {
            "files": [{"path": p, "mode": m, "content": base64.b64encode(c).decode()} for p, m, c in files],
            "links": {f"{LIBRARY}/agent": home.rpartition("/")[2]},
            "prune": {"directory": LIBRARY, "prefix": "agent-", "keep": home.rpartition("/")[2]},
            "key": {"line": f'restrict,command="{LAUNCHER}" {ensure_identity(self._identity)}'},
        }

    def _prove(self, node: Node, host_key: HostKey, pool_path: str, packages: Packages, *, limit: Deadline) -> EnrolmentReport:
        shell, say = packages.shell, packages.say
        agent = SshTransport(address=node.address, port=node.port, user=node.user, key_path=self._identity, host_key=host_key)
        try:
            say("calling the agent with the controller's key")
            hello = agent.call("hello", {}, deadline=limit.left())
            if hello.get("sha256") != self._bundle.sha256:
                raise PermanentDriverError(f"{shell.name} runs another agent than the one installed", found=hello.get("sha256"))
            say("looking at what the node has")
            requirements = self._requirements(agent, node, pool_path, limit)
            if packages.bring(r.package for r in requirements if not r.ok and r.package):
                requirements = self._requirements(agent, node, pool_path, limit)
            if node.kind == NodeKind.HOSTING:
                requirements = hosting_ready.prepare(agent, node, requirements, say=say, limit=limit)
        finally:
            agent.close()
        report = EnrolmentReport(
            host_key=host_key,
            agent_version=str(hello["version"]),
            agent_sha256=str(hello["sha256"]),
            requirements=requirements,
        )
        return self._with_hook(shell, report, say) if node.kind == NodeKind.HYPERVISOR else report

    def _with_hook(self, shell: OperatorShell, report: EnrolmentReport, say: Say) -> EnrolmentReport:
        say("proving that the host hook refuses a held guest")
        proof = prove_hook(shell, restart=self._bundle.restart_libvirt, say=say)
        if not proof.ok:
            say(f"the hook did not refuse: {proof.found}")
        return replace(report, requirements=(*report.requirements, proof), hook_refuses=proof.ok)

    def _requirements(self, agent: SshTransport, node: Node, pool_path: str, limit: Deadline) -> tuple[Requirement, ...]:
        if node.kind == NodeKind.HOSTING:
            return hosting_ready.requirements(agent, node, limit)
        asked = {"pool_path": pool_path or "/", "bridge": node.bridge, **({"backups": True} if node.backups else {})}
        answer = agent.call("doctor", asked, deadline=limit.left())
        rows = tuple(
            Requirement(**{key: row[key] for key in ("name", "ok", "found", "mend", "package")}) for row in answer["requirements"]
        )
        if pool_path:
            return rows
        missing = Requirement(
            name=POOL, ok=False, found=f"libvirt knows no pool {node.pool}", mend="define and start the pool, then enrol again"
        )
        return tuple(missing if row.name == POOL else row for row in rows)
