"""A second machine of the lab: its own libvirtd, virtlogd, sshd, bridge and pool, in namespaces (mount, network, UTS) of its own.

Its bridge has the same name as the lab's and hangs on that by a cable, so that a guest keeps its addresses wherever it runs. Its
files are found below ``/proc/PID/root``, and its virsh by ``nsenter``. Only who asks for it starts it.

``python -m tests.lab.neighbour DIRECTORY`` is its inner half.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab import daemons, environment, inside
from tests.lab.environment import BRIDGE, Lab
from tests.lab.inside import sh
from tests.lab.report import LabError

NAME = "lab-node-2"
ADDRESS = "10.77.0.2"
ADDRESS_V6 = "fd77::2"
SSH_PORT = 2222
HOST_UUID = "7d1f5f0e-5f0b-4a51-9d0e-2f0e9a6b2d02"
CABLE, PLUG = "to-node-2", "uplink"
SECONDS = 90.0
AGAIN = "again"
LIBVIRTD = "libvirtd"
ROOT = Path(__file__).parents[2]
# What enrolment, libvirt and the agent write is this machine's own. Empty at first.
PRIVATE = (
    "/run/libvirt",
    "/run/orchestrator-agent",
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
    "/var/lib/orchestrator-agent",
    "/etc/orchestrator",
    "/usr/local/lib/orchestrator",
)
DAEMONS = ("libvirtd-lab.pid", "virtlogd-lab.pid")


@dataclass(frozen=True)
class Neighbour:
    """``lab``: its paths as it sees them itself, its sshd's address and the keys of that. ``pid`` is in its namespaces."""

    lab: Lab
    pid: int

    def path(self, path: Path | str) -> Path:
        """A file of this machine, as the lab sees it."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A program on this machine."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--uts", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=SECONDS, check=check)

    def virsh(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("virsh", "-q", "-c", self.lab.uri, *words, check=check)

    def put(self, *files: Path) -> None:
        """Copy files of the lab into this machine's pool, as an operator puts a template onto a node."""
        for file in files:
            shutil.copyfile(file, self.path(self.lab.pool_path / file.name))
        self.virsh("pool-refresh", self.lab.pool)

    def pids(self) -> tuple[int, ...]:
        """Of libvirtd, and of sshd with everybody who is logged in there."""
        (libvirtd,) = (int(self.path(f"/run/libvirt/{name}").read_text()) for name in DAEMONS[:1])
        sshd = int((self.lab.directory / "ssh" / "sshd.pid").read_text())
        return (libvirtd, sshd, *_below(sshd))

    def power_off(self) -> None:
        """As if its cords were pulled: libvirtd, sshd, its guests and all else of it end at once."""
        _kill_all(self.pid)

    def power_on(self) -> None:
        """It boots: its daemons are started, and libvirtd starts the guests that start with their host."""
        self._start(AGAIN)

    def _start(self, what: str) -> None:
        words = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.lab.neighbour", str(self.lab.directory), what)
        booted = self.run(*words, check=False)
        if booted.returncode:
            raise daemons.NotReady(f"the second machine does not come back:\n{booted.stderr[-2000:]}")

    @contextmanager
    def without_libvirtd(self) -> Iterator[None]:
        """As while libvirt is upgraded: libvirtd is not there, sshd is, and its guests run on."""
        libvirtd = self.pids()[0]
        os.kill(libvirtd, signal.SIGTERM)
        daemons.wait_until("libvirtd's end", lambda: not Path(f"/proc/{libvirtd}/exe").exists())
        try:
            yield
        finally:
            self._start(LIBVIRTD)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Neither libvirtd nor sshd does anything meanwhile, and neither is gone: connections stand, and nobody answers."""
        stopped = self.pids()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def running(lab: Lab) -> Iterator[Neighbour]:
    """Raises `NotReady`, with what its inner half said."""
    directory = lab.directory / "neighbour"
    directory.mkdir(mode=0o711)
    log = directory / "start.log"
    command = ["unshare", "--mount", "--net", "--uts", "--propagation", "private", "--"]
    with log.open("wb") as said:
        holder = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.lab.neighbour", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield _ready(holder, directory, log)
    finally:
        _end(holder)


def _ready(holder: subprocess.Popen[bytes], directory: Path, log: Path) -> Neighbour:
    own = _net(os.getpid())
    daemons.wait_until("the second machine's namespaces", lambda: _net(holder.pid) not in ("", own), log=log)
    sh("ip", "link", "add", CABLE, "type", "veth", "peer", "name", PLUG, "netns", str(holder.pid))
    sh("ip", "link", "set", CABLE, "master", BRIDGE, "up")
    ready = directory / "environment.json"
    daemons.wait_until("the second machine", lambda: ready.exists() or holder.poll() is not None, seconds=SECONDS, log=log)
    if not ready.exists():
        raise daemons.NotReady(f"the second machine could not be set up:\n{log.read_text()[-2000:]}")
    return Neighbour(lab=_lab(environment.current(json.loads(ready.read_text()))), pid=holder.pid)


def _end(holder: subprocess.Popen[bytes]) -> None:
    """Everybody in its namespaces, and with the last one these."""
    _kill_all(holder.pid)
    holder.kill()
    holder.wait(timeout=30)


def _kill_all(holder: int) -> None:
    """Everybody in its namespaces but who holds them."""
    space = _net(holder)
    for file in Path("/proc").glob("[0-9]*"):
        if space and int(file.name) != holder and _net(int(file.name)) == space != _net(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.name), signal.SIGKILL)


def _lab(lab: Lab) -> Lab:
    return replace(lab, ssh_address=ADDRESS, ssh_port=SSH_PORT)


def _net(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def _below(pid: int) -> Iterator[int]:
    """Every process under this one."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = file.read_text()
            if int(text.rpartition(")")[2].split()[1]) == pid:
                child = int(text.split(" ", 1)[0])
                yield child
                yield from _below(child)


