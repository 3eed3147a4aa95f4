"""The forced command: it runs the signed agent and libvirt's own call, and nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.build import bundle
from agents.launcher.launcher import AGENT_CALL, LIBVIRT_CALLS, NAMESPACE, PRINCIPAL
from orchestrator.drivers.ssh.sshsig import allowed_signers, armored

REFUSED, NOT_TO_BE_TRUSTED = 77, 78
KEY = Ed25519PrivateKey.generate()


def signature(message: bytes, key: Ed25519PrivateKey = KEY, namespace: str = NAMESPACE) -> str:
    return armored(message, namespace=namespace, public_key=key.public_key().public_bytes_raw(), sign=key.sign)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The launcher's directory as enrolment leaves it."""
    built = bundle()
    (tmp_path / "agent").mkdir()
    (tmp_path / "launcher").write_bytes(built.launcher)
    (tmp_path / "launcher").chmod(0o755)
    (tmp_path / "agent/node-agent.pyz").write_bytes(built.zipapp)
    (tmp_path / "agent/node-agent.pyz.sig").write_text(signature(built.zipapp))
    public = KEY.public_key().public_bytes_raw()
    (tmp_path / "allowed_signers").write_text(allowed_signers(public, principal=PRINCIPAL, namespace=NAMESPACE))
    (tmp_path / "allowed_signers").chmod(0o644)
    return tmp_path


def launch(home: Path, asked: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As sshd would: the client's words in SSH_ORIGINAL_COMMAND."""
    return subprocess.run(
        [home / "launcher"],
        env={"SSH_ORIGINAL_COMMAND": asked, **environment},
        input="{}",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_signed_agent_runs_and_knows_its_own_hash(home: Path) -> None:
    done = launch(home, "node-agent hello")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["result"]["sha256"] == bundle().sha256


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "id",
        "/bin/sh",
        "node-agent",
        "node-agent hello; id",
        "node-agent hello\nid",
        "node-agent hello\n",
        "node-agent  hello",
        "node-agent hello world",
        "node-agent $(id)",
        "node-agent ../x",
        "node-agent HELLO",
        " node-agent hello",
        "scp -t /etc",
        "internal-sftp",
        "virt-ssh-helper",
        "virt-ssh-helper qemu:///session",
        "virt-ssh-helper 'qemu:///system' x",
        "virt-ssh-helper 'qemu:///system'; id",
        "sh -c 'virt-ssh-helper 'qemu:///system''; id",
        "sh -c 'virt-ssh-helper 'qemu:///system' x'",
        "sh -c 'id'",
    ],
)
def test_anything_else_is_refused_with_a_sentence(asked: str, home: Path) -> None:
    done = launch(home, asked)
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr == "launcher: this key runs the node agent and libvirt's connection, nothing else\n"
    assert not AGENT_CALL.fullmatch(asked)
    assert asked not in LIBVIRT_CALLS


def no_signature(home: Path) -> None:
    (home / "agent/node-agent.pyz.sig").unlink()


def changed_agent(home: Path) -> None:
    agent = home / "agent/node-agent.pyz"
    data = bytearray(agent.read_bytes())
    data[len(data) // 2] ^= 1
    agent.write_bytes(data)


def longer_agent(home: Path) -> None:
    with (home / "agent/node-agent.pyz").open("ab") as stream:
        stream.write(b"\n")


def another_agent(home: Path) -> None:
    (home / "agent/node-agent.pyz").write_text("print('mine')\n")


def signed_by_another(home: Path) -> None:
    other = Ed25519PrivateKey.generate()
    (home / "agent/node-agent.pyz.sig").write_text(signature((home / "agent/node-agent.pyz").read_bytes(), other))


def signed_for_another_purpose(home: Path) -> None:
    data = (home / "agent/node-agent.pyz").read_bytes()
    (home / "agent/node-agent.pyz.sig").write_text(signature(data, namespace="file"))


def no_agent(home: Path) -> None:
    (home / "agent/node-agent.pyz").unlink()


def no_signers(home: Path) -> None:
    (home / "allowed_signers").unlink()


def signers_that_others_may_write(home: Path) -> None:
    (home / "allowed_signers").chmod(0o666)


def signers_behind_a_link(home: Path) -> None:
    (home / "allowed_signers").rename(home / "elsewhere")
    (home / "allowed_signers").symlink_to(home / "elsewhere")


@pytest.mark.parametrize(
    "spoil",
    [
        no_signature,
        changed_agent,
        longer_agent,
        another_agent,
        signed_by_another,
        signed_for_another_purpose,
        no_agent,
        no_signers,
        signers_that_others_may_write,
        signers_behind_a_link,
    ],
)
def test_an_agent_that_is_not_ours_to_the_byte_never_runs(spoil: Callable[[Path], None], home: Path) -> None:
    spoil(home)
    done = launch(home, "node-agent hello")
    assert (done.returncode, done.stdout) == (NOT_TO_BE_TRUSTED, "")
    assert done.stderr.startswith("launcher: ")
    assert done.stderr.endswith("; enrol the node again\n")
    assert "Traceback" not in done.stderr


def test_the_callers_environment_reaches_neither_python_nor_the_agent(home: Path) -> None:
    (home / "sitecustomize.py").write_text("print('mine')\n")
    done = launch(home, "node-agent hello", PYTHONPATH=str(home), PYTHONSTARTUP=str(home / "sitecustomize.py"), PATH=str(home))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
