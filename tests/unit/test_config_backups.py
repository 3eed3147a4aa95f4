"""Targets of backups, hours and limits: read in base units, shown as they are written, and every fault with its place."""

from __future__ import annotations

import json
import shutil
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.config.backup_values import clock_time, clock_words, span_words, week_span
from orchestrator.config.load import load
from orchestrator.config.problems import Problem
from orchestrator.config.shown import files
from orchestrator.domain.backups.offer import Span
from orchestrator.domain.backups.state import StateBackups
from orchestrator.domain.backups.targets import Kind, Target, Way, on_itself, place_of
from orchestrator.domain.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs"
REST: dict[str, Any] = {
    "name": "main",
    "location": "rest:https://backup.example.com:8000/orch/",
    "keeper": "rest:https://backup.example.com:8001/orch/",
    "user": "node",
    "secret_file": "secrets/node",
    "keeper_user": "keeper",
    "keeper_secret_file": "/etc/keeper",
}
SFTP: dict[str, Any] = {
    "name": "vault",
    "location": "sftp://backup@vault.example.com:2222//srv/backups",
    "ssh_key_file": "secrets/ssh",
    "ssh_known_hosts_file": "known_hosts",
}
DIRECTORY: dict[str, Any] = {"name": "disk", "location": "/srv/backups"}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "configs"))


def say(configs: Path, *targets: dict[str, Any], hv1: dict[str, Any] | None = None, **section: Any) -> Path:
    """Write a section ``backups`` with these targets, and these keys of node hv1."""
    whole = yaml.safe_load((configs / "orchestrator.yaml").read_text())
    whole["backups"] = {"targets": list(targets), **section}
    (configs / "orchestrator.yaml").write_text(json.dumps(whole, indent=1))
    nodes = yaml.safe_load((configs / "nodes.yaml").read_text())
    nodes["nodes"][0].update(hv1 or {})
    (configs / "nodes.yaml").write_text(json.dumps(nodes, indent=1))
    return configs


def problems_of(configs: Path) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(configs)
    return [Problem(**problem) for problem in caught.value.details["problems"]]


def only(configs: Path) -> Problem:
    (found,) = problems_of(configs)
    return found


def test_targets_are_read_with_their_ways(configs: Path) -> None:
    settings = load(say(configs, REST, SFTP, hv1={"backups": "main", "backups_at_once": 3})).settings.backups
    way = Way(location=str(REST["location"]), user="node", secret_file=configs / "secrets/node")
    keeper = Way(location=str(REST["keeper"]), user="keeper", secret_file=Path("/etc/keeper"))
    assert settings.targets["main"] == Target(name="main", way=way, keeper=keeper)
    assert settings.targets["vault"].way.ssh_known_hosts_file == configs / "known_hosts"
    assert settings.targets["vault"].keeper is None


def test_hours_and_limits_are_read_in_base_units(configs: Path) -> None:
    hours: dict[str, Any] = {
        "opens": "22:00",
        "closes": "06:00",
        "slot": "15m",
        "closed": ["Sat 22:00-Sun 04:00", "Wed 23:00-24:00"],
    }
    settings = load(say(configs, upload="8 Mbit/s", io_priority=-1, **hours)).settings.backups
    assert (settings.hours.opens, settings.hours.closes, settings.hours.slot) == (time(22), time(6), timedelta(minutes=15))
    assert settings.hours.closed == (Span(5 * 1440 + 1320, 6 * 1440 + 240), Span(2 * 1440 + 1380, 3 * 1440))
    assert (settings.upload, settings.download, settings.io_priority) == (1_000_000, 0, -1)


def test_what_is_shown_reads_again_as_the_same(configs: Path, tmp_path: Path) -> None:
    hours: dict[str, Any] = {"opens": "22:00", "closes": "06:00", "closed": ["Sat 22:00-Sun 04:00", "Wed 23:00-24:00"]}
    config = load(say(configs, REST, SFTP, hv1={"backups": "main"}, **hours))
    shown = files(config)
    for name in ("orchestrator.yaml", "nodes.yaml"):
        (configs / name).write_text(json.dumps(shown[name]))
    again = load(configs)
    assert (again.settings, again.nodes) == (config.settings, config.nodes)


def test_what_is_shown_holds_no_secret(configs: Path) -> None:
    (configs / "secrets").mkdir()
    (configs / "secrets/node").write_text("xyzzy")
    assert "xyzzy" not in json.dumps(files(load(say(configs, REST))))


