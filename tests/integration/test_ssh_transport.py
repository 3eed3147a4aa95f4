"""Calls to a node over a real sshd: who is trusted, what a broken connection means, what bounds there are."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError, RequestError, TransientDriverError, WrongState
from orchestrator.drivers.libvirt.uri import ssh_uri, write_wrapper
from orchestrator.drivers.ssh import SshTransport, ensure_identity
from orchestrator.drivers.ssh.connection import OUTPUT_LIMIT, SshConnection
from orchestrator.ports.enrolment import HostKey
from tests.enrolled import Controller, agent, enrolled
from tests.lab.environment import Lab

__all__ = ["agent", "enrolled"]  # fixtures
SECONDS = 60.0


def other_host_key(directory: Path) -> HostKey:
    line = ensure_identity(directory / "other").rpartition(" ")[0]
    return HostKey(kind="ssh-ed25519", fingerprint="", line=line)


def transport(
    controller: Controller, *, port: int = 0, key_path: Path | None = None, host_key: HostKey | None = None
) -> SshTransport:
    return SshTransport(
        address=controller.node.address,
        port=port or controller.node.port,
        key_path=key_path or controller.identity,
        host_key=host_key or controller.host_key(),
    )


def sessions(lab: Lab) -> list[int]:
    """The processes in which sshd serves logged-in connections."""
    listener = int((lab.directory / "ssh" / "sshd.pid").read_text())
    children = Path(f"/proc/{listener}/task/{listener}/children").read_text().split()
    return sorted(int(pid) for pid in children)


@pytest.fixture
def operator(enrolled: Controller) -> Iterator[SshConnection]:
    """A connection that may run anything."""
    connection = SshConnection(
        address=enrolled.node.address,
        port=enrolled.node.port,
        user="root",
        key_path=enrolled.operator,
        host_key=enrolled.host_key(),
    )
    yield connection
    connection.close()


def test_a_changed_host_key_is_a_permanent_error_and_nothing_runs(enrolled: Controller, lab: Lab, tmp_path: Path) -> None:
    before = (lab.log / "sshd.out").read_text().count("Accepted publickey")
    with pytest.raises(PermanentDriverError, match="presents another host key"):
        transport(enrolled, host_key=other_host_key(tmp_path)).call("hello", {}, deadline=SECONDS)
    assert (lab.log / "sshd.out").read_text().count("Accepted publickey") == before


def test_a_pin_that_is_no_key_is_a_permanent_error(enrolled: Controller) -> None:
    with pytest.raises(PermanentDriverError, match="cannot be used"):
        transport(enrolled, host_key=HostKey(kind="x", fingerprint="", line="x y")).call("hello", {}, deadline=SECONDS)


def test_a_key_that_the_node_does_not_know_is_a_permanent_error(enrolled: Controller, tmp_path: Path) -> None:
    ensure_identity(tmp_path / "stranger")
    with pytest.raises(PermanentDriverError, match="does not accept the key"):
        transport(enrolled, key_path=tmp_path / "stranger").call("hello", {}, deadline=SECONDS)


@pytest.mark.parametrize("content", [None, "", "no key\n"])
def test_a_key_file_that_is_none_is_named(content: str | None, enrolled: Controller, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(PermanentDriverError, match=str(tmp_path / "key")):
        transport(enrolled, key_path=tmp_path / "key").call("hello", {}, deadline=SECONDS)


def test_nobody_listening_may_pass_by_itself(enrolled: Controller) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(TransientDriverError, match="cannot be connected to"):
            transport(enrolled, port=unused.getsockname()[1], host_key=enrolled.host_key()).call("hello", {}, deadline=SECONDS)


def test_a_node_that_accepts_and_says_nothing_ends_by_the_deadline(enrolled: Controller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(TransientDriverError):
            transport(enrolled, port=silent.getsockname()[1], host_key=enrolled.host_key()).call("hello", {}, deadline=1.0)
        assert time.monotonic() - began < 5.0


def test_the_connection_is_kept_between_calls_and_made_again_when_it_broke(
    agent: SshTransport, lab: Lab, enrolled: Controller
) -> None:
    before = set(sessions(lab))
    agent.call("hello", {}, deadline=SECONDS)
    (mine,) = set(sessions(lab)) - before
    agent.call("hello", {}, deadline=SECONDS)
    assert set(sessions(lab)) - before == {mine}
    os.kill(mine, signal.SIGKILL)
    assert agent.call("hello", {}, deadline=SECONDS)["version"]
    assert mine not in sessions(lab)


def test_a_connection_that_breaks_in_the_middle_of_a_call_is_not_tried_again_by_itself(agent: SshTransport, lab: Lab) -> None:
    """The call may have taken effect: whoever called has to look first."""
    path = lab.pool_path / "slow.qcow2"
    path.touch()
    os.truncate(path, 1 << 38)
    before = set(sessions(lab))
    broken: list[Exception] = []
    began = threading.Event()

    def call() -> None:
        try:
            agent.call(
                "template-check", {"path": str(path), "sha256": "0" * 64}, deadline=SECONDS, progress=lambda *_: began.set()
            )
        except TransientDriverError as exc:
            broken.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    assert began.wait(SECONDS)
    (mine,) = set(sessions(lab)) - before
    os.kill(mine, signal.SIGKILL)
    thread.join(SECONDS)
    assert len(broken) == 1
    path.unlink()


def agents() -> list[str]:
    """The agents that run on this machine."""
    found = subprocess.run(["pgrep", "-f", "python3 -I /proc/self/fd/"], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_a_call_ends_by_its_deadline_and_the_agent_does_not_read_on_for_nobody(agent: SshTransport, lab: Lab) -> None:
    path = lab.pool_path / "slow.qcow2"
    path.touch()
    os.truncate(path, 1 << 40)
    began = time.monotonic()
    with pytest.raises(TransientDriverError, match="in time"):
        agent.call("template-check", {"path": str(path), "sha256": "0" * 64}, deadline=2.0)
    assert time.monotonic() - began < 4.0
    end = time.monotonic() + 10
    while agents():
        assert time.monotonic() < end
        time.sleep(0.1)
    path.unlink()
    assert agent.call("hello", {}, deadline=SECONDS)["version"]


def test_twenty_calls_at_a_time_all_come_back_over_one_connection(agent: SshTransport, lab: Lab) -> None:
    before = set(sessions(lab))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: agent.call("hello", {}, deadline=SECONDS), range(20)))
    assert {a["version"] for a in answers} == {answers[0]["version"]}
    assert len(set(sessions(lab)) - before) == 1


def test_output_beyond_the_bound_is_a_permanent_error_and_not_kept(operator: SshConnection) -> None:
    with pytest.raises(PermanentDriverError, match="more than"):
        operator.run(f"head -c {OUTPUT_LIMIT + 1} /dev/zero", b"", deadline=SECONDS)


def test_output_up_to_the_bound_comes_whole(operator: SshConnection) -> None:
    done = operator.run(f"head -c {OUTPUT_LIMIT} /dev/zero", b"", deadline=SECONDS)
    assert (done.status, len(done.stdout)) == (0, OUTPUT_LIMIT)


@pytest.mark.parametrize("order", ["{err}; {out}", "{out}; {err}", "{out} & {err} & wait", "{err} & exec 1>&-; wait"])
def test_a_flood_on_stderr_blocks_nothing_and_only_its_end_is_kept(order: str, operator: SshConnection) -> None:
    """More than a channel's window on both: a reader of one after the other would wait for ever."""
    command = order.format(err="head -c 5000000 /dev/zero | tr '\\0' e >&2", out="head -c 5000000 /dev/zero") + "; exit 3"
    done = operator.run(command, b"", deadline=SECONDS)
    assert done.status == 3
    assert len(done.stderr) == 64 * 1024


