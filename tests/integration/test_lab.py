"""The lab keeps to itself and leaves nothing, however it ends. A second lab inside the first one stands for "a lab on a machine
that has a libvirtd of its own": the outer lab's daemons are the system's, as far as the inner one can tell.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import daemons
from tests.lab.environment import Lab

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
PLACES = ("/etc/libvirt/mark", "/var/lib/libvirt/mark", "/usr/local/mark", "/etc/mark")
REPORT = r"""
import json, os, subprocess, sys
from pathlib import Path
from tests.lab import environment
lab = environment.current()
subprocess.run(["virsh", "-q", "net-create", "/dev/stdin"], input=b"<network><name>inner</name></network>", check=True)
for place in json.loads(sys.argv[1]):
    Path(place).write_text("inner")
print(json.dumps({
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in sys.argv[2:]},
    "socket": [os.stat("/run/libvirt/libvirt-sock").st_dev, os.stat("/run/libvirt/libvirt-sock").st_ino],
    "device": str(lab.pool_device),
    "directory": str(lab.directory),
    "links": sorted(os.listdir("/sys/class/net")),
}))
"""


@dataclass(frozen=True)
class Traces:
    """What a lab, known by its scratch directory and network namespace, has on its machine, or has left there."""

    loops: tuple[str, ...]
    mounts: tuple[str, ...]
    groups: tuple[str, ...]
    directories: tuple[str, ...]
    processes: tuple[str, ...]


NOTHING = Traces((), (), (), (), ())


def traces(directory: str, namespace: str) -> Traces:
    """Other labs may come and go on this machine meanwhile: only what bears this one's name counts."""
    name = Path(directory).name
    loops = (file.read_text().strip() for file in Path("/sys/block").glob("loop*/loop/backing_file"))
    groups = (path for pattern in (name, f"*/{name}") for path in Path("/sys/fs/cgroup").glob(pattern))
    return Traces(
        loops=tuple(loop for loop in loops if name in loop),
        mounts=tuple(line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line),
        groups=tuple(map(str, groups)),
        directories=tuple(str(path) for path in [Path(directory)] if path.exists()),
        processes=tuple(str(link) for link in Path("/proc").glob("[0-9]*/ns/net") if leads_to(link, namespace)),
    )


def leads_to(link: Path, namespace: str) -> bool:
    with contextlib.suppress(OSError):  # the process ended meanwhile
        return str(link.readlink()) == namespace
    return False


