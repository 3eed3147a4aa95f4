"""Builds what enrolment ships to a node. The same sources and the same Python give the same zipapp, byte for byte.

``python -m agents.build FILE`` writes the zipapp and prints its SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import sys
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agents.node import VERSION

HERE = Path(__file__).parent
_ENTRY = "import sys\n\nfrom agents.node.main import main\n\nsys.exit(main())\n"
CARRIED = ("mfusepy",)
"""Pure Python modules of others that travel in the zipapp, as they are installed here."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date that a ZIP archive can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything a node gets. ``installer`` and ``restart_libvirt`` are programs that are run once over the operator's access."""

    version: str
    zipapp: bytes
    launcher: bytes
    hook: bytes
    hold_check: bytes
    installer: str
    restart_libvirt: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.zipapp).hexdigest()


def zipapp() -> bytes:
    """The agent's package with its entry; stored uncompressed, because compressors differ between versions.

    Each module is there as it was written and compiled for the Python that this runs on; a node with another reads the first.
    """
    members = {"__main__.py": _ENTRY.encode()}
    for source in (HERE / "__init__.py", *(HERE / "node").rglob("*.py")):
        members[f"agents/{source.relative_to(HERE)}"] = source.read_bytes()
    for name in CARRIED:
        members[f"{name}.py"] = _module(name)
    members |= {f"{name}c": _compiled(name, source) for name, source in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3  # Unix, whatever this runs on
            archive.writestr(info, members[name])
    return buffer.getvalue()


def _compiled(name: str, source: bytes) -> bytes:
    """As an import would keep it (PEP 552), by the hash of the source, which is not looked at again: both are signed together.

    Of marshal's versions the second: the later ones write down which objects were shared, which depends on what else runs here.
    """
    code = compile(source, name, "exec", dont_inherit=True)
    unchecked = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source) + marshal.dumps(code, 2)


def _module(name: str) -> bytes:
    """The source of an installed module of one file."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ImportError(f"the module {name} is not installed, and the agent needs it", name=name)
    return Path(found.origin).read_bytes()


@cache
def bundle() -> Bundle:
    """Built once in a process."""
    return Bundle(
        version=VERSION,
        zipapp=zipapp(),
        launcher=(HERE / "launcher/launcher.py").read_bytes(),
        hook=(HERE / "libvirt-hook/orchestrator-hold").read_bytes(),
        hold_check=(HERE / "libvirt-hook/hold_check.py").read_bytes(),
        installer=(HERE / "install.py").read_text(),
        restart_libvirt=(HERE / "restart_libvirt.py").read_text(),
    )


if __name__ == "__main__":
    built = zipapp()
    Path(sys.argv[1]).write_bytes(built)
    sys.stdout.write(f"{hashlib.sha256(built).hexdigest()}  {sys.argv[1]}\n")
