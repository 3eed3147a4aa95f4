"""The package, and a migrated database for each test that asks: SQLite; those of the store itself run on PostgreSQL, too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store.database import Database
from tests.store_files import KINDS, SQLITE, drop_database, fresh_database


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    of_store = metafunc.module.__name__.rpartition(".")[2].startswith(("test_store_", "test_job_store"))
    if "store_kind" in metafunc.fixturenames and of_store:
        metafunc.parametrize("store_kind", KINDS, indirect=True)


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    """Of database: ``sqlite`` or ``postgresql``."""
    return str(getattr(request, "param", SQLITE))


@pytest.fixture
def db(tmp_path: Path, store_kind: str) -> Iterator[Database]:
    opened = fresh_database(tmp_path, kind=store_kind)
    yield opened
    drop_database(opened)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of this checkout."""
    made = tmp_path_factory.mktemp("deb")
    build = Path(__file__).parents[2] / "configs" / "debian" / "build.sh"
    subprocess.run(["sh", str(build), str(made)], check=True, timeout=600, stdout=subprocess.DEVNULL)
    (found,) = made.glob("*.deb")
    return found