def inner(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a lab inside this lab."""
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", "run", "--", *command], capture_output=True, text=True, check=False, timeout=120
    )


@dataclass(frozen=True)
class Running:
    """A lab that is up, and how to know it."""

    runner: subprocess.Popen[bytes]
    directory: str
    namespace: str


@contextlib.contextmanager
def running(script: str, tmp_path: Path) -> Iterator[Running]:
    """A lab that runs a shell script, in a process group of its own; entered when the script has come to the word READY."""
    ready, output = tmp_path / "ready", tmp_path / "output"
    file = shlex.quote(str(ready))
    announce = f'echo "$LAB_DIR $(readlink /proc/self/ns/net)" >{file}.new; mv {file}.new {file}'
    command = [sys.executable, "-m", "tests.lab", "run", "--", "sh", "-c", script.replace("READY", announce)]
    with output.open("wb") as log:
        runner = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log)
    try:
        daemons.wait_until("the inner lab", ready.exists, log=output)
        directory, namespace = ready.read_text().split()
        yield Running(runner, directory, namespace)
    finally:
        if runner.poll() is None:
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait(timeout=60)


def left(directory: str, namespace: str) -> Traces:
    """What is left of a lab ten seconds after its end, or as soon as nothing is: the sweeper works after the runner's end."""
    deadline = time.monotonic() + 10
    while (found := traces(directory, namespace)) != NOTHING and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_lab_has_its_own_namespaces_libvirtd_and_files_and_leaves_nothing(lab: Lab) -> None:
    own_socket = identity(Path("/run/libvirt/libvirt-sock"))
    own_pid = daemons.LIBVIRTD_PID.read_text()

    done = inner(sys.executable, "-c", REPORT, json.dumps(PLACES), *NAMESPACES)

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    for name in NAMESPACES:
        assert seen["namespaces"][name] != str(Path(f"/proc/self/ns/{name}").readlink()), name
    assert seen["socket"] != own_socket
    assert seen["device"] != str(lab.pool_device)
    assert seen["directory"] != str(lab.directory)
    assert "br-lab" in seen["links"]
    for place in PLACES:
        assert not Path(place).exists(), place
    networks = subprocess.run(["virsh", "-q", "net-list", "--all", "--name"], capture_output=True, text=True, check=True).stdout
    assert "inner" not in networks
    assert daemons.LIBVIRTD_PID.read_text() == own_pid
    assert daemons.responds()
    assert left(seen["directory"], seen["namespaces"]["net"]) == NOTHING


def identity(path: Path) -> list[int]:
    """What tells one socket from another: its file system and its inode there."""
    return [path.stat().st_dev, path.stat().st_ino]


def test_the_status_of_the_command_is_that_of_the_lab_and_nothing_is_left_after_a_failure(lab: Lab) -> None:
    done = inner("sh", "-c", 'echo "$LAB_DIR" "$(readlink /proc/self/ns/net)"; exit 7')
    assert done.returncode == 7
    assert left(*done.stdout.split()) == NOTHING


def test_a_command_that_does_not_exist_is_said(lab: Lab) -> None:
    done = inner("no-such-command")
    assert done.returncode == 127
    assert "there is no command no-such-command" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_left_when_the_runner_is_killed(lab: Lab, tmp_path: Path) -> None:
    script = 'setsid sleep 600 & truncate -s 1M "$LAB_DIR/disk"; losetup -f "$LAB_DIR/disk"; READY; sleep 600'
    with running(script, tmp_path) as inner_lab:
        during = traces(inner_lab.directory, inner_lab.namespace)
        assert len(during.loops) == 2, during.loops
        for kind in ("groups", "directories", "processes"):
            assert getattr(during, kind), f"the lab has no {kind}: this test would see nothing"
        os.kill(inner_lab.runner.pid, signal.SIGKILL)
        inner_lab.runner.wait(timeout=30)
        assert left(inner_lab.directory, inner_lab.namespace) == NOTHING


def test_ctrl_c_lets_the_command_finish_and_nothing_is_left(lab: Lab, tmp_path: Path) -> None:
    with running('trap "echo tidied up; exit 9" INT; READY; while :; do sleep 0.1; done', tmp_path) as inner_lab:
        os.killpg(inner_lab.runner.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            inner_lab.runner.wait(timeout=90)
        said = (tmp_path / "output").read_text()
        assert inner_lab.runner.returncode == 9, said
    assert "tidied up" in said
    assert left(inner_lab.directory, inner_lab.namespace) == NOTHING


def test_what_is_missing_on_the_machine_is_named(lab: Lab) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", "run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/nowhere"},
    )
    assert done.returncode == 69
    assert "no mount: install the package mount" in done.stderr
    assert "Traceback" not in done.stderr


def test_libvirtd_can_be_killed_and_started_again(lab: Lab) -> None:
    daemons.kill_libvirtd()
    assert not daemons.responds()
    daemons.start_libvirtd()
    pools = subprocess.run(["virsh", "-q", "pool-list", "--name"], capture_output=True, text=True, check=True).stdout
    assert lab.pool in pools.split()


def test_the_operators_key_opens_roots_account_of_the_lab(lab: Lab) -> None:
    options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={lab.ssh_known_hosts}", "-p", str(lab.ssh_port)]
    asked = subprocess.run(
        ["ssh", *options, "-i", str(lab.ssh_identity), f"root@{lab.ssh_address}", "id -u; pwd"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert asked.stdout.split() == ["0", str(lab.directory / "root")], asked.stderr
