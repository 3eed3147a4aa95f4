"""The inner half of the lab: the first process of its PID namespace.

Mounts what must be private, brings up the network, starts virtlogd, libvirtd and sshd, makes the storage pool, and runs one
command. When that command ends this process ends, and the kernel kills whatever is left in the namespace.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import cgroups, daemons
from tests.lab.environment import BRIDGE, BRIDGE_V4, BRIDGE_V6, POOL, Lab
from tests.lab.report import LabError, say

POOL_BYTES = 4 * 1024**3
PRIVATE_ON_DISK = ("/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
OVERLAID = ("/etc", "/usr/local", "/var/lib", "/var/log")
HOSTNAME = "lab-node"
LIBVIRT_CONFIG = {
    "libvirtd.conf": (
        'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_group = "root"\n'
        'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"\n'
    ),
    "qemu.conf": 'security_driver = "none"\n',
    "virtlogd.conf": "",
    "libvirt.conf": "",
    "qemu-lockd.conf": "",
    "virtlockd.conf": "",
}
SECONDS_TO_FINISH = 30


def sh(*command: str) -> str:
    """Run a tool of the system; its output. Raises `LabError` with what the tool said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)} failed with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def private_mounts(directory: Path, keep: Sequence[Path]) -> None:
    """Hide /run, make what enrolment and libvirt write private, and keep `keep` (the tree, the images) as they are.

    An empty /run also hides the machine's D-Bus and systemd: libvirt then manages control groups by itself.
    """
    kept = [path for path in keep if any(path.is_relative_to(top) for top in (*OVERLAID, "/run"))]
    for number, path in enumerate(kept):
        (directory / "keep" / str(number)).mkdir(parents=True)
        sh("mount", "--rbind", str(path), str(directory / "keep" / str(number)))
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "lab", "/run")
    for top in OVERLAID:
        upper, work = (Path("/run/lab") / kind / top.strip("/").replace("/", "-") for kind in ("upper", "work"))
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        sh("mount", "-t", "overlay", "-o", f"lowerdir={top},upperdir={upper},workdir={work}", "lab", top)
    for number, path in enumerate(kept):
        path.mkdir(parents=True, exist_ok=True)
        sh("mount", "--rbind", str(directory / "keep" / str(number)), str(path))
    for target in PRIVATE_ON_DISK:
        source = directory / "private" / target.strip("/").replace("/", "-")
        source.mkdir(parents=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        sh("mount", "--bind", str(source), target)
    for name in ("lock", "sshd", "libvirt"):
        Path("/run", name).mkdir()
    Path("/var/log/libvirt/qemu").mkdir()  # comes with the package; virtlogd does not make it


def kernel_mounts() -> None:
    """A /sys that shows this network namespace, with the lab's own control groups below it."""
    found = cgroups.hierarchies(Path("/proc/self/mounts").read_text())
    sh("umount", "--recursive", "--lazy", "/sys")
    sh("mount", "-t", "sysfs", "sysfs", "/sys")
    if not all(hierarchy.mountpoint == cgroups.ROOT for hierarchy in found):
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "cgroups", str(cgroups.ROOT))
    for hierarchy in found:
        hierarchy.mountpoint.mkdir(exist_ok=True)
        kind = "cgroup2" if hierarchy.unified else "cgroup"
        options = [] if hierarchy.unified or not hierarchy.options else ["-o", hierarchy.options]
        sh("mount", "-t", kind, *options, kind, str(hierarchy.mountpoint))
    cgroups.settle(found)


def kvm_device() -> None:
    """A /dev/kvm that QEMU's own user may open, where the machine has one at all.

    libvirtd probes QEMU as root and then finds KVM closed to QEMU's user: it would throw the probe away and probe anew, 3 s each
    time, at every use.
    """
    device = Path("/dev/kvm")
    if not device.exists():
        return
    private = Path("/run/lab/kvm")
    os.mknod(private, 0o600 | stat.S_IFCHR, device.stat().st_rdev)
    private.chmod(0o666)
    sh("mount", "--bind", str(private), str(device))


def network() -> None:
    """The loopback and one bridge with IPv4 and IPv6."""
    sh("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
    sh("sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0")
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "address", "add", BRIDGE_V4, "dev", BRIDGE)
    sh("ip", "address", "add", BRIDGE_V6, "dev", BRIDGE, "nodad")
    sh("ip", "link", "set", BRIDGE, "up")


def traffic_control() -> None:
    """Put recipes/tc before tc(8) where this kernel lacks what libvirt needs to limit a guest's network."""
    probe = "tc qdisc add dev lo root handle 1: sfq perturb 10 && tc qdisc del dev lo root"
    if subprocess.run(["sh", "-c", probe], capture_output=True, check=False, timeout=60).returncode == 0:
        return
    tool = Path(shutil.which("tc") or "/usr/sbin/tc").resolve()
    shutil.copy2(tool, "/run/lab/tc")
    shutil.copy2(Path(__file__).with_name("recipes") / "tc", "/run/lab/tc-instead")
    sh("mount", "--bind", "/run/lab/tc-instead", str(tool))


