"""The outer half of the lab: makes the scratch directory and the control groups, enters the namespaces, and sweeps up.

The process that runs here is the only parent of everything inside. It starts `unshare`, which dies with it (a parent-death
signal) and takes the first process of the lab's PID namespace along, and with that one all others die. What outlives processes
(the scratch directory, the empty control groups and a loop device that a test attached) is removed by a small shell that waits
for the end of this process: it works just the same when this process is killed with SIGKILL.
"""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.lab import cgroups, images
from tests.lab.report import LabError, say

SCRATCH = Path("/var/tmp")
PREFIX = "orchestrator-lab."
TOOLS = {
    "flock": "util-linux",
    "ip": "iproute2",
    "libvirtd": "libvirt-daemon-system",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "sshd": "openssh-server",
    "unshare": "util-linux",
    "virsh": "libvirt-clients",
    "virtlogd": "libvirt-daemon",
}

# Runs beside the lab, in a session of its own. $1 is the scratch directory, whose name is also that of the control groups.
# Standard input ends when the runner does, however it ends; the lock is free when `unshare` and its child are gone too.
JANITOR = """
lab=$1
cat >/dev/null
[ -e "$lab/lock" ] && flock "$lab/lock" true
tries=0
while [ "$tries" -lt 300 ]; do
    left=0
    for file in /sys/block/loop*/loop/backing_file; do
        [ -e "$file" ] || continue
        read -r backing <"$file" || continue
        device=${file%/loop/backing_file}
        case $backing in "$lab"/*) losetup -d "/dev/${device##*/}" 2>/dev/null ;; esac
    done
    for group in "/sys/fs/cgroup/${lab##*/}" /sys/fs/cgroup/*/"${lab##*/}"; do
        [ -d "$group" ] || continue
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
    done
    [ "$left" = 0 ] && rm -rf --one-file-system "$lab" && exit 0
    tries=$((tries + 1))
    sleep 0.1
done
echo "lab: could not remove everything of $lab" >&2
exit 1
"""

# Enters the control groups first, then gives them a namespace, so that they are the top of what is seen inside.
ENTER = """
groups=$1
shift
IFS=:
for group in $groups; do echo 0 >"$group/cgroup.procs" || exit 71; done
unset IFS
exec unshare --cgroup -- "$@"
"""


@dataclass(frozen=True)
class Scratch:
    """A scratch directory and the open, locked file that marks it as being in use."""

    directory: Path
    lock: int


def check_machine() -> None:
    """Raise `LabError` with everything that is missing on this machine."""
    missing = []
    if os.geteuid() != 0:
        missing.append("not root: run it with sudo")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing.extend(
        f"no {tool}: install the package {package}" for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None
    )
    if not Path("/dev/loop-control").exists():
        missing.append(
            "no /dev/loop-control: load the kernel module loop (modprobe loop), or give this container its loop devices"
        )
    if not Path("/dev/net/tun").exists():
        missing.append("no /dev/net/tun: load the kernel module tun (modprobe tun)")
    if missing:
        raise LabError("the lab cannot start here:\n" + "\n".join(f"  - {sentence}" for sentence in missing))


def make_scratch() -> Scratch:
    """A new scratch directory, locked by this process and by those that inherit the descriptor."""
    directory = SCRATCH / f"{PREFIX}{secrets.token_hex(4)}"
    directory.mkdir(mode=0o711)
    # Locked before it has its name: another lab that starts at this moment would take a free lock for one that was left.
    unnamed = directory / "lock.new"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unnamed.rename(directory / "lock")
    return Scratch(directory=directory, lock=lock)


def sweep_stale() -> None:
    """Remove what a lab left whose sweeper was killed as well: its lock is free."""
    for directory in SCRATCH.glob(f"{PREFIX}*"):
        try:
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # being made or being removed at this moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        say(f"removing {directory}, left by an earlier run")
        subprocess.run(["sh", "-c", JANITOR, "janitor", str(directory)], stdin=subprocess.DEVNULL, check=False)


def run(command: Sequence[str]) -> int:
    """Run `command` inside a fresh lab, with this process's environment and directory; its exit status (128+N for a signal)."""
    check_machine()
    sweep_stale()
    scratch = make_scratch()
    janitor = subprocess.Popen(
        ["sh", "-c", JANITOR, "janitor", str(scratch.directory)], stdin=subprocess.PIPE, start_new_session=True
    )
    assert janitor.stdin is not None
    try:
        return _enter(scratch, command)
    finally:
        os.close(scratch.lock)
        janitor.stdin.close()
        janitor.wait(timeout=60)


def _enter(scratch: Scratch, command: Sequence[str]) -> int:
    found = cgroups.hierarchies(Path("/proc/self/mounts").read_text())
    try:
        groups = cgroups.create(scratch.directory.name, found)
    except OSError as error:
        raise LabError(
            f"no control groups of its own for the lab ({error}): this container does not let root make them"
        ) from error
    namespaces = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child=SIGKILL",
        "--mount-proc",
        "--",
    ]
    enter = ["sh", "-c", ENTER, "enter", ":".join(map(str, groups))]
    inside = [sys.executable, "-m", "tests.lab.inside", str(scratch.directory), str(images.directory()), "--", *command]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *namespaces, *enter, *inside], pass_fds=[scratch.lock])
    return _wait(child)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the lab to end; a first Ctrl-C is the command's own affair, a second one or SIGTERM ends everything."""
    interrupts = 0

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if number != signal.SIGINT or interrupts > 1:
            say("ending everything at once")
            child.kill()
        else:
            say("stopping (once more to end at once)")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    status = child.wait()
    return 128 - status if status < 0 else status
