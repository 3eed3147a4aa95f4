"""The pure parts of the deploy image's agent."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from agents.deploy import ata, erasing, fat, inspecting, network, nvme, partitions, password, rescue, seed, testing
from agents.deploy.failure import Failed
from agents.deploy.place import Place
from orchestrator.domain.deployments import SEED_LENGTH, differences, swapped
from orchestrator.domain.deployments import seed as made_seed
from orchestrator.domain.errors import ConfigError

UUID = "4c4c4544-0051-3010-8052-b4c04f4d3258"
SEED = {"url": "https://10.0.0.2:8444", "sha256": "a" * 64, "token": "t" * 43, "machine": "m1"}


def identify(*, words: dict[int, int] | None = None, serial: str = "S123", model: str = "ACME DISK") -> bytes:
    """The answer of an ATA drive."""
    page = bytearray(512)
    for at, text, length in ((20, serial, 20), (54, model, 40)):
        padded = text.ljust(length).encode()
        page[at : at + length] = b"".join(padded[i + 1 : i + 2] + padded[i : i + 1] for i in range(0, length, 2))
    for word, value in (words or {}).items():
        struct.pack_into("<H", page, word * 2, value)
    return bytes(page)


class TestSeed:
    def test_the_seed_that_the_controller_makes_is_the_one_that_the_agent_reads(self) -> None:
        text = made_seed({**SEED, "address": "10.0.0.5/24"})
        assert len(text) == SEED_LENGTH
        found = seed.of_command_line(f"quiet deploy.seed={text} x=y")
        assert (found.url, found.sha256, found.token, found.machine) == tuple(SEED.values())
        assert (found.address, found.gateway, found.mac) == ("10.0.0.5/24", "", "")

    def test_the_longest_of_everything_fits_beside_the_longest_url(self) -> None:
        longest = {"url": "https://" + "h" * 120, "machine": "m" * 48, "mac": "aa:bb:cc:dd:ee:ff", "address": "f" * 43}
        assert len(made_seed({**SEED, **longest, "gateway": "f" * 39})) == SEED_LENGTH
        with pytest.raises(ConfigError, match="does not fit"):
            made_seed({**SEED, **longest, "url": "https://" + "h" * 300})

    @pytest.mark.parametrize(
        "line", ["", "quiet", "deploy.seed=", "deploy.seed=SEED.HERE....", "deploy.seed=W10=", "deploy.seed=e30="]
    )
    def test_an_image_without_a_seed_does_nothing(self, line: str) -> None:
        with pytest.raises(Failed, match="no seed"):
            seed.of_command_line(line)

    def test_no_controller_is_talked_to_without_tls(self) -> None:
        with pytest.raises(Failed, match="https"):
            seed.of_command_line("deploy.seed=" + made_seed({**SEED, "url": "http://10.0.0.2"}))


class TestIdentity:
    def test_the_machine_is_the_one_whichever_way_round_its_firmware_writes_the_uuid(self) -> None:
        assert swapped(UUID) == "44454c4c-5100-1030-8052-b4c04f4d3258"
        for found in (UUID, UUID.upper(), swapped(UUID)):
            assert differences(uuid=UUID, serials=["A"], found_uuid=found, found_serials=["A", "B"]) == ()

    def test_all_that_differs_is_named(self) -> None:
        found = differences(uuid=UUID, serials=["A", "B"], found_uuid="", found_serials=["C"])
        assert found == (f"its UUID is none, and not {UUID}", "it has no disk with the serial number A, B")

    def test_of_a_machine_of_which_nothing_is_known_everything_is_believed(self) -> None:
        assert differences(uuid="", serials=(), found_uuid="x", found_serials=()) == ()


class TestDisks:
    def test_an_ata_disk_is_known_by_what_it_says_of_itself(self, tmp_path: Path) -> None:
        device = tmp_path / "sys/block/sda/device"
        device.mkdir(parents=True)
        (device / "vpd_pg89").write_bytes(bytes(60) + identify())
        (device.parent / "size").write_text("2048\n")
        assert inspecting.disk(Place(tmp_path), "sda") == {
            "name": "sda",
            "serial": "S123",
            "by_id": "ata-ACME_DISK_S123",
            "model": "ACME DISK",
            "bytes": 1 << 20,
            "rotational": False,
            "transport": "ata",
        }

    @pytest.mark.parametrize(("file", "content"), [("removable", "1"), ("size", "0")])
    def test_what_can_be_taken_out_or_has_no_size_is_none(self, tmp_path: Path, file: str, content: str) -> None:
        (tmp_path / "sys/block/sda/device").mkdir(parents=True)
        (tmp_path / "sys/block/sda/size").write_text("2048")
        assert inspecting.disk(Place(tmp_path), "sda") is not None
        (tmp_path / "sys/block/sda" / file).write_text(content)
        assert inspecting.disk(Place(tmp_path), "sda") is None

    def test_what_a_bmc_puts_there_by_usb_is_none(self, tmp_path: Path) -> None:
        real = tmp_path / "sys/devices/pci0/usb1/host3/block/sdb"
        (real / "device").mkdir(parents=True)
        (real / "size").write_text("2048")
        (tmp_path / "sys/block").mkdir(parents=True)
        (tmp_path / "sys/block/sdb").symlink_to(real)
        assert inspecting.disks(Place(tmp_path)) == []


class TestNetwork:
    CARDS = (("eth0", "aa", False), ("eth1", "bb", True), ("eth2", "cc", True))

    def test_the_first_card_with_a_link_is_taken_or_the_one_that_is_meant_once_it_has_one(self) -> None:
        assert network.choose(self.CARDS, "") == "eth1"
        assert network.choose(self.CARDS, "cc") == "eth2"
        assert network.choose(self.CARDS, "aa") == ""

    def test_a_machine_without_the_card_that_is_meant_comes_by_another_and_one_with_it_does_not(self) -> None:
        assert network.instead(self.CARDS, "dd") == "eth1"
        assert network.instead(self.CARDS, "aa") == ""
        assert network.instead(self.CARDS[:1], "dd") == ""

    def test_the_address_is_a_fixed_one_or_asked_for(self) -> None:
        fixed = seed.Seed(**SEED, address="10.0.0.5/24", gateway="10.0.0.1")
        assert ["ip", "address", "add", "10.0.0.5/24", "dev", "eth0"] in network.commands("eth0", fixed)
        assert ["ip", "route", "replace", "default", "via", "10.0.0.1", "dev", "eth0"] in network.commands("eth0", fixed)
        assert [command[0] for command in network.commands("eth0", seed.Seed(**SEED))] == ["udhcpc"]

    @pytest.mark.parametrize(("address", "off"), [("10.0.0.5/24", "1"), ("", "1"), ("fd77::5/64", "0")])
    def test_no_router_is_looked_for_and_ipv6_is_spoken_only_where_the_address_is_one(
        self, tmp_path: Path, address: str, off: str
    ) -> None:
        conf = tmp_path / "proc/sys/net/ipv6/conf"
        for name in ("all", "default", "eth0"):
            (conf / name).mkdir(parents=True)
        network.keep_still(Place(tmp_path), seed.Seed(**SEED, address=address))
        found = {(each.name, (each / "accept_ra").read_text(), (each / "disable_ipv6").read_text()) for each in conf.iterdir()}
        assert found == {("all", "0", off), ("default", "0", off), ("eth0", "0", off)}
        network.speak_ipv6(Place(tmp_path), "eth0")  # for a rescue: the customer's address may be one
        assert ((conf / "eth0/disable_ipv6").read_text(), (conf / "eth0/accept_ra").read_text()) == ("0", "0")
        network.speak_ipv6(Place(tmp_path), "eth9")


def controller(*, sanicap: int = 0, oacs: int = 0, fna: int = 0) -> bytes:
    page = bytearray(4096)
    struct.pack_into("<H", page, 256, oacs)
    struct.pack_into("<I", page, 328, sanicap)
    page[524] = fna
    return bytes(page)


class TestMethods:
    @pytest.mark.parametrize(
        ("offers", "methods"),
        [
            ({}, ()),
            ({"oacs": 2}, ("nvme-format",)),
            ({"oacs": 2, "fna": 4}, ("nvme-format-crypto", "nvme-format")),
            ({"sanicap": 2, "oacs": 2}, ("nvme-sanitize-block", "nvme-format")),
            ({"sanicap": 3}, ("nvme-sanitize-crypto", "nvme-sanitize-block")),
        ],
    )
    def test_of_an_nvme_drive_the_best_that_it_offers_comes_first(self, offers: dict[str, int], methods: tuple[str, ...]) -> None:
        assert nvme.offered(controller(**offers)) == methods

    def test_how_far_a_sanitize_is_is_read_from_its_log(self) -> None:
        assert nvme.progress_of(struct.pack("<HH", 32768, 2)) == (0.5, 2)
        assert nvme.progress_of(struct.pack("<HH", 65535, 1)) == (1.0, 1)
        assert nvme.progress_of(struct.pack("<HH", 0, 3)) == (0.0, 3)

    def test_a_namespace_belongs_to_its_controller(self) -> None:
        assert nvme.controller_of("nvme12n1") == "nvme12"

    @pytest.mark.parametrize(
        ("words", "methods", "why"),
        [
            ({}, (), ""),
            ({82: 2, 128: 1}, ("ata-secure-erase",), ""),
            ({82: 2, 128: 33}, ("ata-secure-erase-enhanced", "ata-secure-erase"), ""),
            ({82: 2, 128: 9}, (), "the drive's security commands are frozen by the firmware"),
            ({82: 2, 128: 5}, (), "the drive is locked with a password"),
            ({82: 0, 128: 1}, (), ""),
        ],
    )
    def test_of_an_ata_drive_what_it_offers_unless_it_is_frozen(
        self, words: dict[int, int], methods: tuple[str, ...], why: str
    ) -> None:
        page = identify(words=words)
        assert (ata.offered(page), ata.why_not(page)) == (methods, why)


class TestSamples:
    def test_they_lie_all_over_the_drive_with_its_first_and_last_block(self) -> None:
        size = 1 << 40
        places = erasing.sample_places(size, random.Random(1))
        assert (places[0], places[-1]) == (0, size - 4096)
        assert len(places) == erasing.SAMPLES
        assert max(b - a for a, b in pairwise(places)) < size // 100
        assert all(place % 4096 == 0 for place in places)

    def test_a_small_drive_is_looked_at_whole(self) -> None:
        assert erasing.sample_places(8192, random.Random(1)) == (0, 4096)

    def test_what_can_still_be_read_is_found_and_an_empty_block_proves_nothing(self) -> None:
        before = {0: b"abcd", 4: b"\0\0\0\0", 8: b"efgh"}
        assert erasing.unchanged(before, {0: b"abcd", 4: b"\0\0\0\0", 8: b"wxyz"}, zeros=False) == (0,)
        assert erasing.unchanged(before, {0: b"\0\0\0\0", 4: b"\0\0\0\0", 8: b"\0\0\0\1"}, zeros=True) == (8,)


def gpt(*, sectors: int = 32768, last: int = 16383) -> bytes:
    """The first megabyte of an image with one partition."""
    head = bytearray(partitions.HEAD)
    head[510:512] = b"\x55\xaa"
    struct.pack_into("<B3sB3sII", head, 446, 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, sectors - 1)
    entries = struct.pack("<16s16sQQQ72s", b"L" * 16, b"G" * 16, 2048, last, 0, b"").ljust(128 * 128, b"\0")
    head[1024 : 1024 + len(entries)] = entries
    fields = [b"EFI PART", 0x10000, 92, 0, 0, 1, sectors - 1, 34, sectors - 34, b"D" * 16, 2, 128, 128, zlib.crc32(entries)]
    fields[3] = zlib.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
    struct.pack_into("<8sIIIIQQQQ16sQIII", head, 512, *fields)
    return bytes(head)


class TestPartitions:
    DISK = 64 << 20

    def test_the_seed_gets_a_partition_at_the_end_and_both_tables_hold(self) -> None:
        plan = partitions.plan(gpt(), disk_bytes=self.DISK, seed_bytes=4 << 20, guid=b"S" * 16)
        disk = bytearray(self.DISK)
        for at, content in plan.patches:
            disk[at : at + len(content)] = content
        for header_at, own, other in ((512, 1, 131071), (self.DISK - 512, 131071, 1)):
            header = list(struct.unpack_from("<8sIIIIQQQQ16sQIII", disk, header_at))
            assert (header[5], header[6], header[8]) == (own, other, 131072 - 34)
            entries = bytes(disk[header[10] * 512 : header[10] * 512 + 128 * 128])
            assert zlib.crc32(entries) == header[13]
            crc, header[3] = header[3], 0
            assert zlib.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *header)) == crc
            _, guid, first, last, _, name = struct.unpack_from("<16s16sQQQ72s", entries, 128)
            assert (first * 512, guid, (last - first + 1) * 512) == (plan.start, b"S" * 16, 4 << 20)
            assert name.decode("utf-16-le").rstrip("\0") == "cidata"
            assert last <= header[8]
        assert struct.unpack_from("<I", disk, 446 + 12) == (131071,)

    def test_an_mbr_gets_its_first_free_entry(self) -> None:
        head = bytearray(partitions.HEAD)
        head[510:512] = b"\x55\xaa"
        struct.pack_into("<B3sB3sII", head, 446, 0x80, b"", 0x83, b"", 2048, 4096)
        plan = partitions.plan(bytes(head), disk_bytes=self.DISK, seed_bytes=4 << 20, guid=b"S" * 16)
        ((at, table),) = plan.patches
        assert at == 0
        assert table[:462] == head[:462]
        assert (table[462 + 4], *struct.unpack_from("<II", table, 462 + 8)) == (0x0E, plan.start // 512, 8192)

    @pytest.mark.parametrize(
        ("head", "disk_bytes", "why"),
        [
            (bytes(partitions.HEAD), 64 << 20, "no partition table"),
            (gpt(last=130_000), 64 << 20, "too small"),
            (gpt()[:1100] + b"x" + gpt()[1101:], 64 << 20, "checksum"),
        ],
    )
    def test_where_there_is_no_room_nothing_is_planned(self, head: bytes, disk_bytes: int, why: str) -> None:
        with pytest.raises(partitions.NoRoom, match=why):
            partitions.plan(head, disk_bytes=disk_bytes, seed_bytes=4 << 20, guid=b"S" * 16)


FILES = {"meta-data": b"instance-id: i\n", "user-data": b"#cloud-config\n" * 100, "EFI/BOOT/BOOTX64.EFI": b"MZ" * 5000}


class TestFat:
    def test_the_same_files_have_the_same_bytes_and_others_others(self) -> None:
        once = fat.image(FILES, label="cidata", size=fat.SMALLEST)
        assert once == fat.image(dict(reversed(FILES.items())), label="cidata", size=fat.SMALLEST)
        assert len(once) == fat.SMALLEST
        assert once != fat.image({**FILES, "meta-data": b""}, label="cidata", size=fat.SMALLEST)

    def test_each_file_is_found_by_its_whole_name(self) -> None:
        assert read_fat(fat.image(FILES, label="cidata", size=fat.SMALLEST)) == FILES

    def test_files_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(fat.TooFull):
            fat.image({"a": bytes(fat.SMALLEST)}, label="x", size=fat.SMALLEST)
        with pytest.raises(ValueError, match="between"):
            fat.image({}, label="x", size=1 << 20)


def read_fat(image: bytes) -> dict[str, bytes]:
    """The files of a FAT16, read by its specification and not by how they were written."""
    sector, per, reserved, fats, roots = struct.unpack_from("<HBHBH", image, 11)
    (length,) = struct.unpack_from("<H", image, 22)
    root = (reserved + fats * length) * sector
    data = root + roots * 32

    def chain(cluster: int) -> bytes:
        parts = []
        while 2 <= cluster < 0xFFF8:
            at = data + (cluster - 2) * sector * per
            parts.append(image[at : at + sector * per])
            (cluster,) = struct.unpack_from("<H", image, reserved * sector + cluster * 2)
        return b"".join(parts)

    def walk(entries: bytes, before: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        long: dict[int, bytes] = {}
        for at in range(0, len(entries), 32):
            entry = entries[at : at + 32]
            if not entry[0]:
                break
            if entry[11] == 0x0F:
                long[entry[0] & 0x1F] = entry[1:11] + entry[14:26] + entry[28:32]
                continue
            whole = b"".join(long[number] for number in sorted(long)).decode("utf-16-le").partition("\0")[0]
            short = ".".join(part for part in (entry[:8].decode().strip(), entry[8:11].decode().strip()) if part)
            name, long = whole or short, {}
            cluster, size = struct.unpack_from("<HI", entry, 26)
            if entry[11] & 0x10 and not name.startswith("."):
                found |= walk(chain(cluster), f"{before}{name}/")
            elif entry[11] & 0x20:
                found[before + name] = chain(cluster)[:size]
        return found

    return walk(image[root:data], "")


class TestSystems:
    SHADOW = b"root:!:19000:0:99999:7:::\nanna:$6$a$b:19000::::::\n"

    def test_only_the_hash_of_that_user_changes(self) -> None:
        assert password.changed(self.SHADOW, "root", "$6$n$h") == self.SHADOW.replace(b"!", b"$6$n$h")

    @pytest.mark.parametrize("shadow", [b"", b"anna:x:1::::::\n", b"root:x:1::::::\nroot:y:1::::::\n", b"root:x\n"])
    def test_a_file_that_is_not_as_expected_is_left_alone(self, shadow: bytes) -> None:
        with pytest.raises(Failed):
            password.changed(shadow, "root", "$6$n$h")

    @pytest.mark.parametrize("given", ["", "clear", "$1$md5$hash", "$6$x:y", "$6$x\ny"])
    def test_nothing_but_a_hash_of_crypt_is_written(self, given: str, tmp_path: Path) -> None:
        with pytest.raises(Failed, match="hash"):
            password.set_password(Place(tmp_path), {"serial": "S", "user": "root", "hash": given}, lambda _f, _s: None)

    def test_without_a_key_nothing_is_opened(self) -> None:
        with pytest.raises(Failed, match="nothing is opened"):
            rescue.authorized([])
        for line in ("", "ssh-dss AAAA", 'command="x" ssh-ed25519 AAAA', "ssh-ed25519 AAAA\nssh-ed25519 BBBB"):
            with pytest.raises(Failed, match="no SSH key"):
                rescue.authorized([line])
        assert rescue.authorized(["ssh-ed25519 AAAA anna@example"]) == ["ssh-ed25519 AAAA anna@example"]

    def test_the_customers_addresses_answer_by_their_own_gateways(self) -> None:
        commands = [" ".join(each) for each in rescue.addressed("eth0", ["192.0.2.5/24", "2001:db8::5/64"], ["192.0.2.1"])]
        assert commands == [
            "ip -4 address add 192.0.2.5/24 dev eth0",
            "ip -4 rule add from 192.0.2.5 lookup 77",
            "ip -6 address add 2001:db8::5/64 dev eth0",
            "ip -6 rule add from 2001:db8::5 lookup 77",
            "ip -4 route replace default via 192.0.2.1 dev eth0 table 77",
        ]
        with pytest.raises(Failed, match="cannot be set"):
            rescue.addressed("eth0", ["192.0.2.5/24; reboot"], [])

    def test_the_server_takes_keys_only_and_forwards_nothing(self) -> None:
        assert {"-s", "-j", "-k"} <= set(rescue.serving("/run/key"))

    def test_a_fingerprint_is_as_ssh_shows_it(self) -> None:
        line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
        shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=line, capture_output=True, text=True, check=True, timeout=60)
        assert rescue.fingerprint(line) == shown.stdout.split()[1]


def test_in_the_middle_of_a_round_through_the_memory_it_is_told_how_far_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the controller would take the machine for one that went silent, and start it again."""
    monkeypatch.setattr(testing, "_BLOCK", 4096)
    told: list[float] = []
    found = testing.memory(4096 * 200, 0.0, told.append)
    assert (found["rounds"], found["problems"], len(told)) == (1, [], 8)