def pool_file_system(directory: Path) -> tuple[Path, Path]:
    """A sparse ext4 image on a loop device, mounted; its path and the device. The image is unlinked: it ends with the mount."""
    image, target = directory / "pool.img", directory / "pool"
    with image.open("wb") as file:
        file.truncate(POOL_BYTES)
    sh("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-L", "lab-pool", str(image))
    target.mkdir()
    sh("mount", "-o", "loop", str(image), str(target))
    image.unlink()
    target.chmod(0o711)
    (target / "lost+found").rmdir()
    return target, Path(sh("findmnt", "-n", "-o", "SOURCE", "--target", str(target)).strip())


def libvirt_configuration() -> None:
    """The system's default configuration of libvirt, without the guests, networks, pools and secrets that it may hold."""
    etc = Path("/etc/libvirt")
    for name in ("qemu", "storage", "secrets", "hooks", "lxc", "libxl", "autostart"):
        shutil.rmtree(etc / name, ignore_errors=True)
    for name, text in LIBVIRT_CONFIG.items():
        (etc / name).write_text(text)


def root_account(directory: Path) -> None:
    """Give root a home in the lab and no password: what enrolment writes there stays there, and sshd takes root's key."""
    home = directory / "root"
    (home / ".ssh").mkdir(parents=True)
    for path in (home, home / ".ssh"):
        path.chmod(0o700)
    rewrite = {"/etc/passwd": {5: str(home), 6: "/bin/bash"}, "/etc/shadow": {1: "*"}}
    for name, changes in rewrite.items():
        lines = [line.split(":") for line in Path(name).read_text().splitlines()]
        for fields in lines:
            if fields[0] == "root":
                for index, value in changes.items():
                    fields[index] = value
        Path(name).write_text("".join(":".join(fields) + "\n" for fields in lines))


def storage_pool(lab: Lab) -> None:
    """The directory pool `orch`, active and started with libvirtd."""
    sh("virsh", "-q", "-c", lab.uri, "pool-define-as", POOL, "dir", "--target", str(lab.pool_path))
    sh("virsh", "-q", "-c", lab.uri, "pool-start", POOL)
    sh("virsh", "-q", "-c", lab.uri, "pool-autostart", POOL)


def build(directory: Path, images: Path) -> Lab:
    """Everything, in order. Raises `LabError`."""
    private_mounts(directory, keep=[Path.cwd(), images])
    kernel_mounts()
    kvm_device()
    sh("hostname", HOSTNAME)
    network()
    traffic_control()
    pool, device = pool_file_system(directory)
    (directory / "tmp").mkdir(mode=0o1777)
    (directory / "tmp").chmod(0o1777)
    lab = Lab(directory=directory, pool_path=pool, pool_device=device, images=images, log=Path("/var/log/libvirt"))
    libvirt_configuration()
    root_account(directory)
    daemons.start_sshd(lab)
    daemons.start_virtlogd()
    daemons.start_libvirtd()
    storage_pool(lab)
    return lab


def supervise(child: int) -> int:
    """Wait for `child`, reaping every orphan meanwhile, as the first process of a PID namespace must; its exit status.

    libvirtd waits for the end of QEMU processes that are not its children: without this they would stay zombies for ever.
    """
    interrupted = False
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except KeyboardInterrupt:  # the command had it too: give it time to tidy up and to print its summary
            if interrupted:
                return 130
            interrupted = True
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.alarm(SECONDS_TO_FINISH)
            continue
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def prepare(directory: Path, images: Path) -> int:
    """Build the lab and say how it went; the exit status."""
    began = time.monotonic()
    try:
        lab = build(directory, images)
    except (LabError, daemons.NotReady, OSError, subprocess.SubprocessError) as error:
        say(f"could not be set up: {error}")
        with contextlib.suppress(OSError):
            say("the end of libvirtd's log:\n" + Path("/var/log/libvirt/libvirtd.log").read_text()[-2000:])
        return 70
    (directory / "environment.json").write_text(json.dumps(lab.environment()))
    say(
        f"up in {time.monotonic() - began:.1f} s: {directory}; bridge {BRIDGE} {BRIDGE_V4} {BRIDGE_V6}; pool on {lab.pool_device}"
    )
    return 0


def main(arguments: Sequence[str]) -> int:
    """``tests.lab.inside DIRECTORY IMAGES -- COMMAND…``, called by the runner alone."""
    directory, images, _dashes, *command = arguments
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    os.umask(0o022)
    builder = os.fork()
    if builder == 0:
        os._exit(prepare(Path(directory), Path(images)))
    if status := supervise(builder):
        return status
    variables: dict[str, str] = json.loads((Path(directory) / "environment.json").read_text())
    try:
        child = os.posix_spawnp(command[0], command, {**os.environ, **variables}, setsigdef=[signal.SIGINT, signal.SIGPIPE])
    except FileNotFoundError:
        say(f"there is no command {command[0]}")
        return 127
    return supervise(child)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
