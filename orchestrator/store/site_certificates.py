"""Certificates of sites on their way to a node (port SiteCertificates): with the job that installs each, until it has ended."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from orchestrator.domain.errors import NotFound, PermanentDriverError
from orchestrator.ports.secrets import Secrets
from orchestrator.ports.site_certificates import Inspected, Pair
from orchestrator.store.account_tables import site_certificates
from orchestrator.store.database import Connection, Database

_DROP = sa.delete(site_certificates).where(site_certificates.c.job_id == sa.bindparam("job"))


def key_context(job_id: str) -> str:
    """What a key is wrapped for: it opens as that of no other job."""
    return f"orchestrator/site-certificate/1:{job_id}"


def keep(conn: Connection, secrets: Secrets, pair: Pair, *, job_id: str, service_id: str) -> None:
    """For that job, which is new."""
    wrapped = secrets.wrap(pair.key.encode(), context=key_context(job_id))
    values = {"job_id": job_id, "service_id": service_id, "certificate": pair.certificate, "wrapped_key": wrapped}
    conn.execute(sa.insert(site_certificates).values(**values))


def drop(conn: Connection, job_id: str) -> None:
    """The job has ended: nothing is kept. None there = success."""
    conn.execute(_DROP, {"job": job_id})


def rewrap_all(db: Database, secrets: Secrets, alone: Secrets) -> int:
    """Wrap every key anew, and see that each opens with the new master key ``alone``. How many."""
    with db.write() as conn:
        rows = conn.execute(sa.select(site_certificates.c.job_id, site_certificates.c.wrapped_key)).all()
        for job_id, wrapped in rows:
            context = key_context(job_id)
            key = secrets.unwrap(wrapped, context=context)
            fresh = secrets.wrap(key, context=context)
            if alone.unwrap(fresh, context=context) != key:
                raise PermanentDriverError(f"the key that job {job_id} is to install was not wrapped anew as it is")
            this = site_certificates.c.job_id == job_id
            conn.execute(sa.update(site_certificates).where(this).values(wrapped_key=fresh))
    return len(rows)


class StoreSiteCertificates:
    """``inspect``: what reads a certificate and its key."""

    def __init__(self, db: Database, *, secrets: Secrets, inspect: Callable[[str, str], Inspected]) -> None:
        self._db = db
        self._secrets = secrets
        self._inspect = inspect

    def inspect(self, certificate: str, key: str) -> Inspected:
        """See the port."""
        return self._inspect(certificate, key)

    def pair(self, job_id: str) -> Pair:
        """See the port."""
        with self._db.read() as conn:
            row = conn.execute(sa.select(site_certificates).where(site_certificates.c.job_id == job_id)).one_or_none()
        if row is None:
            raise NotFound(f"the certificate of job {job_id} is not kept any more", hint="give it once more")
        key = self._secrets.unwrap(row.wrapped_key, context=key_context(job_id))
        return Pair(certificate=row.certificate, key=key.decode())
