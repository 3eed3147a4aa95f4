"""The task ``rescue``: the image becomes a system that somebody may log in to, by his SSH key and by nothing else.

Only this task makes anything listen, and only with a key. Then the agent has no more to do: nothing that the controller gave it
is used again, and the machine boots from its disk when it is started anew.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.deploy import network
from agents.deploy.failure import Failed
from agents.deploy.place import Place

PORT = 22
TABLE = "77"
"""Of routes: what comes from the customer's own addresses goes out by their gateways, whatever leads to the controller."""
LISTEN_SECONDS = 20.0
_HOST_KEY = "run/rescue/host_key"
# As in authorized_keys, without options before it: those are nobody's to set.
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\x00-\x1f\x7f]*)?")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "etc/profile": "export PATH=/usr/bin:/usr/sbin\ncat /etc/motd\n",
    "etc/motd": "This is a rescue system, in memory. The disks are as they are: mount what you need. It is left by a reboot.\n",
}
_MODULES = ("crc32c_generic", "xxhash_generic", "sha256_generic", "ext4", "xfs", "btrfs", "vfat", "nls_iso8859_1")


def rescue(place: Place, arguments: Mapping[str, Any], told: Callable[[float, str], None]) -> dict[str, Any]:
    """``keys``: lines of authorized_keys, one at least; ``addresses`` and ``gateways``: of the customer, on the card ``mac``
    ('' = the first with a link). The host key is made for this once. Raises Failed where it cannot be opened."""
    keys = authorized(arguments.get("keys") or ())
    told(0.1, "making a host key")
    for path, content in _FILES.items():
        _put(place, path, content, mode=0o644)
    _put(place, "root/.ssh/authorized_keys", "".join(f"{key}\n" for key in keys), mode=0o600)
    for path in ("root", "root/.ssh", "run/rescue"):
        place.path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        place.path(path).chmod(0o700)
    line = _host_key(place)
    card = network.choose(network.cards(place), str(arguments.get("mac", "")).lower())
    if not card:
        raise Failed("no network card has a link: nobody could reach it")
    commands = addressed(card, arguments.get("addresses") or (), arguments.get("gateways") or ())
    if any("-6" in command for command in commands):
        network.speak_ipv6(place, card)
    for command in commands:
        _run(command)
    told(0.5, "opening it")
    for command in prepared():
        subprocess.run(command, capture_output=True, check=False, timeout=60)
    _run(serving(str(place.path(_HOST_KEY))))
    _listens()
    return {"host_key": line, "fingerprint": fingerprint(line), "port": PORT, "keys": len(keys)}


def authorized(keys: Sequence[object]) -> list[str]:
    """The keys, where each is one; raises Failed, also where there is none: then nothing is opened."""
    found = [str(key).strip() for key in keys]
    if not found:
        raise Failed("no SSH key was given: nothing is opened")
    for key in found:
        if not _KEY.fullmatch(key):
            raise Failed(f"this is no SSH key: {key[:40]!r}")
    return found


def addressed(card: str, addresses: Sequence[object], gateways: Sequence[object]) -> list[list[str]]:
    """What puts the customer's addresses on the card. Answers from them go by their own gateways; what leads to the controller
    stays as it is. Raises Failed where one of them is none."""
    commands = []
    try:
        for address in (ipaddress.ip_interface(str(each)) for each in addresses):
            family = f"-{address.version}"
            commands.append(["ip", family, "address", "add", str(address), "dev", card])
            commands.append(["ip", family, "rule", "add", "from", str(address.ip), "lookup", TABLE])
        by = [ipaddress.ip_address(str(each)) for each in gateways]
        route = ["route", "replace", "default", "via"]
        commands += [["ip", f"-{each.version}", *route, str(each), "dev", card, "table", TABLE] for each in by]
    except ValueError as exc:
        raise Failed(f"an address cannot be set: {exc}") from exc
    return commands


def prepared() -> list[list[str]]:
    """What makes it fit to work in. None of it has to succeed."""
    return [
        ["mkdir", "-p", "/dev/pts", "/mnt"],
        ["mount", "-t", "devpts", "devpts", "/dev/pts"],
        ["ip", "link", "set", "dev", "lo", "up"],
        ["modprobe", "-a", "-q", *_MODULES],
        ["busybox", "--install", "-s", "/usr/bin"],
    ]


def serving(host_key: str) -> list[str]:
    """Keys only (-s), for nobody but who has one; nothing is forwarded (-j, -k). It goes on by itself."""
    return ["dropbear", "-s", "-j", "-k", "-r", host_key, "-p", str(PORT), "-P", "/run/rescue/dropbear.pid"]


def fingerprint(line: str) -> str:
    """As ssh shows it: SHA256 of the key's blob, base64 without its end."""
    blob = base64.b64decode(line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def _host_key(place: Place) -> str:
    """Made anew; its public half, as ``type base64``."""
    path = place.path(_HOST_KEY)
    path.unlink(missing_ok=True)
    said = _run(["dropbearkey", "-t", "ed25519", "-f", str(path)])
    found = next((line for line in said.splitlines() if line.startswith("ssh-ed25519 ")), "")
    if not found:
        raise Failed(f"no host key was made: {said.strip()[-200:]}")
    return " ".join(found.split()[:2])


def _listens() -> None:
    until = time.monotonic() + LISTEN_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", PORT), timeout=5) as link:
                if link.recv(4) == b"SSH-":
                    return
        except OSError as exc:
            if time.monotonic() > until:
                raise Failed(f"the SSH server does not answer: {exc}") from exc
        if time.monotonic() > until:
            raise Failed("what listens is no SSH server")
        time.sleep(0.2)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command[:4])}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _put(place: Place, path: str, content: str, *, mode: int) -> None:
    target: Path = place.path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=mode)
    target.chmod(mode)
    target.write_text(content, encoding="utf-8")
