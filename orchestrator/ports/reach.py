"""Whether something answers at an address, seen from the controller."""

from __future__ import annotations

from typing import Protocol


class Reach(Protocol):
    def banner(self, address: str, port: int, *, deadline: float) -> str:
        """The first line that the service at ``address`` (v4 or v6) and TCP ``port`` sends by itself (RFC 4253, 4.2).

        '' where nothing connects or nothing is said within ``deadline`` seconds: a guest that is not up yet is no error.
        Raises PermanentDriverError where ``address`` is no address.
        """
        ...
