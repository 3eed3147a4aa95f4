from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from dbos import DBOS

from orchestrator.domain.errors import ConfigError
from orchestrator.store import jobs, migrate, services
from orchestrator.store.database import Database
from orchestrator.store.migrations.blind import include_name
from orchestrator.store.tables import metadata
from tests.store_files import drop_database, empty_database


@pytest.fixture
def db(tmp_path: Path, store_kind: str) -> Iterator[Database]:
    opened = empty_database(tmp_path, kind=store_kind)
    yield opened
    drop_database(opened)


def differences(db: Database) -> list[Any]:
    with db.read() as conn:
        context = MigrationContext.configure(conn, opts={"include_name": include_name})
        found: list[Any] = compare_metadata(context, metadata)
        return found


_ON_POSTGRESQL = {
    "table": "SELECT table_name, string_agg(concat_ws(' ', column_name, data_type, is_nullable, column_default), ', ' "
    "ORDER BY column_name) FROM information_schema.columns WHERE table_schema IN ('public', 'dbos') GROUP BY 1",
    "index": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "trigger": "SELECT tgname, tgrelid::regclass::text FROM pg_trigger "
    "WHERE NOT tgisinternal AND tgrelid::regclass::text !~ 'dbos'",
    "function": "SELECT proname, '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
}


def objects(db: Database, kind: str) -> dict[str, str]:
    """Name and definition of what is in the database, without what it makes by itself."""
    if not db.is_sqlite:
        with db.read() as conn:
            return {name: f"({text})" for name, text in conn.exec_driver_sql(_ON_POSTGRESQL[kind]) if "alembic" not in name}
    with db.read() as conn:
        asked = "SELECT name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL"
        rows = conn.exec_driver_sql(asked, (kind,)).all()
    # What a table that was made anew says otherwise, and means alike: its name in quotes, an empty text in brackets.
    plain = {name: " ".join(sql.split()).replace("DEFAULT ('')", "DEFAULT ''") for name, sql in rows}
    return {name: sql.replace(f'CREATE TABLE "{name}"', f"CREATE TABLE {name}") for name, sql in plain.items()}


def parts(sql: str) -> list[str]:
    """What a table is made of, in any order: a column that was added later stands behind the others."""
    found, depth, part = [], 0, ""
    for letter in sql.partition("(")[2].rpartition(")")[0]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            found.append(part.strip())
            part = ""
        else:
            part += letter
    return sorted([*found, part.strip()])


def ours(found: dict[str, str]) -> dict[str, list[str]]:
    return {name: parts(sql) for name, sql in found.items() if name in metadata.tables}


def test_from_nothing_the_migrations_make_exactly_the_declared_tables(db: Database, tmp_path: Path, store_kind: str) -> None:
    assert not db.migrated()
    db.migrate()
    assert db.migrated()
    assert differences(db) == []
    declared = empty_database(tmp_path, "declared.sqlite", kind=store_kind)
    with declared.write() as conn:
        metadata.create_all(conn)
    assert ours(objects(db, "table")) == ours(objects(declared, "table"))
    assert objects(db, "index") == objects(declared, "index")
    drop_database(declared)


def test_a_difference_would_be_found(db: Database) -> None:
    db.migrate()
    with db.write() as conn:
        conn.exec_driver_sql("ALTER TABLE outbox DROP COLUMN last_problem")
        conn.exec_driver_sql("DROP INDEX uq_macs_service_id_held")
    assert len(differences(db)) == 2


def test_migrating_again_changes_nothing(db: Database) -> None:
    db.migrate()
    before = objects(db, "table")
    db.migrate()
    assert objects(db, "table") == before


def test_tables_of_a_newer_version_are_left_alone_with_a_sentence(db: Database) -> None:
    db.migrate()
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert not db.migrated()
    with pytest.raises(ConfigError, match="9999"):
        db.migrate()


def test_going_back_leaves_nothing_of_ours(db: Database) -> None:
    db.migrate()
    with db.write() as conn:
        migrate.downgrade(conn, "base")
    assert ours(objects(db, "table")) == {}
    assert objects(db, "trigger") == {}
    assert objects(db, "function") == {}
    db.migrate()
    assert differences(db) == []


def test_a_migration_that_fails_leaves_nothing_behind(db: Database) -> None:
    with db.write() as conn:
        conn.exec_driver_sql("CREATE TABLE settings (mine TEXT)")
    with pytest.raises(Exception, match="already exists"):
        db.migrate()
    assert set(objects(db, "table")) == {"settings"}


