"""Telling billing: the outbox is posted until each message is taken, or was not taken for so long that a person has to look.

One message that the receiver refuses, or over which it hangs, does not keep the others: what is new goes first, what was tried
before has its turn after that, and neither takes longer than the deadline of one post (and the one post that it is in).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from orchestrator.domain.errors import NotFound, WrongState
from orchestrator.engine.acts import Works
from orchestrator.engine.settings import Beside
from orchestrator.ports.notifier import Delivery, Notifier
from orchestrator.store import audit, outbox
from orchestrator.store.database import Connection
from orchestrator.store.outbox import DeliveryRecord, Filters, Message, MessageState

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0
_RETRY_CEILING_SECONDS = 3600.0
PROBLEM_CHARACTERS = 500


class Mail:
    """Posts the outbox, one post at a time. ``on_delivery`` is told the outcome of each post: taken, refused or no-answer."""

    def __init__(self, works: Works, notifier: Notifier, *, on_delivery: Callable[[str], None]) -> None:
        self._works = works
        self._notifier = notifier
        self._on_delivery = on_delivery
        self._turn = threading.Lock()

    def post_due(self) -> int:
        """Post what is due, a batch at most; returns how many were taken."""
        with self._turn:
            return self._post_batch()

    def _post_batch(self) -> int:
        now, limit = self._works.clock.now(), self._works.settings.outbox_batch
        with self._works.db.read() as conn:
            new = outbox.new(conn, now=now, limit=limit)
            again = outbox.again(conn, now=now, limit=limit)
        return self._post_some(new) + self._post_some(again)

    def _post_some(self, messages: Iterable[Message]) -> int:
        """At least one; then as many as begin before the deadline of one post has passed."""
        clock, taken = self._works.clock, 0
        until = clock.monotonic() + self._works.settings.notify_deadline_seconds
        for message in messages:
            if self._works.halting.is_set():
                break
            taken += self._post(message)
            if clock.monotonic() >= until:
                break
        return taken

    def _post(self, message: Message) -> bool:
        clock, settings = self._works.clock, self._works.settings
        at, begun = clock.now(), clock.monotonic()
        answer = self._notifier.post(message_id=message.id, body=message.body.encode(), deadline=settings.notify_deadline_seconds)
        took = round(1000 * (clock.monotonic() - begun))
        problem = "" if answer.taken else answer.detail[:PROBLEM_CHARACTERS]
        with self._works.db.write() as conn:
            record = DeliveryRecord(at=at, status=answer.status, problem=problem, milliseconds=took)
            outbox.note_delivery(conn, message.id, record)
            given_up = self._mark(conn, message, answer, problem, at=at)
        self._on_delivery(answer.outcome)
        if given_up:
            # An error, once: nobody is told any more, and what waits for a notice goes on waiting.
            _log.error(
                "billing has not taken message %s (%s) since %s, and it is posted no more: %s; see `orchestrator message list "
                "--state dead`, then `orchestrator message retry %s`",
                *(message.id, message.type, message.tried_since or at, problem, message.id),
                extra={"message_id": message.id, "service_id": message.service_id},
            )
        return answer.taken

    def _mark(self, conn: Connection, message: Message, answer: Delivery, problem: str, *, at: datetime) -> bool:
        """Write down what became of the message; whether it was given up."""
        now = self._works.clock.now()
        present = outbox.get(conn, message.id) or message  # somebody may have had it posted again meanwhile
        since = present.tried_since or at
        if answer.taken:
            outbox.mark_taken(conn, message.id, status=answer.status, now=now)
        elif now - since >= self._works.settings.give_up_after:
            outbox.mark_dead(conn, message.id, status=answer.status, problem=problem, now=now)
            return True
        else:
            again = now + timedelta(seconds=mail_delay(present.tries + 1))
            outbox.mark_failed(conn, message.id, status=answer.status, problem=problem, tried_since=since, next_attempt_at=again)
        return False


def mail_delay(attempts: int) -> float:
    """Seconds until a message that so many attempts have failed for is posted again: doubling, an hour at most."""
    return float(min(_RETRY_SECONDS * 2 ** min(attempts - 1, 16), _RETRY_CEILING_SECONDS))


class MailDesk:
    """What operators do to messages: each call is one transaction, with its rows of audit and what the caller wants beside it.

    ``posts``: there is a billing system that is told.
    """

    def __init__(self, works: Works, *, posts: bool, wake: Callable[[], None]) -> None:
        self._works = works
        self._posts = posts
        self._wake = wake

    def retry(self, message_id: str, who: str, beside: Beside[int]) -> int:
        """Post one again that was not taken, dead or not. Raises NotFound; WrongState where it was, or where nobody is told."""
        with self._works.db.write() as conn:
            message = outbox.get(conn, message_id)
            if message is None:
                raise NotFound(f"there is no message {message_id}", hint="`orchestrator message list` shows all of them")
            if message.taken_at is not None:
                raise WrongState(f"billing took message {message_id} at {message.taken_at.isoformat(timespec='seconds')}")
            self._refuse_where_nobody_is_told()
            self._post_again(conn, message, who)
            beside(conn, 1)
        self._wake()
        return 1

    def retry_dead(self, who: str, *, kind: str, service_id: str, beside: Beside[int]) -> int:
        """Post all dead ones again, or those of the type or service. Raises WrongState where nobody is told."""
        self._refuse_where_nobody_is_told()
        filters = Filters(state=MessageState.DEAD, kind=kind, service_id=service_id)
        count = 0
        with self._works.db.write() as conn:
            while True:
                page, _ = outbox.list_page(conn, filters, limit=500)
                for message in page:
                    self._post_again(conn, message, who)
                count += len(page)
                if not page:
                    break
            beside(conn, count)
        self._wake()
        return count

    def _post_again(self, conn: Connection, message: Message, who: str) -> None:
        now = self._works.clock.now()
        outbox.post_again(conn, message.id, now=now)
        facts = {"message_id": message.id, "type": message.type, "state": message.state.value, "attempts": message.attempts}
        audit.append(conn, at=now, who=who, what="message retried", service_id=message.service_id, facts=facts)

    def _refuse_where_nobody_is_told(self) -> None:
        if not self._posts:
            raise WrongState(
                "no billing system is told of anything, so no message is posted",
                hint="set notify_url and notify_secret_file of a billing system, and restart the controller",
            )
