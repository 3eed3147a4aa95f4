"""The uids of accounts: each is given once, and never to another service."""

from __future__ import annotations

from typing import Protocol


class AccountUids(Protocol):
    def give(self, service_id: str, *, above: int = 0) -> int:
        """The service's uid: the one that it has, else the next that nobody ever had, greater than ``above``.

        Raises NoCapacity where there is none any more, WrongState where ``above`` is far from all that were given.
        """
        ...

    def known(self, service_id: str) -> int | None:
        """The service's uid, or None where it never had one."""
        ...
