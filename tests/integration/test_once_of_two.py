"""One request that comes to two controllers at once, under one key."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import BaseModel

from orchestrator.api.context import ApiContext
from orchestrator.api.once import REPLAYED_HEADER, Keep, Once
from orchestrator.domain.errors import EventConflict
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.store import idempotency, settings
from orchestrator.store.database import Database


class Said(BaseModel):
    by: str


def once(db: Database, *, fingerprint: str = "same") -> Once:
    """Of a controller of its own: it knows nothing of the other's locks."""
    context = cast(ApiContext, SimpleNamespace(db=db, clock=FakeClock()))
    return Once(context, threading.Lock(), who="anna", key="k", fingerprint=fingerprint)


def act_after(db: Database, other: str, *, fingerprint: str = "same") -> object:
    """This one acts; before it has written, the other has done so and has answered."""
    clock = FakeClock()

    def act(keep: Keep) -> None:
        kept = idempotency.KeptAnswer(status=200, answer={"by": other})
        with db.write() as conn:
            idempotency.put(conn, who="anna", key="k", request_sha256="same", kept=kept, now=clock.now())
        with db.write() as conn:
            settings.put(conn, "done twice", 1, now=clock.now())
            keep(conn, Said(by="the second"))

    return once(db, fingerprint=fingerprint).run(act)


def test_the_later_one_is_undone_and_answers_as_the_first(db: Database) -> None:
    answer = act_after(db, "the first")
    assert json.loads(bytes(answer.body)) == {"by": "the first"}  # type: ignore[attr-defined]
    assert REPLAYED_HEADER in answer.headers  # type: ignore[attr-defined]
    with db.read() as conn:
        assert settings.get(conn, "done twice") is None


def test_under_a_key_of_another_request_it_is_refused_and_undone(db: Database) -> None:
    with pytest.raises(EventConflict):
        act_after(db, "the first", fingerprint="another")
    with db.read() as conn:
        assert settings.get(conn, "done twice") is None
