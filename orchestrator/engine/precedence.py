"""Billing is answered first: while it waits for an answer, the threads of jobs stand aside for a moment before each write.

Python runs one thread at a time, and the store takes one writer at a time. A job can wait some tenths of a second; a sender whose
answer is late sends again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# At most so long each time: where billing never pauses, jobs go on more slowly, but they go on.
ASIDE_SECONDS = 0.1


class Precedence:
    """How many answers are being made, and whoever stands aside for them."""

    def __init__(self) -> None:
        self._answers = 0
        self._none = threading.Condition()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """An answer is made in the block."""
        with self._none:
            self._answers += 1
        try:
            yield
        finally:
            with self._none:
                self._answers -= 1
                if not self._answers:
                    self._none.notify_all()

    def stand_aside(self, seconds: float = ASIDE_SECONDS) -> bool:
        """Wait until no answer is being made, at most so long; whether none is."""
        with self._none:
            return self._none.wait_for(lambda: not self._answers, seconds)