# -- the inner half --------------------------------------------------------------------------------------------------------------


def build(directory: Path) -> Lab:
    """Everything, in order. Raises `LabError`, `NotReady`."""
    first = environment.current()
    home = directory / "root"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    for number, target in enumerate((*PRIVATE, "/etc/libvirt")):
        own = directory / "private" / str(number)
        own.mkdir(parents=True)
        if target == "/etc/libvirt":
            shutil.copytree(target, own, dirs_exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        sh("mount", "--bind", str(own), target)
    sh("mount", "--bind", str(home), str(first.directory / "root"))
    Path("/var/log/libvirt/qemu").mkdir()
    inside.libvirt_configuration()
    with Path("/etc/libvirt/libvirtd.conf").open("a") as file:
        file.write(f'host_uuid = "{HOST_UUID}"\n')
    sh("hostname", NAME)
    _own_sys(directory)
    _network()
    pool, device = inside.pool_file_system(directory)
    lab = _lab(replace(first, directory=directory, pool_path=pool, pool_device=device))
    daemons.start_sshd(lab)
    daemons.start_virtlogd()
    daemons.start_libvirtd()
    inside.storage_pool(lab)
    return lab


def _own_sys(directory: Path) -> None:
    """A /sys that shows this network namespace, above the same control groups."""
    aside = directory / "cgroups"
    aside.mkdir()
    sh("mount", "--rbind", "/sys/fs/cgroup", str(aside))
    sh("umount", "--recursive", "--lazy", "/sys")
    sh("mount", "-t", "sysfs", "sysfs", "/sys")
    sh("mount", "--rbind", str(aside), "/sys/fs/cgroup")


def _network() -> None:
    daemons.wait_until("the cable", lambda: Path("/sys/class/net", PLUG).exists())
    sh("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
    sh("sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0")
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
    sh("ip", "address", "add", f"{ADDRESS_V6}/64", "dev", BRIDGE, "nodad")
    sh("ip", "link", "set", PLUG, "master", BRIDGE, "up")
    sh("ip", "link", "set", BRIDGE, "up")


def boot(directory: Path) -> None:
    """Start the daemons of one that was built, again. Raises `NotReady`."""
    lab = _lab(environment.current(json.loads((directory / "environment.json").read_text())))
    daemons.spawn("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", str(lab.directory / "ssh" / "sshd_config"))
    daemons.start_virtlogd()
    daemons.start_libvirtd()


def main(directory: Path) -> int:
    """Build, say that it is there, and keep the namespaces until the lab ends."""
    os.umask(0o022)
    try:
        lab = build(directory)
    except (LabError, daemons.NotReady, OSError, subprocess.SubprocessError) as error:
        print(error, flush=True)
        return 70
    unfinished = directory / "environment.new"
    unfinished.write_text(json.dumps(lab.environment()))
    unfinished.rename(directory / "environment.json")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[2:] == [AGAIN]:
        boot(Path(sys.argv[1]))
    elif sys.argv[2:] == [LIBVIRTD]:
        daemons.start_libvirtd()
    else:
        sys.exit(main(Path(sys.argv[1])))
