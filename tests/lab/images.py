"""The guest images of the tests: `debian`, a small cloud image, and `tiny`, a kernel with one shell script.

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
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab import initramfs
from tests.lab.environment import cache_directory
from tests.lab.report import LabError, say

RECIPES = Path(__file__).parent / "recipes"
SOURCES = (Path(__file__), Path(initramfs.__file__), *sorted(RECIPES.glob("*.*")))
PACKAGES = (
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "linux-image-cloud-amd64",
    "openssh-server",
    "qemu-guest-agent",
    "systemd-sysv",
    "udev",
)
NO_DOCS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
SECONDS_TO_KEEP = 24 * 3600  # images of an older recipe: a lab may still be using them
DEBIAN_BYTES = 1024**3
TINY_BYTES = 64 * 1024**2
ARGUMENTS = "console=ttyS0 quiet mitigations=off"
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
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


@dataclasses.dataclass(frozen=True)
class Release:
    """The Debian release that images are built from: this machine's own."""

    codename: str
    mirrors: tuple[str, ...]
    """Lines as in sources.list(5)."""


def release() -> Release:
    """Read from APT's own view of this machine's sources. Raises `LabError` when it has no list of Debian's main packages."""
    wanted = "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [line.split("|") for line in asked.stdout.splitlines()]
    main = [(label, uri, codename) for origin, label, uri, codename, part in rows if (origin, part) == ("Debian", "main")]
    own = platform_codename()
    mirrors = [
        f"deb {uri} {codename} main" for _label, uri, codename in main if codename in {own, f"{own}-updates", f"{own}-security"}
    ]
    if not any(f" {own} " in line for line in mirrors):
        raise LabError(f"APT has no package list of Debian {own}: run apt-get update, or look at its sources")
    return Release(codename=own, mirrors=tuple(dict.fromkeys(mirrors)))


def platform_codename() -> str:
    """The release's name from os-release(5), such as bookworm."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise LabError("this is no Debian release: /etc/os-release has no VERSION_CODENAME")


def directory() -> Path:
    """Where the images of the present recipe are, or will be."""
    digest = hashlib.sha256(platform_codename().encode())
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
    tree, out = scratch / "tree", scratch / "out"
    out.mkdir()
    _debian_tree(tree, scratch)
    modules = next((tree / "lib" / "modules").iterdir())
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    for name in ("debian", "tiny"):
        shutil.copyfile(kernel, out / f"{name}.kernel")
    say("packing the initial file systems")
    initramfs.pack(out / "debian.initrd", modules, {"init": RECIPES / "debian.init"}, {"modules.now": BOOT_MODULES})
    scripts = {"init": RECIPES / "tiny.init", "banner": RECIPES / "tiny.banner", "commands": RECIPES / "tiny.commands"}
    initramfs.pack(out / "tiny.initrd", modules, scripts, {"modules.now": TINY_MODULES, "modules.cdrom": CDROM_MODULES})
    shutil.rmtree(tree / "boot")
    (tree / "boot").mkdir()
    say("making the disks")
    _disk(out / "debian.qcow2", tree, DEBIAN_BYTES)
    (scratch / "nothing").mkdir()
    _disk(out / "tiny.qcow2", scratch / "nothing", TINY_BYTES)
    _describe(out, "debian", DEBIAN_BYTES, f"root=LABEL=root {ARGUMENTS}")
    _describe(out, "tiny", TINY_BYTES, ARGUMENTS)
    return out


def _debian_tree(tree: Path, scratch: Path) -> None:
    source = release()
    say(f"building a Debian {source.codename} tree (about a minute; the log is {scratch}/mmdebstrap.log)")
    sources = scratch / "sources.list"
    sources.write_text("".join(f"{line}\n" for line in source.mirrors))
    command = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCS]
    command += [
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"; echo MODULES=list >"$1/etc/initramfs-tools/conf.d/lab"',
        f'--customize-hook=install -D -m 644 "{RECIPES}/debian.cloud.cfg" "$1/etc/cloud/cloud.cfg.d/90-lab.cfg"',
        f'--customize-hook=sh "{RECIPES}/debian.customize" "$1"',
        source.codename,
        str(tree),
        str(sources),
    ]
    # In namespaces of its own, so that an interrupted build leaves neither mounts nor processes.
    wrapper = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
        "--mount-proc",
        "--",
    ]
    log = scratch / "mmdebstrap.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [*wrapper, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False, timeout=1800
        )
    if done.returncode != 0:
        raise LabError(f"mmdebstrap ended with status {done.returncode}:\n{log.read_text(errors='replace')[-3000:]}")


def _disk(target: Path, tree: Path, size: int) -> None:
    raw = target.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", "-L", "root", "-m", "1", "-E", "root_owner=0:0,nodiscard", "-d", str(tree), str(raw))
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