def test_migrations_are_blind_to_the_engines_tables(db: Database) -> None:
    url = db.url.render_as_string(hide_password=False)
    DBOS.migrate(url)
    theirs = objects(db, "table")
    assert theirs
    db.migrate()
    assert not set(theirs) & set(metadata.tables), "a table of ours has a name of theirs"
    assert differences(db) == []
    DBOS.migrate(url)
    with db.write() as conn:
        migrate.downgrade(conn, "base")
    left = objects(db, "table")
    assert {name: sql for name, sql in left.items() if name in theirs} == theirs


def test_several_that_migrate_at_once_make_the_tables_once(db: Database) -> None:
    """Two controllers started together; the second finds the work done."""
    databases = [Database(db.url.render_as_string(hide_password=False)) for _ in range(3)]
    problems: list[Exception] = []

    def run(db: Database) -> None:
        try:
            db.migrate()
        except Exception as exc:  # noqa: BLE001 - whatever it was, the test shows it
            problems.append(exc)

    threads = [threading.Thread(target=run, args=(db,)) for db in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert differences(databases[0]) == []
    for db in databases:
        db.close()


def test_what_is_known_of_services_outlives_the_revisions(db: Database) -> None:
    with db.write() as conn:
        migrate.upgrade(conn, "0001")
        conn.exec_driver_sql(
            "INSERT INTO services (id, client_id, plan, state, version, order_id, domain, hostname, template, ssh_keys,"
            " password_hash, zone, payments, refunds, clock_stopped, created_at, facts)"
            " VALUES ('s1', 'c1', 'p', 'active', 7, '', '', '', '', '[]', '', '', 3,"
            """ '[["i1", "2026-01-01T00:00:00+00:00"]]', 0, '2026-01-01 00:00:00', '{"a": 1}')"""
        )
    db.migrate()
    with db.read() as conn:
        found = services.get(conn, "s1")
    assert found is not None
    assert (found.version, found.payments, len(found.refunds), found.disputes, found.traffic) == (7, 3, 1, (), ())


def test_a_hold_that_a_dispute_had_set_names_its_invoice_after_the_revision_and_one_of_a_person_none(db: Database) -> None:
    with db.write() as conn:
        migrate.upgrade(conn, "0007")
        for service_id, since in (("s1", "2026-01-02 03:04:05.000000"), ("s2", "2026-01-02 03:04:06.000001")):
            conn.exec_driver_sql(
                "INSERT INTO services (id, client_id, plan, state, version, order_id, domain, hostname, template, ssh_keys,"
                " password_hash, zone, payments, refunds, disputes, created_at, facts)"
                f" VALUES ('{service_id}', 'c1', 'p', 'active', 7, '', '', '', '', '[]', '', '', 3, '[]',"
                """ '[{"invoice_id": "i7", "raised_at": "2026-01-02T03:04:05+00:00", "late": false, "part": false,"""
                """ "settled_at": null, "upheld": false, "pay_by": null}]', '2026-01-01 00:00:00', '{}')"""
            )
            conn.exec_driver_sql(
                "INSERT INTO holds (service_id, reason, effect, by, why, since)"
                f" VALUES ('{service_id}', 'dispute', 'none', 'x', 'y', '{since}')"
            )
    db.migrate()
    with db.read() as conn:
        found = [services.get(conn, service_id) for service_id in ("s1", "s2")]
    assert [service and service.holds[0].invoice for service in found] == ["i7", ""]


def test_of_jobs_under_way_the_revision_of_outcomes_says_what_was_done_in_their_first_run(db: Database) -> None:
    with db.write() as conn:
        migrate.upgrade(conn, "0027")
        for job_id, run in (("first", 1), ("second", 2)):
            conn.exec_driver_sql(
                "INSERT INTO jobs (id, service_id, intent, playbook, state, reason, asked_by, arguments, payments, run,"
                f" created_at) VALUES ('{job_id}', 's1', 'check', 'vps-check', 'running', '', 'x', '{{}}', 0, {run},"
                " '2026-01-01 00:00:00')"
            )
            for position, state in enumerate(("done", "running")):
                conn.exec_driver_sql(
                    "INSERT INTO job_steps (job_id, position, id, step, state)"
                    f" VALUES ('{job_id}', {position}, 'p{position}', 'x', '{state}')"
                )
    db.migrate()
    with db.read() as conn:
        runs = {job_id: [step.run for step in jobs.steps(conn, job_id)] for job_id in ("first", "second")}
    assert runs == {"first": [1, 0], "second": [0, 0]}
