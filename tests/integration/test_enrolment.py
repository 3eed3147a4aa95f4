"""Making the lab's plain machine a node: put in place whole, proven from both sides, repeatable."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.drivers.ssh import ensure_identity
from orchestrator.drivers.ssh.hook_proof import GUEST, GUEST_PREFIX
from orchestrator.ports.enrolment import HostKey
from tests.disk import tool
from tests.enrolled import SECONDS, Controller, controller
from tests.lab import daemons
from tests.lab.environment import Lab

LIBRARY = Path("/usr/local/lib/orchestrator")
HOOK = Path("/etc/libvirt/hooks/qemu.d/orchestrator-hold")
CONFIG = Path("/etc/orchestrator/agent.json")


def virsh(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["virsh", "-q", "-c", "qemu:///system", *words], input=stdin, capture_output=True, timeout=SECONDS, check=False
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def plain(lab: Lab, tmp_path: Path) -> Iterator[Controller]:
    """A new controller before a machine on which nothing of ours is installed; libvirtd has found no hook."""
    authorized = lab.directory / "root" / ".ssh" / "authorized_keys"

    def strip() -> None:
        shutil.rmtree(LIBRARY, ignore_errors=True)
        shutil.rmtree(CONFIG.parent, ignore_errors=True)
        shutil.rmtree(HOOK.parent.parent, ignore_errors=True)
        authorized.write_text((lab.ssh_identity.with_suffix(".pub")).read_text())

    strip()
    daemons.kill_libvirtd()
    daemons.start_libvirtd()
    yield controller(lab, tmp_path)
    strip()


def test_a_plain_machine_becomes_a_node_and_the_hook_is_proven(plain: Controller, lab: Lab) -> None:
    said: list[str] = []
    backed_up = replace(plain, node=replace(plain.node, backups="main"))
    report = backed_up.enrol(said=said)
    assert report.complete, report
    assert {"restic", "qemu-nbd", "fuse", "libnbd"} <= {requirement.name for requirement in report.requirements}
    assert report.hook_refuses
    assert report.host_key == plain.host_key()
    assert report.agent_sha256 == plain.bundle.sha256
    assert any("restarting" in sentence for sentence in said)
    assert GUEST_PREFIX not in virsh("list", "--all", "--name").stdout
    authorized = (lab.directory / "root/.ssh/authorized_keys").read_text().splitlines()
    public = ensure_identity(plain.identity)
    assert authorized == [
        lab.ssh_identity.with_suffix(".pub").read_text().strip(),
        f'restrict,command="/usr/local/lib/orchestrator/launcher" {public}',
    ]
    for path, mode in ((LIBRARY / "launcher", 0o755), (HOOK, 0o755), (CONFIG, 0o600), (LIBRARY / "allowed_signers", 0o644)):
        assert (path.stat().st_mode & 0o7777, path.stat().st_uid) == (mode, 0)


def test_enrolling_again_changes_nothing_and_restarts_nothing(plain: Controller) -> None:
    plain.enrol()
    pid = daemons.LIBVIRTD_PID.read_text()
    before = {p: p.stat().st_mtime_ns for p in (*LIBRARY.rglob("*"), HOOK, CONFIG)}
    said: list[str] = []
    report = plain.enrol(said=said)
    assert report.complete
    assert "everything was in place already" in said
    assert daemons.LIBVIRTD_PID.read_text() == pid
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_new_agent_replaces_the_old_one_whole(plain: Controller) -> None:
    plain.enrol()
    newer = replace(plain, bundle=replace(plain.bundle, zipapp=plain.bundle.zipapp + b"\0"))
    assert newer.enrol().agent_sha256 == newer.bundle.sha256 != plain.bundle.sha256
    assert len([p for p in LIBRARY.iterdir() if p.name.startswith("agent-")]) == 1


def test_the_agent_of_another_controller_is_signed_by_that_one(plain: Controller, lab: Lab, tmp_path: Path) -> None:
    plain.enrol()
    first = (LIBRARY / "allowed_signers").read_text()
    (tmp_path / "second").mkdir()
    assert controller(lab, tmp_path / "second").enrol().complete
    assert (LIBRARY / "allowed_signers").read_text() != first
    assert plain.transport().call("hello", {}, deadline=SECONDS)["sha256"] == plain.bundle.sha256


def test_another_host_key_than_the_pinned_one_ends_enrolment_before_it_begins(plain: Controller, tmp_path: Path) -> None:
    line = ensure_identity(tmp_path / "other").rpartition(" ")[0]
    with pytest.raises(PermanentDriverError, match="another host key"):
        plain.enrol(host_key=HostKey(kind="ssh-ed25519", fingerprint="", line=line))
    assert not LIBRARY.exists()


def test_an_identity_without_access_is_named(plain: Controller, tmp_path: Path) -> None:
    ensure_identity(tmp_path / "stranger")
    with pytest.raises(PermanentDriverError, match="does not accept the key"):
        replace(plain, operator=tmp_path / "stranger").enrol()
    assert not LIBRARY.exists()


def test_the_controllers_own_key_cannot_enrol(plain: Controller) -> None:
    plain.enrol()
    with pytest.raises(PermanentDriverError, match="nothing else"):
        replace(plain, operator=plain.identity).enrol()


def test_a_failure_leaves_nothing_half_installed(plain: Controller, lab: Lab) -> None:
    CONFIG.parent.write_text("in the way")
    try:
        with pytest.raises(PermanentDriverError, match="nothing was installed"):
            plain.enrol()
        assert not HOOK.exists()
        assert [p for p in LIBRARY.rglob("*") if p.is_file()] == []
        assert "orchestrator" not in (lab.directory / "root/.ssh/authorized_keys").read_text()
    finally:
        CONFIG.parent.unlink()
    assert plain.enrol().complete


def test_what_is_missing_is_named_and_what_to_do(plain: Controller) -> None:
    report = replace(plain, node=replace(plain.node, pool="nowhere", bridge="br-none")).enrol()
    assert not report.complete
    assert report.hook_refuses
    missing = {r.name: r for r in report.requirements if not r.ok}
    assert set(missing) == {"storage pool", "bridge"}
    assert "nowhere" in missing["storage pool"].found
    assert all(r.mend for r in missing.values())


def test_a_hook_that_does_not_refuse_is_found_out(plain: Controller) -> None:
    """The proof looks at what libvirt does: a hook in place that says nothing is no proof."""
    report = replace(plain, bundle=replace(plain.bundle, hook=b"#!/bin/sh\nexit 0\n")).enrol()
    assert not report.hook_refuses
    assert not report.complete
    assert GUEST_PREFIX not in virsh("list", "--all", "--name").stdout


def test_a_proof_that_was_cut_off_is_cleared_away(plain: Controller) -> None:
    left = GUEST.format(name=f"{GUEST_PREFIX}left", arch=os.uname().machine)
    assert virsh("define", "/dev/stdin", stdin=left.encode()).returncode == 0
    assert plain.enrol().complete
    assert GUEST_PREFIX not in virsh("list", "--all", "--name").stdout


def test_only_root_can_be_enrolled(plain: Controller, lab: Lab) -> None:
    home = lab.directory / "tmp" / "somebody"
    if not home.exists():
        tool("useradd", "--create-home", "--home-dir", home, "--shell", "/bin/sh", "somebody")
        (home / ".ssh").mkdir()
        (home / ".ssh/authorized_keys").write_text(lab.ssh_identity.with_suffix(".pub").read_text())
        tool("chown", "-R", "somebody", home)
        tool("usermod", "--password", "*", "somebody")
    lab.directory.chmod(0o711)
    with pytest.raises(Refused, match="root"):
        replace(plain, node=replace(plain.node, user="somebody")).enrol()


def held(name: str) -> bytes:
    return GUEST.format(name=name, arch=os.uname().machine).encode()


@pytest.fixture
def guests(plain: Controller) -> Iterator[None]:
    """An enrolled node; the guests of these tests are removed afterwards."""
    plain.enrol()
    yield
    for name in virsh("list", "--all", "--name").stdout.split():
        if name.startswith(("orch.hook", "web-hook")):
            virsh("destroy", name)
            virsh("undefine", name)


@pytest.mark.usefixtures("guests")
def test_libvirt_refuses_a_held_guest_with_the_hooks_own_words_and_starts_others() -> None:
    assert virsh("define", "/dev/stdin", stdin=held("orch.hook-1")).returncode == 0
    started = virsh("start", "--paused", "orch.hook-1")
    assert started.returncode != 0
    assert "orchestrator: orch.hook-1 is not started: service hook-proof is held (proof)" in started.stderr
    free = held("orch.hook-1").replace(b"<orch:hold reason='proof'/>", b"")
    virsh("undefine", "orch.hook-1")
    assert virsh("define", "/dev/stdin", stdin=free).returncode == 0
    assert virsh("start", "--paused", "orch.hook-1").returncode == 0
    others = held("web-hook").partition(b"<metadata>")[0] + held("web-hook").partition(b"</metadata>")[2]
    assert virsh("define", "/dev/stdin", stdin=others).returncode == 0
    assert virsh("start", "--paused", "web-hook").returncode == 0


@pytest.mark.usefixtures("guests")
def test_a_running_guest_survives_a_restart_of_libvirt_although_it_is_held() -> None:
    """The trap of the hook: a refusal at ``reconnect`` kills the guest."""
    free = held("orch.hook-2").replace(b"<orch:hold reason='proof'/>", b"")
    assert virsh("define", "/dev/stdin", stdin=free).returncode == 0
    assert virsh("start", "--paused", "orch.hook-2").returncode == 0
    hold = "<guest service='hook-2'><hold reason='abuse'/></guest>"
    namespace = "https://orchestrator.example/xmlns/guest/1"
    for scope in ("--live", "--config"):
        set_hold = virsh("metadata", "orch.hook-2", namespace, scope, "--key", "orch", "--set", hold)
        assert set_hold.returncode == 0, set_hold.stderr
    daemons.kill_libvirtd()
    daemons.start_libvirtd()
    assert virsh("domstate", "orch.hook-2").stdout.strip() == "paused"
    assert virsh("destroy", "orch.hook-2").returncode == 0
    started = virsh("start", "--paused", "orch.hook-2")
    assert "held (abuse)" in started.stderr


def test_every_kind_of_host_key_is_shown_with_the_fingerprint_that_openssh_prints(lab: Lab, tmp_path: Path) -> None:
    keys, config = [], tmp_path / "sshd_config"
    for kind in ("ed25519", "ecdsa", "rsa"):
        tool("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / kind)
        keys.append(tool("ssh-keygen", "-l", "-f", tmp_path / f"{kind}.pub").split()[1])
    config.write_text("".join(f"HostKey {tmp_path}/{kind}\n" for kind in ("ed25519", "ecdsa", "rsa")) + "UsePAM no\n")
    shown = []
    with subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", config, "-o", "ListenAddress=127.0.0.1:2299"], stderr=subprocess.DEVNULL
    ) as server:
        try:
            daemons.wait_until("sshd", lambda: daemons._greets("127.0.0.1", 2299))
            (tmp_path / "c").mkdir()
            node = replace(controller(lab, tmp_path / "c").node, port=2299)
            shown = list(controller(lab, _directory(tmp_path / "d")).enrolment().host_keys(node, deadline=SECONDS))
        finally:
            server.kill()
    assert [key.fingerprint for key in shown] == keys
    assert [key.kind for key in shown] == ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]


def _directory(path: Path) -> Path:
    path.mkdir()
    return path