@pytest.mark.parametrize(
    ("target", "changes", "path", "words"),
    [
        (REST, {"location": "backup.example.com"}, "backups.targets[0].location", "is no place for backups"),
        (
            REST,
            {"location": "rest:https://me:pw@backup.example.com/"},
            "backups.targets[0].location",
            "do not stand in the location",
        ),
        (REST, {"location": "rest:https://h:70000/"}, "backups.targets[0].location", "no port"),
        (DIRECTORY, {"location": "/srv/../etc"}, "backups.targets[0].location", "without '.', '..'"),
        (DIRECTORY, {"location": "/"}, "backups.targets[0].location", "no path below /"),
        (REST, {"user": ""}, "backups.targets[0].secret_file", "'user' is missing"),
        (REST, {"keeper_secret_file": None}, "backups.targets[0].keeper_user", "'keeper_secret_file' is missing"),
        (REST, {"keeper": REST["location"]}, "backups.targets[0].keeper", "nodes' own way"),
        (REST, {"keeper": "", "keeper_secret_file": None}, "backups.targets[0].keeper_user", "without 'keeper'"),
        (REST, {"ssh_key_file": "x"}, "backups.targets[0].ssh_key_file", "belongs to a location of the kind 'sftp:'"),
        (SFTP, {"ssh_known_hosts_file": None}, "backups.targets[0].location", "never taken on trust"),
        (SFTP, {"ssh_key_file": None}, "backups.targets[0].location", "'ssh_key_file' is missing"),
        (SFTP, {"on_node": "hv3"}, "backups.targets[0].on_node", "there is no node 'hv3'"),
    ],
)
def test_a_faulty_target_is_named(configs: Path, target: dict[str, Any], changes: dict[str, Any], path: str, words: str) -> None:
    given = {key: value for key, value in (target | changes).items() if value is not None}
    found = only(say(configs, given))
    assert (found.path, found.file.rpartition("/")[2]) == (path, "orchestrator.yaml")
    assert words in found.sentence


@pytest.mark.parametrize(
    ("section", "path", "words"),
    [
        ({"opens": "25:00"}, "backups.opens", "no time of the day"),
        ({"closed": ["Sun 04:00-02:00"]}, "backups.closed[0]", "ends before it begins"),
        ({"closed": ["Sunday"]}, "backups.closed[0]", "no part of the week"),
        ({"slot": "90s"}, "backups.slot", "whole minutes"),
        ({"opens": "01:00", "closes": "01:10"}, "backups.slot", "no slot for a backup is left"),
        ({"upload": "10 B/s"}, "backups.upload", "at least 1 KiB/s"),
    ],
)
def test_a_faulty_section_is_named(configs: Path, section: dict[str, Any], path: str, words: str) -> None:
    found = only(say(configs, DIRECTORY, **section))
    assert found.path == path
    assert words in found.sentence


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (DIRECTORY, "a directory lies on the node itself"),
        (SFTP | {"on_node": "hv1"}, "on a disk of the node itself"),
        (SFTP | {"location": "sftp:me@192.0.2.11:/srv"}, "192.0.2.11 is the node itself"),
    ],
)
def test_copies_on_the_node_itself_are_refused_unless_that_is_accepted(configs: Path, target: dict[str, Any], why: str) -> None:
    name = str(target["name"])
    found = only(say(configs, target, hv1={"backups": name}))
    assert (found.path, found.file.rpartition("/")[2]) == ("nodes[0].backups", "nodes.yaml")
    assert why in found.sentence
    assert "backups_on_own_node: true" in found.sentence
    assert load(say(configs, target, hv1={"backups": name, "backups_on_own_node": True})).nodes[0].backups == name


def test_a_directory_of_another_node_is_none_of_this_ones(configs: Path) -> None:
    found = only(say(configs, DIRECTORY | {"on_node": "hv2"}, hv1={"backups": "disk", "backups_on_own_node": True}))
    assert "a directory of node 'hv2'" in found.sentence


def test_a_disk_of_another_node_by_sftp_is_a_target_of_this_one(configs: Path) -> None:
    assert load(say(configs, SFTP | {"on_node": "hv2"}, hv1={"backups": "vault"})).nodes[0].backups == "vault"


def test_a_hosting_node_names_a_target_as_any_other(configs: Path) -> None:
    node = {"name": "web1", "zone": "jkt1", "address": "192.0.2.31", "kind": "hosting", "backups": "main"}
    path = say(configs, REST) / "nodes.yaml"
    nodes = yaml.safe_load(path.read_text())
    nodes["nodes"].append(node)
    path.write_text(json.dumps(nodes))
    assert [each.backups for each in load(configs).nodes if each.name == "web1"] == ["main"]
    nodes["nodes"][-1]["backups"] = "nowhere"
    path.write_text(json.dumps(nodes))
    (problem,) = problems_of(configs)
    assert "there is no target for backups 'nowhere'" in problem.sentence


