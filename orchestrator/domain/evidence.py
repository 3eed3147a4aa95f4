"""Files that are attached to acts on a service: what may be one, and how it is told on."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Self

from orchestrator.domain.errors import RequestError
from orchestrator.domain.sizes import compared

MOST_BYTES = 1 << 20
# A larger one is named to the customer, and not sent: a message to billing is no parcel.
MOST_TOLD = 128 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """``name`` is what the file was called, for people; it is never a path."""

    sha256: str
    name: str
    content: bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        """Raises RequestError for a file that is empty or too large."""
        if not content:
            raise RequestError("the evidence is empty: nothing would be kept of it")
        if len(content) > MOST_BYTES:
            has, most = compared(len(content), MOST_BYTES)
            raise RequestError(f"the evidence has {has}; {most} are taken at most")
        return cls(sha256=hashlib.sha256(content).hexdigest(), name=name, content=content)

    @property
    def intact(self) -> bool:
        return hashlib.sha256(self.content).hexdigest() == self.sha256

    def told(self) -> dict[str, object]:
        """As a message carries it: ``content`` in base64, None where it is too large for that."""
        whole = len(self.content) <= MOST_TOLD
        content = base64.b64encode(self.content).decode("ascii") if whole else None
        return {"name": self.name, "sha256": self.sha256, "size": len(self.content), "content": content}
