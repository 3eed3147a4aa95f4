"""The one network card that leads to the controller: found, and given its address. Nothing listens on it."""

from __future__ import annotations

import ipaddress
import subprocess
import time
from collections.abc import Sequence

from agents.deploy.failure import Failed
from agents.deploy.place import Place
from agents.deploy.seed import Seed

LINK_SECONDS = 60.0
_IPV6 = "proc/sys/net/ipv6/conf"


def cards(place: Place) -> list[tuple[str, str, bool]]:
    """Name, MAC and whether there is a link, of each real card (the kernel gives no device to those it made up itself)."""
    found = []
    for name in place.names("sys/class/net"):
        if place.path("sys/class/net", name, "device").exists():
            mac = place.read("sys/class/net", name, "address").lower()
            found.append((name, mac, place.read("sys/class/net", name, "carrier") == "1"))
    return found


def wake(place: Place) -> None:
    """Turn every card on: whether there is a link shows only then."""
    for name, _, _ in cards(place):
        _ip("link", "set", "dev", name, "up")


def keep_still(place: Place, seed: Seed) -> None:
    """The kernel by itself looks for IPv6 routers on every wire, and believes whoever answers: what it needs is in the seed."""
    needed = bool(seed.address) and ipaddress.ip_interface(seed.address).version == 6
    for name in place.names(_IPV6):
        place.path(_IPV6, name, "accept_ra").write_text("0", encoding="ascii")
        place.path(_IPV6, name, "disable_ipv6").write_text("0" if needed else "1", encoding="ascii")


def speak_ipv6(place: Place, name: str) -> None:
    """On this card; it still believes no router that it was not told of."""
    if name in place.names(_IPV6):
        place.path(_IPV6, name, "disable_ipv6").write_text("0", encoding="ascii")


def bring_up(place: Place, seed: Seed) -> str:
    """Give the card its address; its name. Raises Failed where there is none, or no answer.

    A machine that has no such card is another one: it comes by what it has, so that the desk can say so, and send it away.
    """
    keep_still(place, seed)
    wake(place)
    until = time.monotonic() + LINK_SECONDS
    while True:
        name = choose(cards(place), seed.mac.lower())
        if name:
            break
        if time.monotonic() > until:
            name = instead(cards(place), seed.mac.lower())
            if name:
                break
            wanted = f"the card {seed.mac} has no link" if seed.mac else "no network card has a link"
            raise Failed(f"{wanted}; there are {', '.join(mac for _, mac, _ in cards(place)) or 'none'}")
        time.sleep(0.5)
    for command in commands(name, seed):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise Failed(f"{' '.join(command[:2])} on {name}: {(done.stderr or done.stdout).strip()[-300:]}")
    return name


def choose(found: Sequence[tuple[str, str, bool]], mac: str) -> str:
    """The card that is meant, once it has a link; '' until then."""
    return next((name for name, its, link in found if link and mac in ("", its)), "")


def instead(found: Sequence[tuple[str, str, bool]], mac: str) -> str:
    """The first card with a link, where the one that is meant is not in this machine at all; else ''."""
    return "" if mac in {its for _, its, _ in found} else choose(found, "")


def commands(name: str, seed: Seed) -> list[list[str]]:
    """What gives the card its address. For DHCP one that gives up by itself, and is tried again by whoever called."""
    if not seed.address:
        return [["udhcpc", "-i", name, "-n", "-q", "-t", "10", "-T", "3", "-s", "/usr/share/udhcpc/default.script"]]
    ipaddress.ip_interface(seed.address)
    made = [["ip", "address", "flush", "dev", name], ["ip", "address", "add", seed.address, "dev", name]]
    if seed.gateway:
        made.append(["ip", "route", "replace", "default", "via", seed.gateway, "dev", name])
    return made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=False, timeout=30)
