"""Deleting what is personal of a service in all that is kept of it besides its record: events, messages, jobs and evidence.

The audit trail is not touched: its hashes hold it together, and it names services, jobs and operators. Certificates are signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from orchestrator.store import access
from orchestrator.store.database import Connection
from orchestrator.store.tables import events, evidence, job_steps, jobs, outbox


def forget(conn: Connection, service_id: str, blanks: Mapping[str, object]) -> None:
    """Put the blanks in place of these keys' values, and delete the files. Digests and signatures stay those of what was said.

    A certificate names the customer, and stays where it is kept. Its copy in a message goes once billing has that, and not
    before: half a certificate would be none.
    """
    for table in (events, outbox):
        key, taken = (table.c.seq, sa.null()) if table is events else (table.c.id, table.c.taken_at)
        for row_id, body, taken_at in conn.execute(
            sa.select(key, table.c.body, taken).where(table.c.service_id == service_id)
        ).all():
            said = json.loads(body)
            if (left := access.without(said, blanks if taken_at is None else {**blanks, "certificate": None})) != said:
                text = json.dumps(left, ensure_ascii=False, separators=(",", ":"))
                conn.execute(sa.update(table).where(key == row_id).values(body=text))
    conn.execute(sa.delete(evidence).where(evidence.c.service_id == service_id))
    mine = sa.select(jobs.c.id, jobs.c.workflow, jobs.c.arguments).where(jobs.c.service_id == service_id)
    for job_id, workflow, arguments in conn.execute(mine).all():
        _steps(conn, job_id, blanks)
        left = {"workflow": access.without(workflow, blanks), "arguments": access.without(arguments, blanks)}
        if left != {"workflow": workflow, "arguments": arguments}:
            conn.execute(sa.update(jobs).where(jobs.c.id == job_id).values(left))


def _steps(conn: Connection, job_id: str, blanks: Mapping[str, object]) -> None:
    whose = sa.select(job_steps.c.position, job_steps.c.args, job_steps.c.facts).where(job_steps.c.job_id == job_id)
    for position, args, facts in conn.execute(whose).all():
        left = {"args": access.without(args, blanks), "facts": access.without(facts, blanks)}
        if left != {"args": args, "facts": facts}:
            this = (job_steps.c.job_id == job_id, job_steps.c.position == position)
            conn.execute(sa.update(job_steps).where(*this).values(left))
