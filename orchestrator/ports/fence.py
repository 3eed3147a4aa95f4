"""The last word before a destructive act, and before a service is opened that may have been held meanwhile."""

from __future__ import annotations

from typing import Protocol


class Fence(Protocol):
    def require(self, *, service_id: str, job_id: str, act: str, destroys: bool = True) -> None:
        """Let the act through, or raise.

        One write transaction that reads the service as it is now: raises FenceClosed where it was paid since the job was
        decided, where a hold forbids erasing, or where the service's state does not belong to the act; Frozen while
        a freeze is in force. Letting an act that ``destroys`` through for a job that terminates records the point of no return:
        a payment accepted later is answered so. An act that can be taken back (a hold, an undefine) records nothing. Never
        cached, never replayed: called inside each destructive ``apply``.
        """
        ...

    def withdraw(self, *, service_id: str, job_id: str) -> None:
        """The act was let through and provably destroyed nothing: take the point of no return back."""
        ...

    def stopped(self, *, service_id: str) -> tuple[str, ...]:
        """The reasons of the holds that stop the service at this very moment; () where none does, or it is not known."""
        ...
