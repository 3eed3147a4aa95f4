"""Posting signed events to the billing system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Billing's answer to one post. ``status`` 0 = no answer."""

    status: int
    detail: str = ""

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def outcome(self) -> str:
        """The word under which it is counted: taken, refused or no-answer."""
        return "taken" if self.taken else "refused" if self.status else "no-answer"


class Notifier(Protocol):
    def post(self, *, message_id: str, body: bytes, deadline: float) -> Delivery:
        """Post one signed message (Standard Webhooks). Never raises for what the receiver does."""
        ...
