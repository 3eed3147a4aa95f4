"""What of the packages goes into the image: the kernel, an initial file system with drivers and Python, and the loaders."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import agents.deploy
from orchestrator.domain.errors import PermanentDriverError
from orchestrator.drivers.deployimage import contents, elf, packages
from orchestrator.drivers.deployimage.archive import Archive

# Where a library is looked for, and where it lies in the image: there everything is below usr/ (a merged /usr).
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_LOADERS = {
    "isolinux.bin": "usr/lib/ISOLINUX/isolinux.bin",
    "ldlinux.c32": "usr/lib/syslinux/modules/bios/ldlinux.c32",
    "shimx64.efi": "usr/lib/shim/shimx64.efi.signed",
    "mmx64.efi": "usr/lib/shim/mmx64.efi.signed",
    "gcdx64.efi": "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed",
}
_AGENT = Path(agents.deploy.__file__).parent


def make(target: Path, scratch: Path) -> None:
    """Fill the directory ``target`` with all that needs the packages: vmlinuz, system.zst, the loaders, and kernel.txt, which has
    the kernel's release and its time in seconds since 1970, by which everything else is dated."""
    tree = packages.unpack(contents.PACKAGES, scratch)
    kernel = next(iter(sorted((tree / "boot").glob("vmlinuz-*"))), None)
    if kernel is None:
        raise PermanentDriverError("the packages have no kernel")
    release, time = kernel.name.removeprefix("vmlinuz-"), int(kernel.stat().st_mtime)
    archive = Archive()
    _skeleton(archive)
    _modules(archive, _below(tree, f"lib/modules/{release}"), release, scratch)
    _python(archive, tree)
    _programs(archive, tree)
    linked(archive, tree)
    target.mkdir()
    shutil.copyfile(kernel, target / "vmlinuz")
    (target / "system.zst").write_bytes(compressed(archive.packed(time=time), scratch))
    for name, source in _LOADERS.items():
        shutil.copyfile(tree / source, target / name)
    (target / "kernel.txt").write_text(f"{release} {time}\n", encoding="ascii")


def agent(*, time: int, scratch: Path) -> bytes:
    """The agent, as an initial file system of its own that is unpacked over the other."""
    archive = Archive()
    archive.file("deploy/agents/__init__.py", b"")
    for source in sorted(_AGENT.glob("*.py")):
        archive.file(f"deploy/agents/deploy/{source.name}", source.read_bytes())
    archive.file("init", contents.INIT.encode(), mode=0o755)
    archive.file("usr/share/udhcpc/default.script", contents.DHCP.encode(), mode=0o755)
    return compressed(archive.packed(time=time), scratch)


def compressed(content: bytes, scratch: Path) -> bytes:
    """By zstd, which the kernel unpacks ten times as fast as xz. Its bytes do not depend on how many threads there were."""
    plain = scratch / "plain"
    plain.write_bytes(content)
    packages.run(["zstd", "-q", "-f", "-12", "-T0", "--no-check", str(plain), "-o", str(plain.with_suffix(".zst"))])
    packed = plain.with_suffix(".zst").read_bytes()
    return packed + b"\0" * (-len(packed) % 4)  # what follows begins at a multiple of four


def _skeleton(archive: Archive) -> None:
    for name in ("dev", "proc", "sys", "run", "tmp", "etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        archive.directory(name)
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.link(name, f"usr/{name}")
    archive.device("dev/console", 5, 1)
    archive.device("dev/null", 1, 3)


def _below(tree: Path, path: str) -> Path:
    """A path as packages have it, with or without usr/ before it."""
    return next((place for place in (tree / "usr" / path, tree / path) if place.exists()), tree / path)


def _modules(archive: Archive, source: Path, release: str, scratch: Path) -> None:
    """The modules that are wanted with all that they need, and depmod's lists of them."""
    root = scratch / "modules"
    target = root / "lib" / "modules" / release
    target.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    packages.run(["depmod", "-b", str(_as_root(source, scratch, release)), release])
    for path in chosen((source / "modules.dep").read_text(encoding="ascii").splitlines(), contents.MODULES):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target / path)
    packages.run(["depmod", "-b", str(root), release])
    for file in sorted(target.rglob("*")):
        if file.is_file() and not file.name.endswith(".bin"):
            archive.file(f"usr/lib/modules/{release}/{file.relative_to(target)}", file.read_bytes())


def _as_root(source: Path, scratch: Path, release: str) -> Path:
    """What depmod takes for a root, so that the lists of all modules are made where they lie."""
    root = scratch / "all"
    (root / "lib" / "modules").mkdir(parents=True)
    (root / "lib" / "modules" / release).symlink_to(source)
    return root


def chosen(dep: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """The paths of the modules and of all that they need, by the lines of modules.dep(5). What the kernel has built in, or no
    longer has, is passed over: releases differ in that."""
    needs = {name: rest.split() for name, _, rest in (line.partition(":") for line in dep)}
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    found: set[str] = set()
    for name in wanted:
        path = by_name.get(name.replace("-", "_"))
        if path is not None:
            found |= {path, *needs[path]}
    return sorted(found)


def _python(archive: Archive, tree: Path) -> None:
    home = next(iter(sorted((tree / "usr/lib").glob("python3.*"))))
    for file in sorted(home.rglob("*")):
        path = str(file.relative_to(home))
        if file.is_file() and not file.is_symlink() and not _left_out(path):
            archive.file(f"usr/lib/{home.name}/{path}", file.read_bytes(), mode=_mode(file))
    program = tree / "usr/bin" / home.name
    archive.file(f"usr/bin/{home.name}", program.read_bytes(), mode=0o755)
    archive.link("usr/bin/python3", home.name)


def _left_out(path: str) -> bool:
    first = path.partition("/")[0]
    return "__pycache__" in path or any(fnmatch(path, each) or fnmatch(first, each) for each in contents.LEFT_OUT)


def _programs(archive: Archive, tree: Path) -> None:
    archive.file("usr/bin/busybox", _below(tree, "bin/busybox").read_bytes(), mode=0o755)
    for name in contents.APPLETS:
        archive.link(f"usr/bin/{name}", "busybox")
    archive.link("usr/sbin/modprobe", "../bin/busybox")  # where the kernel itself asks for what it needs
    for name in contents.PROGRAMS:
        archive.file(f"usr/{name}", _below(tree, name).read_bytes(), mode=0o755)


def linked(archive: Archive, tree: Path) -> None:
    """The libraries of everything that is there already, and those of these."""
    waiting = [content for mode, content, _ in archive.members.values() if stat.S_ISREG(mode)]
    while waiting:
        for name in elf.needed(waiting.pop()):
            path = f"usr{name}" if name.startswith("/lib") else f"usr/lib/x86_64-linux-gnu/{name}"
            if path not in archive.members:
                content = next(_library(tree, name)).read_bytes()
                archive.file(path, content, mode=0o755)
                waiting.append(content)


def _library(tree: Path, name: str) -> Iterator[Path]:
    places = [tree / each / Path(name).name for each in _LIBRARIES]
    found = [place for place in places if place.exists()]
    if not found:
        raise PermanentDriverError(f"the packages have no library {name}")
    yield from found


def _mode(file: Path) -> int:
    return 0o755 if file.stat().st_mode & 0o111 else 0o644
