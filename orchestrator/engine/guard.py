"""Destruction waits for proof: what keeps every deadline from terminating anything, and who lets it go on.

Looked at before each turn of deadlines, and between its batches: the time that passed, by both clocks; the mark beside the
store; and whether other policies than before took effect.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from orchestrator.domain.errors import OrchestratorError, Refused, WrongState
from orchestrator.domain.guards import Look, Wait, WaitReason, after_gap, joined, older_than_its_mark, over
from orchestrator.engine.acts import Works
from orchestrator.engine.adoption import Adoption
from orchestrator.engine.mark import Mark
from orchestrator.engine.pricing import PriceAdoption
from orchestrator.engine.settings import Catalog, PolicyTexts
from orchestrator.engine.waits import let_go, tell
from orchestrator.store import deadlines, settings
from orchestrator.store.database import Connection


class Guard:
    """``look`` may be called at any time and repeated."""

    def __init__(self, works: Works, catalog: Catalog, texts: PolicyTexts) -> None:
        self._works = works
        self._adoption = Adoption(works, catalog, texts)
        self._prices = PriceAdoption(works, catalog)
        self._mark = Mark(works.settings.state_dir)
        self._before: Look | None = None
        self._turn = threading.Lock()

    def look(self) -> None:
        """Notice what destruction has to wait for from now on, and what it need not wait for any more."""
        with self._turn:  # looks are told apart by their order
            now = Look(self._works.clock.now(), self._works.clock.monotonic())
            mark = self._mark.read()
            with self._works.db.write() as conn:
                turns = self._note(conn, now, mark)
            self._mark.write(turns)
            self._before = now
        self._prices.look()
        self._adoption.look()

    def follow(self) -> None:
        """Look on while another controller looks: whoever leads after it has the mark of this very store, and knows the prices.

        A mark that is ahead of the store is left: it tells that the store came back from a copy.
        """
        mark = self._mark.read()
        with self._works.db.read() as conn:
            turns = settings.get(conn, settings.TURNS) or 0
        if mark is None or mark < turns:
            self._mark.write(int(turns))
        self._prices.look()

    def release(self, who: str, why: str, *, terminates: int | None = None) -> None:
        """Let deadlines terminate again, after somebody made sure of whatever they waited for. Nothing waits = success.

        ``terminates``: of how many services the caller agrees that a change of policies terminates them. Raises Refused where
        it is another number, or is not said; WrongState where no change waits for it.
        """
        victims = () if terminates is None else self._adoption.victims()
        wrong: OrchestratorError | None = None
        with self._works.db.write() as conn:
            standing = settings.waits(conn)
            consent = standing.get(WaitReason.POLICY)
            if consent is not None and terminates is not None and len(victims) != terminates:
                self._adoption.hold(conn, victims)  # what is shown from now on is what was counted now
            wrong = _wrong(consent, terminates, len(victims))
            if wrong is None:
                if consent is not None:
                    self._adoption.adopt(conn, who, victims)
                agreed = {} if terminates is None else {"terminates": terminates}
                let_go(conn, standing.values(), who, why, now=self._works.clock.now(), facts=agreed)
        if wrong is not None:
            raise wrong

    def _note(self, conn: Connection, now: Look, mark: int | None) -> int:
        """Write down that the controller is here, and what it missed; the number of its turns."""
        last, turns = settings.get(conn, settings.LOOKED_AT), settings.get(conn, settings.TURNS) or 0
        turn = timedelta(seconds=self._works.settings.due_seconds)
        since = None if last is None else datetime.fromisoformat(last)
        found = list(after_gap(last=since, before=self._before, now=now, turn=turn))
        older = older_than_its_mark(turns=turns, mark=mark, now=now.wall)
        found += [] if older is None else [older]
        standing = settings.waits(conn)
        waits = joined(standing, found)
        if found:
            settings.put_waits(conn, waits.values(), now=now.wall)
        for wait in found:
            if wait.reason not in standing:
                tell(conn, wait, now=now.wall)
            if wait.reason == WaitReason.CLOCK:
                deadlines.look_at_all(conn)  # by which clock the present looks were set nobody knows
        let_go(conn, over(waits, now.wall), "orchestrator", "it was waited as long as nobody was here", now=now.wall)
        settings.put(conn, settings.LOOKED_AT, now.wall.isoformat(), now=now.wall)
        settings.put(conn, settings.TURNS, turns + 1, now=now.wall)
        return int(turns) + 1


def settle_payments(conn: Connection, who: str, why: str, *, now: datetime) -> None:
    """End what waits for nothing but to know what was paid, inside the transaction of whoever made sure of it."""
    let_go(conn, [wait for wait in settings.waits(conn).values() if wait.reason.payments], who, why, now=now)


def _wrong(consent: Wait | None, terminates: int | None, counted: int) -> OrchestratorError | None:
    """Why these words release nothing."""
    if consent is None:
        if terminates is None:
            return None
        return WrongState("no change of policies waits for consent", hint="orchestrator terminations release --why TEXT")
    if terminates is None:
        return Refused(
            f"{consent.why}: say that they may be",
            rule="a change of policies terminates nobody within a day unasked",
            hint=f"orchestrator terminations release --yes-terminate {consent.count} --why TEXT; or put the old policies back",
        )
    if terminates != counted:
        return Refused(
            f"{counted} {'service' if counted == 1 else 'services'} would be terminated within 24 hours, not {terminates}",
            rule="a change of policies terminates nobody within a day unasked",
            hint="look at them: orchestrator terminations show; then say their exact number",
        )
    return None
