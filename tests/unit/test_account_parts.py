"""Which parts of an account are restored, where they stand in a snapshot, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.backups.parts import ALL, Parts, arguments, refuses, same
from orchestrator.domain.errors import RequestError


@pytest.mark.parametrize(
    ("parts", "only", "load", "databases"),
    [
        (ALL, ["/home", "/backup"], True, []),
        (Parts(load=False), ["/home"], False, []),
        (Parts(paths=("sites/main/", "/tmp")), ["/home/sites/main", "/home/tmp"], False, []),
        (Parts(databases=("main", "shop")), ["/backup"], True, ["main", "shop"]),
        (Parts(paths=("sites",), databases=("main",)), ["/home/sites", "/backup"], True, ["main"]),
        (Parts(delete=True), ["/home", "/backup"], True, []),
    ],
)
def test_what_is_named_is_restored_and_where_nothing_is_all(
    parts: Parts, only: list[str], load: bool, databases: list[str]
) -> None:
    assert refuses(parts, kind="hosting", beside=False) is None
    assert arguments(parts, kind="hosting", beside=False) == {
        "role": "home",
        "only": only,
        "load": load,
        "databases": databases,
        "delete": parts.delete,
    }


def test_beside_dumps_are_written_and_nothing_is_loaded() -> None:
    told = arguments(ALL, kind="hosting", beside=True)
    assert (told["role"], told["only"], told["load"]) == ("beside", ["/home", "/backup"], False)
    assert refuses(Parts(paths=("sites",)), kind="hosting", beside=True) is None


@pytest.mark.parametrize(
    ("parts", "beside", "words"),
    [
        (Parts(databases=("main",), load=False), False, "none is to be loaded"),
        (Parts(databases=("main",), delete=True), False, "no file is deleted"),
        (Parts(delete=True), True, "what is newer goes in place only"),
        (Parts(databases=("main",)), True, "databases are loaded in place only"),
    ],
)
def test_what_contradicts_itself_is_refused(parts: Parts, beside: bool, words: str) -> None:
    refusal = refuses(parts, kind="hosting", beside=beside)
    assert refusal is not None
    assert words in refusal.reason


@pytest.mark.parametrize("named", [{"paths": ("etc",)}, {"databases": ("main",)}, {"load": False}, {"delete": True}])
def test_of_a_guest_no_parts_can_be_had(named: dict[str, Any]) -> None:
    refusal = refuses(Parts(**named), kind="vps", beside=False)
    assert refusal is not None
    assert "a guest is restored whole" in refusal.reason
    assert arguments(ALL, kind="vps", beside=False) == {"role": "disk"}
    assert arguments(ALL, kind="vps", beside=True) == {"role": "beside"}


@pytest.mark.parametrize("path", ["", "/", "..", "../h100002/home", "sites/../..", "a//b", "./a", "a/.", "a\0b", "x" * 5000])
def test_a_path_that_leads_out_of_the_home_is_none(path: str) -> None:
    with pytest.raises(RequestError, match="is no path inside the home"):
        refuses(Parts(paths=(path,)), kind="hosting", beside=False)


@pytest.mark.parametrize("path", ["x" * 1020, "sites/soft\u00adhyphen", "sites/\u200b", "a\u2028b"])
def test_a_path_that_the_node_would_refuse_when_the_account_is_closed_already_is_refused_before(path: str) -> None:
    with pytest.raises(RequestError):
        refuses(Parts(paths=(path,)), kind="hosting", beside=False)
    assert refuses(Parts(paths=("sites/bücher [1]*", "x" * 1018)), kind="hosting", beside=False) is None


def test_paths_that_no_request_to_a_node_holds_together_are_refused() -> None:
    with pytest.raises(RequestError, match="bytes together"):
        refuses(Parts(paths=tuple(f"{number}{'ü' * 60}" for number in range(100))), kind="hosting", beside=False)


@pytest.mark.parametrize("name", ["", "Main", "h100001_main; drop", "a" * 17, "m-n"])
def test_a_database_that_cannot_be_one_of_an_account_is_none(name: str) -> None:
    with pytest.raises(RequestError, match="is no name of a database"):
        refuses(Parts(databases=(name,)), kind="hosting", beside=False)


def test_more_paths_than_a_request_takes_are_refused() -> None:
    with pytest.raises(RequestError, match="at most 100 paths"):
        refuses(Parts(paths=tuple(f"a{number}" for number in range(101))), kind="hosting", beside=False)


def test_the_arguments_of_a_job_are_the_same_where_they_say_all_that_is_wanted() -> None:
    wanted = arguments(ALL, kind="hosting", beside=False)
    assert same({**wanted, "backup": "b1", "request": "r1"}, wanted)
    assert not same({**wanted, "delete": True}, wanted)
    assert not same({"role": "disk"}, wanted)
