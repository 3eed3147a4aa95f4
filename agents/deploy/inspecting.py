"""What is in the machine, from what the kernel shows (sysfs): nothing is asked of a device, and nothing changed."""

from __future__ import annotations

from typing import Any

from agents.deploy import network
from agents.deploy.place import Place

_SECTOR = 512  # the unit of /sys/block/*/size, whatever the disk's own


def inspect(place: Place) -> dict[str, Any]:
    """The Inspection of the port, as JSON."""
    dmi = "sys/class/dmi/id"
    processors = [line for line in place.read("proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = next((line.split()[1] for line in place.read("proc/meminfo").splitlines() if line.startswith("MemTotal:")), "0")
    return {
        "uuid": place.read(dmi, "product_uuid").lower(),
        "serial": place.read(dmi, "product_serial"),
        "firmware": "uefi" if place.path("sys/firmware/efi").exists() else "bios",
        "cpus": len(processors),
        "cpu_model": processors[0].partition(":")[2].strip() if processors else "",
        "memory_bytes": int(memory) * 1024,
        "disks": disks(place),
        "nics": [{"name": name, "mac": mac, "link": link} for name, mac, link in network.cards(place)],
    }


def disks(place: Place) -> list[dict[str, Any]]:
    """Every disk that is built in, by name. What can be taken out, what a BMC puts there by USB and what has no size is none."""
    return [found for name in place.names("sys/block") if (found := disk(place, name)) is not None]


def disk(place: Place, name: str) -> dict[str, Any] | None:
    """One disk; None where it is none of ours."""
    here = ("sys/block", name)
    if not place.path(*here, "device").exists() or place.read(*here, "removable") == "1":
        return None
    size = int(place.read(*here, "size") or 0) * _SECTOR
    where = str(place.path(*here).resolve())
    if not size or "/usb" in where or name.startswith(("sr", "fd", "loop", "zram")):
        return None
    transport, serial, model = _identity(place, name)
    return {
        "name": name,
        "serial": serial,
        "by_id": by_id(transport, model, serial),
        "model": model,
        "bytes": size,
        "rotational": place.read(*here, "queue/rotational") == "1",
        "transport": transport,
    }


def _identity(place: Place, name: str) -> tuple[str, str, str]:
    """Transport, serial number and model."""
    device = ("sys/block", name, "device")
    if name.startswith("nvme"):
        return "nvme", place.read(*device, "serial"), place.read(*device, "model")
    if name.startswith("vd"):
        return "virtio", place.read("sys/block", name, "serial"), ""
    identify = ata_identify(place.raw(*device, "vpd_pg89"))
    if identify:
        return "ata", ata_text(identify, 10, 10), ata_text(identify, 27, 20)
    return "scsi", vpd_serial(place.raw(*device, "vpd_pg80")), place.read(*device, "model")


def ata_identify(page: bytes) -> bytes:
    """The answer to IDENTIFY DEVICE out of the page "ATA Information" (SAT-4, 12.4.2); b'' where that has none."""
    return page[60 : 60 + 512] if len(page) >= 572 else b""


def ata_text(identify: bytes, word: int, words: int) -> str:
    """A text of an ATA device: each pair of its letters is turned round (ACS-4, 3.3.10)."""
    part = identify[word * 2 : (word + words) * 2]
    turned = b"".join(part[at + 1 : at + 2] + part[at : at + 1] for at in range(0, len(part), 2))
    return turned.decode("ascii", "replace").strip(" \0")


def ata_word(identify: bytes, word: int) -> int:
    return int.from_bytes(identify[word * 2 : word * 2 + 2], "little")


def vpd_serial(page: bytes) -> str:
    """The unit's serial number (SPC-5, 7.7.20)."""
    length = int.from_bytes(page[2:4], "big")
    return page[4 : 4 + length].decode("ascii", "replace").strip(" \0")


def by_id(transport: str, model: str, serial: str) -> str:
    """The name that udev gives it in /dev/disk/by-id, where that is made of model and serial number."""
    if not serial:
        return ""
    words = {"nvme": ("nvme", model, serial), "ata": ("ata", model, serial), "virtio": ("virtio", serial), "scsi": ("", "")}
    made = "_".join("_".join(each.split()) for each in words[transport][1:] if each)
    return f"{words[transport][0]}-{made}" if made else ""
