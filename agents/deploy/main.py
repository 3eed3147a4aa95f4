"""From the seed to the last task. Started by the image's first process, and again by it should it ever end."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from agents.deploy import inspecting, network
from agents.deploy.desk import Desk, OtherController, Refused
from agents.deploy.failure import Failed
from agents.deploy.place import Place
from agents.deploy.seed import Seed, of_command_line
from agents.deploy.tasks import TELL_SECONDS, Stopped, Worker

# reboot(2)
_POWER = {"off": 0x4321FEDC, "reboot": 0x01234567}
_SESSION = "run/deploy-session"  # in memory: an agent that was started again goes on where it was


def main() -> int:
    """0 where the machine was told how to end; 1 else: what started it tries again."""
    parser = argparse.ArgumentParser(prog="deploy-agent", description="The agent in the deploy image.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the machine is looked at")
    parser.add_argument("--no-network", action="store_true", help="the network is there already")
    parser.add_argument("--every", type=float, default=TELL_SECONDS, help="progress is told once in so many seconds")
    given = parser.parse_args()
    place = Place(given.root)
    try:
        seed = of_command_line(place.read("proc/cmdline"))
        if not given.no_network:
            say(f"network: {network.bring_up(place, seed)}")
        desk = Desk(seed.url, seed.sha256)
        claim(place, desk, seed)
        ending = Worker(place, desk, say, every=given.every).run()
    except (Failed, OtherController, Refused, Stopped) as exc:
        say(f"stopped: {exc}")
        return 1
    end(place, ending)
    return 0


def claim(place: Place, desk: Desk, seed: Seed) -> None:
    """The token for a session, once. Raises Refused, also for whoever comes second with the same token."""
    kept = place.read(_SESSION)
    if kept:
        desk.session = kept
        return
    found = inspecting.inspect(place)
    identity = {
        "uuid": found["uuid"],
        "serials": [disk["serial"] for disk in found["disks"] if disk["serial"]],
        "macs": [card["mac"] for card in found["nics"]],
    }
    desk.session = str(desk.ask("/deploy/v1/claim", {"token": seed.token, "identity": identity})["session"])
    path = place.path(_SESSION)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(desk.session, encoding="ascii")
    say(f"claimed as {seed.machine}")


def end(place: Place, how: str) -> None:
    """Turn the machine off, let it boot anew, or leave it to whoever may log in. Of a directory that stands for a machine it is
    only written down."""
    os.sync()
    if place.root != Path("/"):
        place.path("run/ended").write_text(how, encoding="ascii")
        return
    if how == "rescue":
        place.path(_SESSION).unlink(missing_ok=True)
        say("this is a rescue system now: its SSH server is open to the keys that were given")
        while True:  # the image's first process would start the agent again
            signal.pause()
    say(f"the machine ends: {how}")
    time.sleep(0.5)
    ctypes.CDLL(None, use_errno=True).reboot(_POWER[how])


def say(sentence: str) -> None:
    """On the console."""
    sys.stderr.write(f"deploy: {sentence}\n")
    sys.stderr.flush()