def test_an_override_without_a_target_is_told(configs: Path) -> None:
    assert only(say(configs, hv1={"backups_on_own_node": True})).path == "nodes[0].backups_on_own_node"


def test_all_faults_come_at_once_and_one_hides_no_other(configs: Path) -> None:
    say(
        configs,
        REST | {"location": "nowhere"},
        SFTP | {"name": "main"},
        DIRECTORY,
        hv1={"backups": "mian"},
        opens="9",
    )
    assert sorted(problem.path for problem in problems_of(configs)) == [
        "backups.opens",
        "backups.targets[0].location",
        "backups.targets[1].name",
        "nodes[0].backups",
    ]


@pytest.mark.parametrize("text", ["Mon 00:00-24:00", "Sun 02:00-04:00", "Sat 22:00-Sun 04:00", "Sun 23:00-Mon 01:00"])
def test_a_part_of_the_week_is_written_as_it_is_read(text: str) -> None:
    assert span_words(week_span(text)) == text


@pytest.mark.parametrize("text", ["00:00", "09:05", "23:59"])
def test_a_time_of_the_day_is_written_as_it_is_read(text: str) -> None:
    assert clock_words(clock_time(text)) == text


@pytest.mark.parametrize(
    ("location", "repository"),
    [
        ("/srv/backups", "/srv/backups/s1.2"),
        ("/srv/backups/", "/srv/backups/s1.2"),
        ("sftp:me@host:/srv", "sftp:me@host:/srv/s1.2"),
        ("sftp://me@host:22//srv/", "sftp://me@host:22//srv/s1.2"),
        ("rest:https://host/", "rest:https://host/s1.2/"),
        ("rest:http://[::1]:8000/a/b", "rest:http://[::1]:8000/a/b/s1.2/"),
    ],
)
def test_a_repository_lies_below_its_target(location: str, repository: str) -> None:
    assert Way(location=location).to("s1", 2) == repository


def test_a_location_says_of_which_kind_it_is_and_on_which_host() -> None:
    assert (place_of("/a").kind, place_of("/a").host) == (Kind.DIRECTORY, "")
    assert (place_of("sftp:me@Host.example:/a").kind, place_of("sftp:me@Host.example:/a").host) == (Kind.SFTP, "Host.example")
    assert (place_of("rest:http://[::1]:8/a").kind, place_of("rest:http://[::1]:8/a").host) == (Kind.REST, "::1")


def test_a_host_is_known_for_the_node_however_it_is_written() -> None:
    def told(host: str, address: str) -> bool:
        return bool(on_itself(f"rest:http://{host}:8000/", on_node="", node="n1", address=address))

    assert told("HV1.example.com", "hv1.example.com.")
    assert told("[2001:db8:0::1]", "2001:db8::1")
    assert not told("192.0.2.1", "192.0.2.11")


STATE: dict[str, Any] = {"target": "vault", "key_file": "secrets/state"}


def test_copies_of_the_controller_itself_are_read_and_shown_again(configs: Path) -> None:
    settings = load(say(configs, SFTP, state=STATE | {"every": "12h"})).settings.backups
    assert settings.state == StateBackups(target="vault", key_file=configs / "secrets/state", every=timedelta(hours=12))
    shown = files(load(configs))["orchestrator.yaml"]["backups"]["state"]
    assert shown == {
        "target": "vault",
        "key_file": str(configs / "secrets/state"),
        "every": "12h",
        "keep": 7,
        "on_own_machine": False,
    }


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (STATE | {"target": "valt"}, "there is no target for backups 'valt'; did you mean 'vault'?"),
        (STATE | {"target": "disk"}, "takes the copies with it"),
        (STATE | {"every": "5m"}, "1h"),
        ({"target": "vault"}, "'key_file' is missing"),
    ],
)
def test_copies_of_the_controller_itself_go_to_a_target_that_is_another_machines(
    configs: Path, state: dict[str, Any], words: str
) -> None:
    assert words in only(say(configs, SFTP, DIRECTORY, state=state)).sentence


def test_they_may_lie_on_its_own_machine_where_that_is_said(configs: Path) -> None:
    assert (
        load(say(configs, DIRECTORY, state=STATE | {"target": "disk", "on_own_machine": True})).settings.backups.state is not None
    )
