"""What Debian lets the QEMU of our guests touch. The lab has no AppArmor; the profiles come from Debian's own virt-aa-helper.

libvirtd calls it with the definition of a guest that starts, and again with each image that it hands to one that runs
(src/security/security_apparmor.c). What it would write is held against what QEMU really has open.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.drivers.libvirt.exports import LibvirtExports
from tests.contract.nodes import LONG, LibvirtNode, sh
from tests.integration.libvirt_guests import running_guest
from tests.integration.test_libvirt_exports import scratch_of
from tests.lab import tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

pytestmark = [pytest.mark.lab, pytest.mark.guest]

HELPER = "/usr/lib/libvirt/virt-aa-helper"
RULE = re.compile(r'^  (deny )?"([^"]+)" ([a-z]+),$', re.MULTILINE)
_GLOBS = (("**", ".*"), ("*", "[^/]*"), ("?", "[^/]"))
# These come from abstractions that every profile includes (abstractions/base, abstractions/consoles, abstractions/libvirt-qemu).
COMMON = ("/dev/", "/proc/", "/usr/")


class Profile:
    """The rules that virt-aa-helper writes for the guest as it runs now, and for ``given``, the images handed to it since."""

    def __init__(self, guest: str, *given: Path) -> None:
        described = sh("virsh", "dumpxml", guest)
        words = [HELPER, "-d", "-r", "-u", f"libvirt-{sh('virsh', 'domuuid', guest).strip()}"]
        self.rules: list[tuple[bool, re.Pattern[str], str]] = []
        for more in ((), *(("-F", str(path)) for path in given)):
            said = subprocess.run([*words, *more], input=described, capture_output=True, text=True, check=True, timeout=60)
            self.rules += [(bool(deny), _pattern(path), modes) for deny, path, modes in RULE.findall(said.stdout + said.stderr)]

    def allows(self, path: Path | str, mode: str) -> bool:
        """Whether a file may be opened to read or to write ('r', 'w'), or a socket be bound ('w')."""
        matching = [deny for deny, pattern, modes in self.rules if mode in modes and pattern.fullmatch(str(path))]
        return bool(matching) and not any(matching)


def _pattern(rule: str) -> re.Pattern[str]:
    """A path of a rule (apparmor.d(5)): ``*`` stays within a directory, ``**`` does not."""
    pieces = re.split(r"(\*\*|\*|\?)", rule)
    return re.compile("".join(dict(_GLOBS).get(piece, re.escape(piece)) for piece in pieces))


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_qemu_opens_nothing_that_debians_profile_does_not_allow(node: LibvirtNode, encrypted: bool) -> None:
    exports = LibvirtExports(node.connection, volumes=node.store(node.agent))
    with running_guest(node, 27, encrypted=encrypted, name="orch.s2700000000000000") as guest:
        name = guest.definition.name
        before = Profile(name)
        assert [path for path, mode in opened(name) if not before.allows(path, mode)] == []
        exports.prepare(name, deadline=LONG)
        export = exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
        tiny.plant(guest.address, 40 << 20, b"over what was there")
        scratch = scratch_of(name)
        assert before.allows(export.socket, "w"), export.socket
        assert export.socket in sockets_of(name)
        during = Profile(name, scratch)
        files = opened(name)
        assert {path for path, _mode in files} >= {str(scratch), *(disk.path for disk in guest.definition.disks)}
        assert [path for path, mode in files if not during.allows(path, mode)] == []
        # libvirt has handed it to QEMU: whatever confines QEMU was told.
        assert scratch.stat().st_uid == Path(f"/proc/{pid_of(name)}").stat().st_uid
        exports.end(name, deadline=LONG)
        assert not Path(export.socket).exists()


def pid_of(guest: str) -> int:
    return int(Path(f"/run/libvirt/qemu/{guest}.pid").read_text())


def opened(guest: str) -> list[tuple[str, str]]:
    """The files that the guest's QEMU has open, each with 'r' or 'w'."""
    found = []
    for entry in Path(f"/proc/{pid_of(guest)}/fd").iterdir():
        path = str(entry.readlink())
        if path.startswith("/") and not path.startswith(COMMON) and "(deleted)" not in path and "memfd:" not in path:
            flags = int(re.findall(r"flags:\s+(\d+)", (entry.parent.parent / "fdinfo" / entry.name).read_text())[0], 8)
            found.append((path, "r" if flags & os.O_ACCMODE == os.O_RDONLY else "w"))
    return found


def sockets_of(guest: str) -> set[str]:
    """The paths at which the guest's QEMU listens (proc(5), net/unix)."""
    process = Path(f"/proc/{pid_of(guest)}")
    own = {str(entry.readlink()) for entry in (process / "fd").iterdir()}
    lines = [line.split() for line in (process / "net/unix").read_text().splitlines()[1:]]
    return {words[7] for words in lines if len(words) > 7 and f"socket:[{words[6]}]" in own}
