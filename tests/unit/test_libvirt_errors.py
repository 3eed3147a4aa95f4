"""libvirt's errors as ours, and the way to a node."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import libvirt
import pytest

from orchestrator.domain.errors import (
    AlreadyExists,
    NoCapacity,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    Unreachable,
    WrongState,
)
from orchestrator.domain.plans import Node
from orchestrator.drivers.libvirt.errors import hook_words, translate, translated
from orchestrator.drivers.libvirt.uri import ssh_uri, write_wrapper
from orchestrator.ports.enrolment import HostKey

INTERNAL, SYSTEM = libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_SYSTEM_ERROR
HOOK = (
    "Hook script execution failed: internal error: Child process (LC_ALL=C /etc/libvirt/hooks/qemu.d/orchestrator-hold orch.s1"
    " prepare begin -) unexpected exit status 1: orchestrator: orch.s1 is not started: service s1 is held (nonpayment)\n"
)


def said(code: int, message: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(message)
    error.err = (code, 0, message, 2, None, None, None, -1, -1)
    return error


@pytest.mark.parametrize(
    ("code", "message", "ours"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", NotFound),
        (libvirt.VIR_ERR_NO_STORAGE_VOL, "Storage volume not found", NotFound),
        (libvirt.VIR_ERR_NO_STORAGE_POOL, "Storage pool not found", NotFound),
        (libvirt.VIR_ERR_STORAGE_VOL_EXIST, "storage vol already exists", AlreadyExists),
        (libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running", WrongState),
        (libvirt.VIR_ERR_HOOK_SCRIPT_FAILED, HOOK, Refused),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, "Timed out during operation", TransientDriverError),
        (libvirt.VIR_ERR_RPC, "anything", Unreachable),
        (INTERNAL, "client socket is closed", Unreachable),
        (INTERNAL, "pool 'p' has asynchronous jobs running.", TransientDriverError),
        (SYSTEM, "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory", Unreachable),
        (SYSTEM, "End of file while reading data: Input/output error", Unreachable),
        (SYSTEM, "Cannot recv data: Host key verification failed.: Connection reset by peer", PermanentDriverError),
        (SYSTEM, "Cannot recv data: root@n: Permission denied (publickey).: Connection reset by peer", PermanentDriverError),
        (SYSTEM, "cannot fill file '/p/x': No space left on device", NoCapacity),
        (INTERNAL, "qemu-img: error while writing: No space left on device", NoCapacity),
        (libvirt.VIR_ERR_OPERATION_INVALID, "volume 'x' is still being allocated.", TransientDriverError),
        (INTERNAL, "something that nobody has thought of", PermanentDriverError),
        (libvirt.VIR_ERR_XML_ERROR, "unsupported", PermanentDriverError),
    ],
)
def test_each_error_is_one_of_ours(code: int, message: str, ours: type[OrchestratorError]) -> None:
    error = translate(said(code, message), "doing something")
    assert type(error) is ours
    assert error.message.startswith("doing something: ")


def test_a_refusal_is_in_the_hooks_own_words() -> None:
    assert hook_words(HOOK) == "orchestrator: orch.s1 is not started: service s1 is held (nonpayment)"
    assert hook_words("nothing known") == "the host's hook refused"


def test_the_cause_stays_behind_the_translation() -> None:
    with pytest.raises(NotFound) as caught, translated("looking"):
        raise said(libvirt.VIR_ERR_NO_DOMAIN, "gone")
    assert isinstance(caught.value.__cause__, libvirt.libvirtError)


@pytest.mark.parametrize(
    ("address", "authority"), [("192.0.2.9", "root@192.0.2.9:2222"), ("2001:db8::9", "root@[2001:db8::9]:2222")]
)
def test_the_uri_names_the_wrapper_and_nothing_else_that_decides_trust(address: str, authority: str) -> None:
    uri = ssh_uri(Node(name="n1", zone="z", address=address, port=2222), Path("/state dir/n1.ssh"))
    assert uri == f"qemu+ssh://{authority}/system?command=/state%20dir/n1.ssh&proxy=native&no_tty=1"


def test_the_wrapper_trusts_one_key_offers_one_identity_and_is_the_controllers_alone(tmp_path: Path) -> None:
    directory = tmp_path / "with a blank"
    key = HostKey(kind="ssh-ed25519", fingerprint="", line="ssh-ed25519 AAAA")
    wrapper = write_wrapper(directory, Node(name="n1", zone="z", address="h"), identity=Path("/keys/id"), host_key=key)
    assert (directory / "n1.known_hosts").read_text() == "n1 ssh-ed25519 AAAA\n"
    assert stat.S_IMODE(wrapper.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "n1.known_hosts").stat().st_mode) == 0o600
    settings = effective_settings(wrapper, tmp_path)
    assert settings["stricthostkeychecking"] in {"true", "yes"}
    assert settings["userknownhostsfile"] == str(directory / "n1.known_hosts")
    assert (settings["hostkeyalias"], settings["identityfile"], settings["identitiesonly"]) == ("n1", "/keys/id", "yes")
    assert (settings["batchmode"], settings["forwardagent"]) == ("yes", "no")


def effective_settings(wrapper: Path, tmp_path: Path) -> dict[str, str]:
    """What ssh itself makes of the wrapper's options, with a personal configuration that says the opposite."""
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "config").write_text("StrictHostKeyChecking no\nHostKeyAlias other\n")
    environment = {**os.environ, "HOME": str(home.parent)}
    output = subprocess.run([str(wrapper), "-G", "h"], capture_output=True, text=True, check=True, timeout=30, env=environment)
    return dict(line.partition(" ")[::2] for line in output.stdout.splitlines())
