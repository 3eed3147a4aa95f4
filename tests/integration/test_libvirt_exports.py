"""Exports of a running guest's disk by libvirt: the moment they freeze, and what they say has changed since the last."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.build import zipapp
from agents.node.disk.segments import SEGMENT_BYTES
from orchestrator.domain.errors import WrongState
from orchestrator.drivers.libvirt.exports import LibvirtExports
from orchestrator.ports.disk_exports import Export
from orchestrator.ports.hypervisor import PowerAction
from tests.contract.nodes import LONG, MIB, LibvirtNode, sh
from tests.integration.libvirt_guests import Running, define_guest, remove_guest, running_guest
from tests.lab import daemons, tiny
from tests.lab.daemons import wait_until
from tests.lab.environment import Lab
from tests.lab.templates import Installed

pytestmark = [pytest.mark.lab, pytest.mark.guest]

QEMU = "/var/lib/libvirt/qemu"
READ = """
import json, sys
sys.path.insert(0, sys.argv[1])
from agents.node.disk.showing import Exported, shown
from agents.node.disk import segments as seg
asked = json.load(sys.stdin)
with shown(Exported(**asked["disk"]), sys.argv[2], known={int(k): v for k, v in asked["known"].items()}) as s:
    import os
    stats = [os.stat(f"{s.directory}/{seg.path_of(i)}") for i in range(s.segments)]
    with open(f"{s.directory}/{seg.path_of(asked['index'])}", "rb") as stream:
        content = stream.read()
    read = s.bytes_read()
print(json.dumps({"times": [s.st_mtime_ns for s in stats], "inodes": [s.st_ino for s in stats], "content": content.hex(),
    "dirty": s.dirty, "read": read, "size": s.size}))
"""


@dataclass(frozen=True)
class Seen:
    """What READ prints. ``times`` in nanoseconds; ``content`` of one segment in hexadecimal digits."""

    times: list[int]
    inodes: list[int]
    content: str
    dirty: int
    read: int
    size: int


@pytest.fixture(scope="module")
def node(lab: Lab, tiny_template: Installed) -> Iterator[LibvirtNode]:
    made = LibvirtNode(lab, tiny_template)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def guest(node: LibvirtNode) -> Iterator[Running]:
    with running_guest(node, 24, encrypted=True) as running:
        yield running


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("agent") / "agent.pyz"
    made.write_bytes(zipapp())
    return made


@pytest.fixture
def exports(node: LibvirtNode, guest: Running) -> Iterator[LibvirtExports]:
    made = LibvirtExports(node.connection, volumes=node.store(node.agent))
    yield made
    made.end(guest.definition.name, deadline=LONG)
    for checkpoint in reversed(made.checkpoints(guest.definition.name, deadline=LONG)):
        made.drop(guest.definition.name, checkpoint, deadline=LONG)


def read(agent: Path, export: Export, directory: Path, *, known: dict[int, int], index: int) -> Seen:
    """What the node's agent shows of the export, and the content of one segment."""
    asked = {"disk": {"socket": export.socket, "export": export.name, "bitmap": export.bitmap}, "known": known, "index": index}
    words = ["/usr/bin/python3", "-I", "-c", READ, str(agent), str(directory)]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return Seen(**json.loads(done.stdout))


def test_an_export_shows_the_disk_of_its_moment_and_the_next_what_changed(
    guest: Running, exports: LibvirtExports, agent: Path, tmp_path: Path
) -> None:
    name, place = guest.definition.name, 20 * MIB
    index = place // SEGMENT_BYTES
    tiny.plant(guest.address, place, b"before")
    first = exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    tiny.plant(guest.address, place, b"behind")
    seen = read(agent, first, tmp_path / "shown", known={}, index=index)
    exports.end(name, deadline=LONG)
    assert bytes.fromhex(seen.content)[place % SEGMENT_BYTES :][:6] == b"before"
    assert (first.bitmap, seen.dirty) == ("", 32)

    times = dict(enumerate(seen.times))
    second = exports.begin(name, checkpoint="orch.two", since="orch.one", deadline=LONG)
    again = read(agent, second, tmp_path / "shown", known=times, index=index)
    exports.end(name, deadline=LONG)
    assert bytes.fromhex(again.content)[place % SEGMENT_BYTES :][:6] == b"behind"
    changed = [i for i, time in enumerate(again.times) if time != times[i]]
    assert changed == [index]
    assert again.inodes == seen.inodes


