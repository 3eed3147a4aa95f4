"""A network namespace joined to this one by a cable that can be pulled: what is sent then is lost, and nobody is told."""

from __future__ import annotations

import subprocess
import time
from itertools import count
from pathlib import Path

from tests.fault.proxy import Proxy

_NUMBERS = count(1)
_SECONDS = 10.0


class Wire:
    """As a ``Proxy``, but that who comes by it is in a namespace of his own (``entering``), at the other end of a veth pair.

    Needs to be root, in a network namespace of the tests' own (the lab's).
    """

    def __init__(self, port: int) -> None:
        number = next(_NUMBERS)
        self._name, self.host = f"wire{number}", f"10.98.{number}.1"
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
        self._space = f"/proc/{self._holder.pid}/ns/net"
        self._wait_for_space()
        self.entering = ("nsenter", f"--net={self._space}")
        _ip("link", "add", self._name, "type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid))
        _ip("address", "add", f"{self.host}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")
        for words in (("address", "add", f"10.98.{number}.2/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip(*words, before=self.entering)
        self._proxy = Proxy(port, host=self.host)
        self.port = self._proxy.port

    def cut(self) -> None:
        _ip("link", "set", self._name, "down")

    def mend(self) -> None:
        _ip("link", "set", self._name, "up")

    def close(self) -> None:
        self._proxy.close()
        _ip("link", "delete", self._name)
        self._holder.kill()
        self._holder.wait(_SECONDS)

    def _wait_for_space(self) -> None:
        until = time.monotonic() + _SECONDS
        while Path(self._space).readlink() == Path("/proc/self/ns/net").readlink():
            assert time.monotonic() < until, "no network namespace could be made: this needs root"
            time.sleep(0.02)


def _ip(*words: str, before: tuple[str, ...] = ()) -> None:
    subprocess.run([*before, "ip", *words], check=True, timeout=_SECONDS)
