"""Jobs of controllers that have ended: each is put back on its queue once, where another controller takes it."""

from __future__ import annotations

import logging

from orchestrator.engine.acts import Works
from orchestrator.engine.durable import Durable
from orchestrator.engine.lease import Lease
from orchestrator.store import audit, controllers
from orchestrator.store.controllers import LOST

_log = logging.getLogger(__name__)
WHO = "orchestrator"
LOST_ROW = "controller lost"


class Takeover:
    """May be called at any time, repeated, and broken off anywhere."""

    def __init__(self, works: Works, durable: Durable, lease: Lease) -> None:
        self._works = works
        self._durable = durable
        self._lease = lease

    def once(self) -> int:
        """End the leases that ran out, and take over what is left with who has ended; of how many it was."""
        if self._works.db.is_sqlite or not self._lease.leads:
            return 0
        # Without the writers' lock: who is ended may hold it, and stand still.
        with self._works.db.brief() as conn:
            controllers.end_expired(conn)
        with self._works.db.read() as conn:
            gone = controllers.to_take_over(conn)
        return sum(self._take_over(each) for each in gone)

    def _take_over(self, controller_id: str) -> bool:
        """First nothing that it still does can reach the database; then its jobs are anyone's."""
        with self._works.db.brief() as conn:
            ended = controllers.end_sessions(conn, controller_id)
        left = self._durable.recover(controller_id) if ended else 1
        if left:
            _log.warning("not everything of controller %s could be taken over yet", controller_id)
            return False
        with self._works.db.write() as conn:
            known = next((each for each in controllers.all_known(conn) if each.id == controller_id), None)
            controllers.taken_over(conn, [controller_id])
            if known is not None and known.ending == LOST:
                facts = {"controller": known.id, "hostname": known.hostname, "pid": known.pid}
                heard = {"heard_at": known.heartbeat_at.isoformat()}
                audit.append(conn, at=self._works.clock.now(), who=WHO, what=LOST_ROW, facts=facts | heard)
                _log.warning("controller %s on %s was lost; its jobs go on", known.id, known.hostname)
        return True
