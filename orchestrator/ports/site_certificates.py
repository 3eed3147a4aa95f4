"""Certificates of sites on their way to a node, and what a certificate says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate with what leads to its authority, and its key, both PEM. The key is not to be shown or written down."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """``names``: the DNS names that it is for; ``sha256``: of its DER, in hexadecimal. ``pair``: both as a node takes them."""

    names: tuple[str, ...]
    since: datetime
    until: datetime
    sha256: str
    pair: Pair


class SiteCertificates(Protocol):
    def inspect(self, certificate: str, key: str) -> Inspected:
        """Raises RequestError where one of them is no such thing, or they do not belong together."""
        ...

    def pair(self, job_id: str) -> Pair:
        """What the job is to install. Raises NotFound where it is not kept (any more)."""
        ...
