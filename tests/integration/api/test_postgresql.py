"""The controller as operators start it, with its store on PostgreSQL; and what it says where that cannot be used."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.cli.local.doctor import examine
from orchestrator.config.model import SQLITE_FILE
from orchestrator.domain.errors import ConfigError
from orchestrator.store import migrate
from orchestrator.store.postgres import OLDEST, require_new_enough
from orchestrator.wiring import database_of, load_config
from orchestrator.wiring.links import WORLD_FILE
from tests.live import write_config
from tests.postgres import PASSWORD, databases
from tests.served import Served, command


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty one, without the password."""
    server = databases().server
    name = server.create()
    yield server.url(name, password=False)
    server.drop(name)


def password_file(directory: Path, password: str = PASSWORD) -> str:
    path = directory / "database-password"
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return str(path)


def on(directory: Path, url: str) -> Served:
    directory.mkdir(exist_ok=True)
    return Served(directory, database_url=url, database_password_file=password_file(directory))


def test_it_serves_is_listed_and_ends_and_its_password_is_nowhere(tmp_path: Path, database: str) -> None:
    controller = on(tmp_path, database)
    try:
        controller.enrol("n1")
        job = controller.order("s1")
        assert controller.http.get(f"/v1/jobs/{job}").status_code == 200
        listed = json.loads(controller.run("controller", "list", "--json").stdout)["items"]
        assert [(each["state"], each["leads"], each["here"]) for each in listed] == [("works", True, True)]
        assert "works, leads, answers" in controller.run("controller", "list").stdout
        metrics = controller.http.get("/metrics").text
        assert "orchestrator_controllers 1.0" in metrics
        assert "orchestrator_controllers_lost 0.0" in metrics
        found = json.loads(controller.run("doctor", "--json").stdout)["findings"]
        ours = {each["name"]: each["ok"] for each in found if each["name"].startswith(("database", "password", "controller"))}
        assert ours == {"password of the database": True, "database": True, "controller": True, "controllers": True}
        shown = controller.run("config", "show").stdout
        arguments = Path(f"/proc/{controller.process.pid}/cmdline").read_text()
        environment = Path(f"/proc/{controller.process.pid}/environ").read_text()
        controller.process.send_signal(signal.SIGTERM)
        assert controller.process.wait(30) == 0
    finally:
        controller.stop()
    assert PASSWORD not in "".join((controller.log, controller.said, shown, arguments, environment))
    assert "Traceback" not in controller.log


def test_two_of_them_share_the_work_and_one_goes_on_alone(tmp_path: Path, database: str) -> None:
    first = on(tmp_path / "a", database)
    try:
        (tmp_path / "b" / "state").mkdir(mode=0o700, parents=True)
        shutil.copytree(tmp_path / "a" / "state" / "keys", tmp_path / "b" / "state" / "keys")
        (tmp_path / "b" / "state" / WORLD_FILE).symlink_to(tmp_path / "a" / "state" / WORLD_FILE)  # the same simulated nodes
        second = on(tmp_path / "b", database)
        try:
            listed = second.http.get("/v1/controllers").json()["items"]
            assert [(each["leads"], each["here"]) for each in listed] == [(True, False), (False, True)]
            second.enrol("n1")
            first.enrol("n2")
            jobs = [talks.order(f"s{number}") for number, talks in enumerate((first, second))]
            first.stop()
            for job in jobs:
                watched = second.run("job", "watch", job)
                assert watched.returncode == 0, watched
            states = [each["state"] for each in second.http.get("/v1/controllers").json()["items"]]
            assert states == ["stopped", "works"]
        finally:
            second.stop()
    finally:
        first.stop()


def refused(directory: Path, *words: str, **changes: str) -> str:
    write_config(directory, **changes)
    ran = command("--config", str(directory), *words)
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert PASSWORD not in ran.stdout + ran.stderr
    return ran.stderr


