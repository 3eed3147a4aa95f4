"""The daemons of the lab, started by hand: virtlogd, libvirtd and sshd. Readiness is polled, each with a deadline."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.environment import URI, Lab

LOGS = Path("/var/log/libvirt")
RUN = Path("/run/libvirt")
LIBVIRTD_PID = RUN / "libvirtd-lab.pid"
SECONDS_TO_START = 60.0
# Leaves AppArmor's profile of libvirtd, which knows nothing of the lab's paths (apparmor(7)); without AppArmor it does nothing.
UNCONFINED = '[ -e /proc/self/attr/apparmor/exec ] && echo "exec unconfined" >/proc/self/attr/apparmor/exec; exec "$@"'


class NotReady(Exception):
    """A daemon of the lab did not become ready in time; its log says why."""


def wait_until(what: str, ready: Callable[[], bool], *, seconds: float = SECONDS_TO_START, log: Path | None = None) -> None:
    """Poll `ready` until it is true. Raises `NotReady` after `seconds`, with the end of `log`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:] if log is not None and log.exists() else ""
            raise NotReady(f"{what} was not ready within {seconds:.0f} s\n{tail}")
        time.sleep(0.05)


def spawn(name: str, *command: str) -> None:
    """Start a daemon in a session of its own: Ctrl-C does not reach it, and the lab's first process reaps it."""
    with (LOGS / f"{name}.out").open("ab") as log:
        launch = ["setsid", "--fork", "sh", "-c", UNCONFINED, "start", *command]
        subprocess.run(launch, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=SECONDS_TO_START)


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(str(path))
        return True
    return False


def start_virtlogd() -> None:
    """Raises `NotReady`."""
    spawn("virtlogd", "virtlogd", "--pid-file", str(RUN / "virtlogd-lab.pid"))
    wait_until("virtlogd", lambda: answers(RUN / "virtlogd-sock"), log=LOGS / "virtlogd.out")


def start_libvirtd() -> None:
    """Start libvirtd and wait until it answers a call. Raises `NotReady`."""
    LIBVIRTD_PID.unlink(missing_ok=True)
    spawn("libvirtd", "libvirtd", "--pid-file", str(LIBVIRTD_PID))
    wait_until("libvirtd's socket", lambda: answers(RUN / "libvirt-sock"), log=LOGS / "libvirtd.out")
    wait_until("libvirtd", responds, log=LOGS / "libvirtd.log")


def responds() -> bool:
    """Whether libvirtd answers a call."""
    asked = subprocess.run(["virsh", "-c", URI, "version"], capture_output=True, check=False, timeout=SECONDS_TO_START)
    return asked.returncode == 0


def kill_libvirtd(number: signal.Signals = signal.SIGKILL) -> None:
    """End libvirtd with a signal and wait until it is gone; guests go on. Raises `NotReady`."""
    pid = int(LIBVIRTD_PID.read_text())
    os.kill(pid, number)
    wait_until("the end of libvirtd", lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie. One of several threads looks like one as soon as its first thread has ended;
    its files stay open, and its locks held, until the last has (proc(5), stat: state and num_threads)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] != "Z" or int(fields[17]) > 1


def start_sshd(lab: Lab) -> None:
    """Throw-away keys, and sshd at the lab's address. Raises `NotReady`."""
    address, port = lab.ssh_address, lab.ssh_port
    keys = lab.directory / "ssh"
    keys.mkdir(mode=0o700)
    for name in ("host_ed25519", "operator"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(keys / name)], check=True, timeout=60
        )
    host_key = lab.ssh_host_key.read_text()
    lab.ssh_known_hosts.write_text(f"[{address}]:{port} {host_key}")
    authorized = lab.directory / "root" / ".ssh" / "authorized_keys"
    authorized.write_text((keys / "operator.pub").read_text())
    authorized.chmod(0o600)
    config = keys / "sshd_config"
    config.write_text(
        f"ListenAddress {address}:{port}\nHostKey {keys}/host_ed25519\nPidFile {keys}/sshd.pid\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "MaxStartups 100\nMaxSessions 100\nSubsystem sftp internal-sftp\nLogLevel VERBOSE\n"
    )
    spawn("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", str(config))
    wait_until("sshd", lambda: _greets(address, port), log=LOGS / "sshd.out")


def _greets(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5) as client:
        return client.recv(4) == b"SSH-"
    return False