def test_the_exit_status_and_the_last_words_come_back(operator: SshConnection) -> None:
    done = operator.run("cat; echo last words >&2; exit 7", b"asked", deadline=SECONDS)
    assert (done.status, done.stdout, done.stderr) == (7, b"asked", "last words\n")
    assert operator.run("kill -9 $$", b"", deadline=SECONDS).status == -1


def test_an_error_of_the_agent_arrives_as_the_error_of_its_code(agent: SshTransport, lab: Lab) -> None:
    with pytest.raises(RequestError, match="'path' is not an absolute path"):
        agent.call("volume-state", {"path": "x"}, deadline=SECONDS)
    volume = lab.pool_path / "orch.vps-1.root.j1.raw"
    volume.write_bytes(b"x")
    volume.with_name(f"{volume.name}.wiping").write_bytes(b"x")
    with pytest.raises(WrongState) as caught:
        agent.call("volume-wipe", {"path": str(volume), "method": "overwrite"}, deadline=SECONDS)
    assert caught.value.hint
    assert caught.value.details["node"] == "127.0.0.1:2222"
    volume.unlink()
    volume.with_name(f"{volume.name}.wiping").unlink()


def ssh(controller: Controller, lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """OpenSSH's own client with the controller's key."""
    options = {"IdentitiesOnly": "yes", "UserKnownHostsFile": str(lab.ssh_known_hosts), "BatchMode": "yes"}
    call = ["ssh", "-F", "none", "-i", str(controller.identity), "-p", str(lab.ssh_port)]
    call += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return subprocess.run([*call, *words], input="{}", capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.mark.parametrize("words", ["", "id", "sh -c id", "node-agent hello;id", "/bin/sh", "scp -t /etc", "rsync --server . /"])
def test_the_controllers_key_opens_no_shell(words: str, enrolled: Controller, lab: Lab) -> None:
    done = ssh(enrolled, lab, "-T", "root@127.0.0.1", *([words] if words else []))
    assert (done.returncode, done.stdout) == (77, "")
    assert "nothing else" in done.stderr


@pytest.mark.parametrize(
    ("option", "target", "status", "says"),
    [
        ("-tt", ["root@127.0.0.1", "id"], 255, "PTY allocation request failed"),
        ("-W127.0.0.1:2222", ["root@127.0.0.1"], 255, "administratively prohibited"),
        ("-R0:127.0.0.1:2222", ["-oExitOnForwardFailure=yes", "root@127.0.0.1", "node-agent hello"], 255, "forwarding failed"),
        ("-s", ["root@127.0.0.1", "sftp"], 77, ""),
    ],
)
def test_the_controllers_key_gets_no_terminal_forwarding_or_file_transfer(
    option: str, target: list[str], status: int, says: str, enrolled: Controller, lab: Lab
) -> None:
    done = ssh(enrolled, lab, option, *target)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr


def test_libvirt_answers_through_the_same_key(enrolled: Controller, lab: Lab, tmp_path: Path) -> None:
    wrapper = write_wrapper(tmp_path, enrolled.node, identity=enrolled.identity, host_key=enrolled.host_key())
    done = subprocess.run(
        ["virsh", "-c", ssh_uri(enrolled.node, wrapper), "pool-list", "--name"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert lab.pool in done.stdout.split(), done.stderr


def test_a_connection_whose_other_side_hangs_is_replaced(agent: SshTransport, lab: Lab) -> None:
    before = set(sessions(lab))
    agent.call("hello", {}, deadline=SECONDS)
    (mine,) = set(sessions(lab)) - before
    os.kill(mine, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(TransientDriverError):
            agent.call("hello", {}, deadline=1.0)
        assert time.monotonic() - began < 3.0
        assert agent.call("hello", {}, deadline=SECONDS)["version"]
    finally:
        os.kill(mine, signal.SIGKILL)


def test_a_tampered_agent_is_not_run_and_said_so(agent: SshTransport) -> None:
    installed = Path("/usr/local/lib/orchestrator/agent/node-agent.pyz")
    whole = installed.read_bytes()
    try:
        installed.write_bytes(whole.replace(b"__main__", b"__nain__", 1))
        with pytest.raises(PermanentDriverError, match="signature does not hold"):
            agent.call("hello", {}, deadline=SECONDS)
    finally:
        installed.write_bytes(whole)
    assert json.dumps(agent.call("hello", {}, deadline=SECONDS))