@pytest.mark.parametrize("words", [("init",), ("migrate",), ("serve",)])
def test_a_database_that_cannot_be_reached_is_said_with_what_to_look_at(tmp_path: Path, words: tuple[str, ...]) -> None:
    url = "postgresql://keeper@127.0.0.1:1/nothing"
    (tmp_path / "state").mkdir(mode=0o700)
    write_config(tmp_path)
    if words == ("serve",):
        assert command("--config", str(tmp_path), "init").returncode == 0
        (tmp_path / "state" / SQLITE_FILE).unlink()
    said = refused(tmp_path, *words, database_url=url, database_password_file=password_file(tmp_path))
    assert "Connection refused" in said
    assert "is PostgreSQL running there" in said


def test_a_wrong_password_is_said_without_it(tmp_path: Path, database: str) -> None:
    secret = "nobody-may-read-this"
    said = refused(tmp_path, "init", database_url=database, database_password_file=password_file(tmp_path, secret))
    assert "password authentication failed" in said
    assert "database_password_file" in said
    assert secret not in said


def test_a_password_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path, database: str) -> None:
    path = Path(password_file(tmp_path))
    path.chmod(0o644)
    assert "database-password" in refused(tmp_path, "init", database_url=database, database_password_file=str(path))
    path.chmod(0o600)
    path.write_text("\n")
    assert "holds no line" in refused(tmp_path, "init", database_url=database, database_password_file=str(path))


def test_a_database_that_is_not_there_is_said_with_how_to_make_it(tmp_path: Path, database: str) -> None:
    url = database.rpartition("/")[0] + "/missing"
    said = refused(tmp_path, "init", database_url=url, database_password_file=password_file(tmp_path))
    assert '"missing" does not exist' in said
    assert "createdb" in said


def test_doctor_tells_an_empty_database_from_one_of_another_version_and_says_what_to_do(tmp_path: Path, database: str) -> None:
    write_config(tmp_path, database_url=database, database_password_file=password_file(tmp_path))
    config = load_config(tmp_path)

    def said() -> tuple[str, str]:
        (found,) = (each for each in examine(tmp_path) if each.name == "database")
        assert not found.ok
        return found.found, found.mend

    empty, todo = said()
    assert ("it has no tables of ours" in empty, "orchestrator init" in todo, "--from-sqlite" in todo) == (True, True, True)
    with closing(database_of(config.settings)) as db:
        with db.write() as conn:
            migrate.upgrade(conn, "0026")
        older, todo = said()
        assert ("an older version: at revision 0026" in older, todo) == (True, "orchestrator migrate")
        with db.write() as conn:
            conn.execute(sa.text("UPDATE alembic_version SET version_num = 'later'"))
    newer, todo = said()
    assert ("at revision later, which this version" in newer, "a newer version migrated it" in todo) == (True, True)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ("ENCODING 'SQL_ASCII' LOCALE 'C'", "keeps text as SQL_ASCII, and UTF8 is needed"),
        ("LOCALE_PROVIDER icu ICU_LOCALE 'en'", "the order of code points is needed"),
    ],
)
def test_a_database_that_keeps_or_sorts_text_otherwise_is_refused(tmp_path: Path, made: str, sentence: str) -> None:
    server = databases().server
    with server.connect() as conn:
        conn.execute(f"CREATE DATABASE other {made} TEMPLATE template0 OWNER keeper")
    try:
        url = server.url("other", password=False)
        said = refused(tmp_path, "init", database_url=url, database_password_file=password_file(tmp_path))
    finally:
        server.drop("other")
    assert sentence in said
    assert "--locale=C.UTF-8" in said


def test_an_older_server_is_refused_and_a_newer_one_is_not() -> None:
    with pytest.raises(ConfigError, match="PostgreSQL 14, which is too old"):
        require_new_enough(140_011)
    require_new_enough(OLDEST * 10_000)
    require_new_enough(180_000)
