"""The guest images of the tests: `debian`, a small cloud image, `hosting`, a server with all that a hosting node needs, and
`tiny`, a kernel with one shell script.

Built once per recipe (its files and the Debian release) into a directory whose name is the recipe's hash, below the user's
cache. Two builds at a time wait for each other; an interrupted one leaves nothing that a later run would take for finished.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab import initramfs, trees
from tests.lab.environment import cache_directory
from tests.lab.report import LabError, say
from tests.lab.trees import Recipe

RECIPES = Path(__file__).parent / "recipes"
SOURCES = (Path(__file__), Path(initramfs.__file__), Path(trees.__file__), *sorted(RECIPES.glob("*.*")))
DEBIAN = Recipe(
    "debian",
    packages=(
        "cloud-init",
        "dbus",
        "e2fsprogs",
        "iproute2",
        "linux-image-cloud-amd64",
        "openssh-server",
        "qemu-guest-agent",
        "systemd-sysv",
        "udev",
    ),
    before=('mkdir -p "$1/etc/initramfs-tools/conf.d"; echo MODULES=list >"$1/etc/initramfs-tools/conf.d/lab"',),
    after=(
        f'install -D -m 644 "{RECIPES}/debian.cloud.cfg" "$1/etc/cloud/cloud.cfg.d/90-lab.cfg"',
        f'sh "{RECIPES}/debian.customize" "$1"',
    ),
)
# A server as a provider has it, without a kernel: it boots the other image's, whose initial file system brings the modules.
HOSTING = Recipe(
    "hosting",
    packages=(
        "acl",
        "at",
        "cron",
        "dbus",
        "e2fsprogs",
        "iproute2",
        "libpam-systemd",
        "logrotate",
        "mariadb-server",
        "nginx-light",
        "openssh-server",
        "openssl",
        "php-cli",
        "php-fpm",
        "php-mysql",
        "procps",
        "python3",
        "quota",
        "rsync",
        "systemd-sysv",
        "udev",
    ),
    before=(f'install -D -m 644 "{RECIPES}/hosting.cnf" "$1/etc/mysql/mariadb.conf.d/90-lab.cnf"',),
    after=(f'sh "{RECIPES}/hosting.customize" "$1"',),
)
SECONDS_TO_KEEP = 24 * 3600  # images of an older recipe: a lab may still be using them
DEBIAN_BYTES = 1024**3
HOSTING_BYTES = 3 * 1024**3
TINY_BYTES = 64 * 1024**2
ARGUMENTS = "console=ttyS0 quiet mitigations=off"
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
HOSTING_MODULES = (*BOOT_MODULES, "virtio_net", "virtio_rng", "quota_v2", "loop")
TINY_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "button", "evdev", "isofs")
CDROM_MODULES = ("virtio_scsi", "ata_piix", "sr_mod")


@dataclasses.dataclass(frozen=True)
class Image:
    """A built template; the paths are file names in the images' directory. Written beside it as NAME.json."""

    volume: str
    sha256: str
    """Of the volume's file, in hex."""
    size: int
    """Bytes that a guest sees."""
    kernel: str
    initrd: str
    kernel_arguments: str


def directory() -> Path:
    """Where the images of the present recipe are, or will be."""
    digest = hashlib.sha256(trees.platform_codename().encode())
    for source in SOURCES:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return cache_directory() / f"images-{digest.hexdigest()[:16]}"


def load(name: str, images: Path) -> Image:
    """The image's description. Raises `LabError` when it was not built."""
    try:
        return Image(**json.loads((images / f"{name}.json").read_text()))
    except FileNotFoundError as error:
        raise LabError(f"the image {name} is not built: run make images") from error


def build() -> Path:
    """Build what is missing; the directory of the images. Raises `LabError`."""
    target = directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target.parent / "lock"):
        if target.exists():
            say(f"the images are there: {target}")
            return target
        for stale in target.parent.glob("building-*"):
            shutil.rmtree(stale)
        with TemporaryDirectory(prefix="building-", dir=target.parent, ignore_cleanup_errors=True) as scratch:
            finished = _build_all(Path(scratch))
            finished.rename(target)
    for old in target.parent.glob("images-*"):
        if old != target and time.time() - old.stat().st_mtime > SECONDS_TO_KEEP:
            say(f"removing {old}, built by an older recipe")
            shutil.rmtree(old)
    return target


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the images")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_all(scratch: Path) -> Path:
    out = scratch / "out"
    out.mkdir()
    with ThreadPoolExecutor(max_workers=2) as both:
        tree, server = both.map(lambda recipe: trees.plant(recipe, scratch), (DEBIAN, HOSTING))
    modules = next((tree / "lib" / "modules").iterdir())
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    for name in ("debian", "hosting", "tiny"):
        shutil.copyfile(kernel, out / f"{name}.kernel")
    say("packing the initial file systems")
    initramfs.pack(out / "debian.initrd", modules, {"init": RECIPES / "debian.init"}, {"modules.now": BOOT_MODULES})
    initramfs.pack(out / "hosting.initrd", modules, {"init": RECIPES / "debian.init"}, {"modules.now": HOSTING_MODULES})
    scripts = {"init": RECIPES / "tiny.init", "banner": RECIPES / "tiny.banner", "commands": RECIPES / "tiny.commands"}
    initramfs.pack(out / "tiny.initrd", modules, scripts, {"modules.now": TINY_MODULES, "modules.cdrom": CDROM_MODULES})
    shutil.rmtree(tree / "boot")
    (tree / "boot").mkdir()
    say("making the disks")
    _disk(out / "debian.qcow2", tree, DEBIAN_BYTES)
    _disk(out / "hosting.qcow2", server, HOSTING_BYTES, quotas=True)
    (scratch / "nothing").mkdir()
    _disk(out / "tiny.qcow2", scratch / "nothing", TINY_BYTES)
    _describe(out, "debian", DEBIAN_BYTES, f"root=LABEL=root {ARGUMENTS}")
    _describe(out, "hosting", HOSTING_BYTES, f"root=LABEL=root rootflags=usrquota net.ifnames=0 {ARGUMENTS}")
    _describe(out, "tiny", TINY_BYTES, ARGUMENTS)
    return out


def _disk(target: Path, tree: Path, size: int, *, quotas: bool = False) -> None:
    raw = target.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-m", "1", "-E", "root_owner=0:0,nodiscard", "-d", str(tree), str(raw))
    if quotas:  # only now: it counts what is there
        _run("tune2fs", "-O", "quota", "-Q", "usrquota", str(raw))
    _run("qemu-img", "convert", "-O", "qcow2", "-o", "lazy_refcounts=off", str(raw), str(target))
    raw.unlink()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()}")


def _describe(out: Path, name: str, size: int, arguments: str) -> None:
    volume = out / f"{name}.qcow2"
    with volume.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    image = Image(
        volume=volume.name, sha256=digest, size=size, kernel=f"{name}.kernel", initrd=f"{name}.initrd", kernel_arguments=arguments
    )
    (out / f"{name}.json").write_text(json.dumps(dataclasses.asdict(image), indent=2) + "\n")
    os.sync()
