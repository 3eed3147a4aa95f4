"""What a process inside the lab may know: its paths, its libvirt and its sshd.

The runner passes these in the environment (``LAB_DIR`` and so on), so that a test, a shell script and the demonstration read the
same thing. Reading them outside the lab raises `NotInLab`, whose message says how to get in.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "br-lab"
BRIDGE_V4 = "10.77.0.1/24"
BRIDGE_V6 = "fd77::1/64"
POOL = "orch"
SSH_ADDRESS = "127.0.0.1"
SSH_PORT = 2222
URI = "qemu:///system"


class NotInLab(Exception):
    """This needs the lab. Run it as root with: make test, or .venv/bin/python -m tests.lab run -- COMMAND."""

    def __str__(self) -> str:
        return str(self.__doc__)


@dataclass(frozen=True)
class Lab:
    """The lab that this process runs in."""

    directory: Path
    """Scratch space on disk; gone when the lab ends. Readable by the user that QEMU runs as, where a test makes it so."""
    pool_path: Path
    """Directory of the pool `orch`: an ext4 file system of its own."""
    pool_device: Path
    """The loop device below that file system, for searches in the raw medium."""
    images: Path
    """Directory of the templates: NAME.json, NAME.qcow2, NAME.kernel and NAME.initrd."""
    log: Path
    """Directory of the logs of libvirtd, virtlogd and sshd."""

    uri: str = URI
    pool: str = POOL
    bridge: str = BRIDGE
    ssh_address: str = SSH_ADDRESS
    ssh_port: int = SSH_PORT

    @property
    def ssh_identity(self) -> Path:
        """The operator's private key, which opens root's account on the lab's sshd."""
        return self.directory / "ssh" / "operator"

    @property
    def ssh_host_key(self) -> Path:
        """The public host key of the lab's sshd."""
        return self.directory / "ssh" / "host_ed25519.pub"

    @property
    def ssh_known_hosts(self) -> Path:
        """A known_hosts file with that key."""
        return self.directory / "ssh" / "known_hosts"

    def environment(self) -> dict[str, str]:
        """The variables that carry this value to a child."""
        return {
            "LAB_DIR": str(self.directory),
            "LAB_POOL_PATH": str(self.pool_path),
            "LAB_POOL_DEVICE": str(self.pool_device),
            "LAB_IMAGES": str(self.images),
            "LAB_LOG": str(self.log),
            "LAB_URI": self.uri,
            "LIBVIRT_DEFAULT_URI": self.uri,
            "TMPDIR": str(self.directory / "tmp"),
        }


def inside(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs inside a lab."""
    return "LAB_DIR" in environ


def current(environ: Mapping[str, str] = os.environ) -> Lab:
    """The lab of this process. Raises `NotInLab` outside of one."""
    if not inside(environ):
        raise NotInLab
    return Lab(
        directory=Path(environ["LAB_DIR"]),
        pool_path=Path(environ["LAB_POOL_PATH"]),
        pool_device=Path(environ["LAB_POOL_DEVICE"]),
        images=Path(environ["LAB_IMAGES"]),
        log=Path(environ["LAB_LOG"]),
    )


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """What is kept between runs lies here: outside the tree, per user."""
    if "ORCHESTRATOR_CACHE" in environ:
        return Path(environ["ORCHESTRATOR_CACHE"])
    base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "orchestrator-lab"