def test_what_an_encrypted_guest_overwrites_meanwhile_is_in_no_file_in_the_clear_and_no_key_stays(
    node: LibvirtNode, guest: Running, exports: LibvirtExports, agent: Path, tmp_path: Path
) -> None:
    name, place, text = guest.definition.name, 60 * MIB, b"what nobody but its owner may read"
    tiny.plant(guest.address, place, text, copies=1000)
    keys = set(node.volumes.secrets(deadline=LONG))
    exports.prepare(name, deadline=LONG)
    assert set(node.volumes.secrets(deadline=LONG)) - keys == {f"{name}.scratch.qcow2"}
    assert not [path for path in Path("/etc/libvirt/secrets").glob("*.xml") if "scratch" in path.read_text()]
    export = exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    assert set(node.volumes.secrets(deadline=LONG)) == keys
    tiny.plant(guest.address, place, b"-" * len(text), copies=1000)
    index = place // SEGMENT_BYTES
    seen = read(agent, export, tmp_path / "shown", known={}, index=index)
    assert bytes.fromhex(seen.content).count(text) == 1000, "it is what the export shows"
    scratch = scratch_of(name)
    assert scratch.stat().st_blocks * 512 > 1000 * len(text)
    assert text not in scratch.read_bytes()
    exports.end(name, deadline=LONG)
    assert not scratch.exists()


def scratch_of(guest: str) -> Path:
    described = ET.fromstring(sh("virsh", "backup-dumpxml", guest)).find("disks/disk/scratch")
    assert described is not None
    return Path(described.get("file", ""))


def test_what_a_controller_or_a_node_left_that_died_is_taken_away(
    node: LibvirtNode, guest: Running, exports: LibvirtExports
) -> None:
    """A scratch file whose key is in nobody's memory any more, of a guest that runs and of one that is off."""
    name, scratch = guest.definition.name, f"{guest.definition.name}.scratch.qcow2"
    exports.prepare(name, deadline=LONG)
    daemons.kill_libvirtd()
    daemons.start_libvirtd()
    assert (scratch in node.volumes.secrets(deadline=LONG), there(node, scratch)) == (False, True)
    exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    exports.begin(name, checkpoint="orch.two", since="orch.one", deadline=LONG)
    kill_qemu(name)
    assert there(node, scratch)
    exports.end(name, deadline=LONG)
    assert not there(node, scratch)
    guest.node.hypervisor.power(name, PowerAction.START, deadline=LONG)


def there(node: LibvirtNode, volume: str) -> bool:
    return node.volumes.volume(volume, deadline=LONG) is not None


def test_an_export_that_was_left_open_gives_way_to_the_next(guest: Running, exports: LibvirtExports) -> None:
    name = guest.definition.name
    exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    export = exports.begin(name, checkpoint="orch.two", since="orch.one", deadline=LONG)
    assert (export.since, export.bitmap) == ("orch.one", "changed")
    assert exports.checkpoints(name, deadline=LONG) == ("orch.one", "orch.two")


