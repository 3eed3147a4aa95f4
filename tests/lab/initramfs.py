"""Packs an initial file system for a kernel: busybox, some scripts, and the kernel modules they load, in loading order."""

import gzip
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.report import LabError

BUSYBOX = Path("/bin/busybox")


def loading_order(modules: Path, wanted: Iterable[str]) -> list[Path]:
    """The files of the wanted modules and of all that they need, each after its needs (modules.dep of depmod(8)).

    A module that is built into the kernel is passed over. Raises `LabError` for one that the kernel does not have.
    """
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    by_name = {_module_name(path): path for path in needs}
    builtin = {_module_name(line) for line in (modules / "modules.builtin").read_text().split()}
    order: dict[str, None] = {}
    for name in wanted:
        if name in builtin:
            continue
        if name not in by_name:
            raise LabError(f"the kernel in {modules} has no module {name}")
        # modules.dep lists all needs of a module, the deepest last.
        order.update(dict.fromkeys([*reversed(needs[by_name[name]]), by_name[name]]))
    return [modules / path for path in order]


def _module_name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def pack(target: Path, modules: Path, scripts: Mapping[str, Path], lists: Mapping[str, Iterable[str]]) -> None:
    """Write `target`. `scripts` and `lists` go to the top directory; a list names modules in loading order."""
    if not BUSYBOX.exists():
        raise LabError("no /bin/busybox: install the package busybox-static")
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("bin", "dev", "proc", "sys", "root", "modules"):
            (root / name).mkdir()
        shutil.copy2(BUSYBOX, root / "bin" / "busybox")
        for name, source in scripts.items():
            shutil.copyfile(source, root / name)
            (root / name).chmod(0o755)
        for name, wanted in lists.items():
            files = loading_order(modules, wanted)
            for file in files:
                shutil.copyfile(file, root / "modules" / file.name)
            (root / name).write_text("".join(f"{file.name}\n" for file in files))
        names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*"))) + "\n"
        archive = subprocess.run(
            [str(BUSYBOX), "cpio", "-o", "-H", "newc"],
            input=names.encode(),
            cwd=root,
            capture_output=True,
            check=True,
            timeout=60,
        )
        target.write_bytes(gzip.compress(archive.stdout, compresslevel=1, mtime=0))
