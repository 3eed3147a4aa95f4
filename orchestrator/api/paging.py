"""Pages of lists: ``limit`` and an opaque ``after``; every list answers ``{"items": […], "next": … | null}``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from orchestrator.domain.errors import RequestError

Item = TypeVar("Item")
MAX_INTEGER = 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=500, description="How many items at most.")]
# No control characters: PostgreSQL refuses NUL inside text.
Word = Annotated[str, Query(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
After = Annotated[str, Query(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$", description="The `next` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """One page. ``next`` is given as ``after`` to get the following one; null on the last."""

    items: list[Item]
    next: str | None = Field(description="Give it as `after`; null on the last page.")


def names_page(names: Iterable[str], *, limit: int, after: str) -> tuple[list[str], str | None]:
    """The page of these names behind ``after``, and the cursor of the next."""
    beyond = sorted(name for name in names if name > after)
    return beyond[:limit], beyond[limit - 1] if len(beyond) > limit else None


def number_after(after: str) -> int | None:
    """The cursor of a list that is numbered; raises RequestError where it is none of ours."""
    if not after:
        return None
    # Bounded before int(), which refuses digit strings of any length only past 4300 digits.
    if not (after.isascii() and after.isdigit() and len(after) <= 19 and int(after) <= MAX_INTEGER):
        raise RequestError("after: not a cursor of this list", hint="give the 'next' of the page before")
    return int(after)


def text_after(after: str) -> str | None:
    return after or None