def test_a_checkpoint_that_goes_leaves_what_it_noted_to_the_one_before(
    guest: Running, exports: LibvirtExports, agent: Path, tmp_path: Path
) -> None:
    """So does a backup that failed: its checkpoint goes, and the next reads all that changed since the last good one."""
    name, place = guest.definition.name, 40 * MIB
    first = exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    times = dict(enumerate(read(agent, first, tmp_path / "shown", known={}, index=0).times))
    exports.end(name, deadline=LONG)
    tiny.plant(guest.address, place, b"early")
    exports.begin(name, checkpoint="orch.failed", since="orch.one", deadline=LONG)
    exports.end(name, deadline=LONG)
    tiny.plant(guest.address, place + SEGMENT_BYTES, b"late")
    exports.drop(name, "orch.failed", deadline=LONG)
    exports.drop(name, "orch.failed", deadline=LONG)
    second = exports.begin(name, checkpoint="orch.two", since="orch.one", deadline=LONG)
    again = read(agent, second, tmp_path / "shown", known=times, index=0)
    changed = [i for i, time in enumerate(again.times) if time != times[i]]
    assert changed == [place // SEGMENT_BYTES, place // SEGMENT_BYTES + 1]


def test_an_export_of_an_older_version_ends_as_ours(guest: Running, exports: LibvirtExports, tmp_path: Path) -> None:
    """It was begun before the controller was upgraded, with its socket where that version made it."""
    name = guest.definition.name
    begin_backup(name, tmp_path, socket=f"{QEMU}/{name}.nbd")
    exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    exports.end(name, deadline=LONG)
    begin_backup(name, tmp_path, socket=f"{QEMU}/{name}.nbd")
    exports.end(name, deadline=LONG)
    assert not _is_backed_up(name)


@pytest.mark.parametrize("socket", [f"{QEMU}/theirs.nbd", f"{QEMU}/orch.s240.nbd"])
def test_a_backup_of_somebody_else_is_left_alone(guest: Running, exports: LibvirtExports, tmp_path: Path, socket: str) -> None:
    name = guest.definition.name
    begin_backup(name, tmp_path, socket=socket)
    try:
        with pytest.raises(WrongState, match="somebody else's"):
            exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
        with pytest.raises(WrongState, match="somebody else's"):
            exports.end(name, deadline=LONG)
    finally:
        sh("virsh", "domjobabort", name)
        wait_until("the end of that backup", lambda: not _is_backed_up(name))  # it is only asked to end


def begin_backup(guest: str, directory: Path, *, socket: str) -> None:
    described = directory / "backup.xml"
    described.write_text(
        f"<domainbackup mode='pull'><server transport='unix' socket='{socket}'/>"
        f"<disks><disk name='vda' backup='yes' type='file'><scratch file='{QEMU}/theirs.scratch'/></disk></disks>"
        "</domainbackup>"
    )
    sh("virsh", "backup-begin", guest, str(described))


def _is_backed_up(name: str) -> bool:
    told = subprocess.run(["virsh", "backup-dumpxml", name], capture_output=True, timeout=60, check=False)
    return told.returncode == 0


def test_a_stopped_guest_exports_nothing(node: LibvirtNode) -> None:
    definition, volumes = define_guest(node, 25)
    try:
        with pytest.raises(WrongState, match="does not run"):
            LibvirtExports(node.connection, volumes=node.store(node.agent)).begin(
                definition.name, checkpoint="orch.one", since="", deadline=LONG
            )
    finally:
        remove_guest(node, definition.name, volumes)


def test_what_is_known_is_lost_with_a_qemu_that_was_killed(guest: Running, exports: LibvirtExports) -> None:
    """Its bitmap was in its memory alone: the next export says that nothing is known, and the disk is read in full."""
    name = guest.definition.name
    exports.begin(name, checkpoint="orch.one", since="", deadline=LONG)
    exports.end(name, deadline=LONG)
    kill_qemu(name)
    guest.node.hypervisor.power(name, PowerAction.START, deadline=LONG)
    export = exports.begin(name, checkpoint="orch.two", since="orch.one", deadline=LONG)
    assert (export.since, export.bitmap) == ("", "")


@pytest.mark.rare
def test_a_note_that_cannot_be_handed_on_takes_those_before_it_with_it(guest: Running, exports: LibvirtExports) -> None:
    """Else the next export would take for unchanged what was written after the one that went."""
    name, hypervisor = guest.definition.name, guest.node.hypervisor
    for checkpoint, since in (("orch.one", ""), ("orch.two", "orch.one")):
        exports.begin(name, checkpoint=checkpoint, since=since, deadline=LONG)
        exports.end(name, deadline=LONG)
    kill_qemu(name)  # the bitmaps were in its memory
    hypervisor.power(name, PowerAction.START, deadline=LONG)
    exports.drop(name, "orch.two", deadline=LONG)
    assert exports.checkpoints(name, deadline=LONG) == ()
    export = exports.begin(name, checkpoint="orch.three", since="orch.one", deadline=LONG)
    assert (export.since, export.bitmap) == ("", "")


def kill_qemu(guest: str) -> None:
    pid = int(Path(f"/run/libvirt/qemu/{guest}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(f"the end of {guest}", lambda: "shut off" in sh("virsh", "domstate", guest))
