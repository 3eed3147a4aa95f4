"""The configuration loads whole, or every problem of every file is named with its file, line and path."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from orchestrator.config.files import NodeEntry, OrchestratorFile
from orchestrator.config.load import load
from orchestrator.config.plan_files import PlanFile
from orchestrator.config.problems import Problem
from orchestrator.config.shown import files
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.plans import GuestPlan

SHIPPED = Path(__file__).parents[2] / "configs"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A copy of the shipped configuration, to be spoiled."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "configs"))


def problems_of(directory: Path) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(directory)
    return [Problem(**problem) for problem in caught.value.details["problems"]]


def change(configs: Path, file: str, old: str, new: str) -> None:
    text = (configs / file).read_text()
    assert text.count(old) >= 1, f"{old!r} does not stand in {file}"
    (configs / file).write_text(text.replace(old, new, 1))


def test_the_shipped_configuration_loads_in_base_units() -> None:
    config = load(SHIPPED)
    plan = config.plans["vps-1"]
    assert isinstance(plan, GuestPlan)
    assert (plan.memory_bytes, plan.disk_bytes) == (2**30, 20 * 10**9)
    assert (plan.disk_bytes_per_second, plan.network_bytes_per_second) == (50_000_000, 12_500_000)
    assert plan.limited_rate == 125_000
    assert plan.default_template == "debian-12", "left out: the first of templates"
    plain = config.plans["vps-plain"]
    assert isinstance(plain, GuestPlan)
    assert plain.full_copy
    assert not plain.encrypted
    assert [node.name for node in config.nodes] == ["hv1", "hv2"]
    assert config.nodes[0].reserved_memory_bytes == 4 * 2**30
    assert config.ranges[0].reserved == (IPv4Address("198.51.100.53"),)
    assert config.settings.address_cool_down == timedelta(hours=24)
    assert config.settings.webhook_tolerance == timedelta(minutes=5)
    assert config.settings.database_url == "sqlite:////var/lib/orchestrator/orchestrator.sqlite"


def test_a_database_of_postgresql_is_named_as_everybody_writes_it_and_its_password_by_a_file(configs: Path) -> None:
    change(configs, "orchestrator.yaml", '# database_url: ""', "database_url: postgresql://orchestrator@db.example/orchestrator")
    change(configs, "orchestrator.yaml", "# database_password_file: /etc/orchestrator/", "database_password_file: ")
    settings = load(configs).settings
    assert settings.database_url == "postgresql+psycopg://orchestrator@db.example/orchestrator"
    assert settings.database_password_file == configs / "secrets/database"


def test_relative_paths_count_from_the_configuration_s_directory(configs: Path) -> None:
    change(configs, "orchestrator.yaml", "# state_dir: /var/lib/orchestrator", "state_dir: ../state")
    change(configs, "orchestrator.yaml", "/etc/orchestrator/secrets/billing-webhook", "secrets/hook")
    settings = load(configs).settings
    assert settings.state_dir == configs.parent / "state", "written without '..'"
    assert settings.billing[0].secret_files == (configs / "secrets/hook",)


# file, old text, new text, path of the problem, part of its sentence
THROTTLE = "traffic_over: throttle\ntraffic_over_rate: 1 Mbit/s"
SINGLE_FAULTS = [
    ("orchestrator.yaml", "provider: Example Hosting", "provider: 7", "provider", "must be a text: put 7 in quotes"),
    ("orchestrator.yaml", "provider: Example Hosting\n", "\n", "provider", "'provider' is missing"),
    ("orchestrator.yaml", "timezone: Asia/Jakarta", "timezone: Asia/Jakart", "timezone", "no time zone"),
    ("orchestrator.yaml", "country: ID", "country: Indonesia", "country", "two capital letters, such as 'ID'"),
    ("holidays.yaml", "date: 2026-12-24", "date: 24.12.2026", "holidays[7].date", "no date"),
    ("orchestrator.yaml", "address_cool_down: 24h", "address_cool_down: 24", "address_cool_down", "no duration"),
    ("orchestrator.yaml", "address_cool_down: 24h", "address_cooldown: 24h", "address_cooldown", "mean 'address_cool_down'"),
    ("orchestrator.yaml", "terminations_per_hour: 5", "terminations_per_hour: -1", "brakes.terminations_per_hour", "at least 0"),
    (
        "orchestrator.yaml",
        "terminations_per_hour: 5",
        "terminations_per_hour: yes",
        "brakes.terminations_per_hour",
        "whole number",
    ),
    ("orchestrator.yaml", "terminations_per_hour: 5", "termination_per_hour: 5", "brakes.termination_per_hour", "did you mean"),
    ("orchestrator.yaml", "source: billing", "source: bil/ling", "billing[0].source", "is not a name"),
    ("orchestrator.yaml", "- /etc/orchestrator/secrets/billing-webhook", "[]", "billing[0].secret_files", "at least 1"),
    ("orchestrator.yaml", '# listen: ""', "listen: 127.0.0.1", "listen", "'host:port'"),
    ("orchestrator.yaml", '# listen: ""', "listen: 127.0.0.1:70000", "listen", "no port between 1 and 65535"),
    (
        "orchestrator.yaml",
        "# socket: /run/orchestrator/api.sock",
        f"socket: /run/{'x' * 110}",
        "socket",
        "longer than the 107 bytes",
    ),
    ("orchestrator.yaml", '# database_url: ""', "database_url: mysql://x/y", "database_url", "is not 'sqlite:"),
    (
        "orchestrator.yaml",
        "# database_password_file",
        "database_password_file",
        "database_password_file",
        "only PostgreSQL has a password",
    ),
    (
        "orchestrator.yaml",
        '# database_url: ""',
        "database_url: postgresql+psycopg://u:secret@h/d",
        "database_url",
        "a password must not stand in the configuration",
    ),
    (
        "orchestrator.yaml",
        "    # notify_url: https",
        "    notify_url: https",
        "billing[0].notify_url",
        "'notify_secret_file' is missing",
    ),
    ("nodes.yaml", "zone: jkt1", "zone: jkt2", "nodes[0].zone", "there is no zone 'jkt2'; did you mean 'jkt1'?"),
    ("nodes.yaml", "- name: hv2", "- name: hv1", "nodes[1].name", "'hv1' is there twice: first on line 13"),
    ("nodes.yaml", "192.0.2.12", "192.0.2.11", "nodes[1].address", "the machine of node 'hv1'"),
    ("nodes.yaml", "192.0.2.12", "192.0.2.300", "nodes[1].address", "no IPv4 or IPv6 address"),
    ("nodes.yaml", "192.0.2.12", "198.51.100.77", "address_ranges[0].first", "address of node 'hv2'"),
    ("nodes.yaml", "cpu_ratio: 4 ", "cpu_ratio: .nan ", "nodes[0].cpu_ratio", "must be a number"),
    ("nodes.yaml", "cpu_ratio: 4 ", "cpu_ratio: 0 ", "nodes[0].cpu_ratio", "at least 0.1"),
    ("nodes.yaml", "reserved_memory: 4 GiB #", "reserved_memory: 4 Gib #", "nodes[0].reserved_memory", "'4 Gib' is no size"),
    ("nodes.yaml", "bridge: br0", "bridge: a-very-long-bridge", "nodes[0].bridge", "at most 15 characters"),
    ("nodes.yaml", "    maintenance: false", "    maintenance: no", "nodes[1].maintenance", "must be true or false"),
    ("nodes.yaml", "    maintenance: false", "    driver: xen", "nodes[1].driver", "must be 'libvirt' or 'fake'"),
    (
        "nodes.yaml",
        "    maintenance: false",
        "    libvirt_uri: qemu+ssh://u:pw@h/system",
        "nodes[1].libvirt_uri",
        "a password must not",
    ),
    ("nodes.yaml", "198.51.100.0/24", "198.51.100.5/24", "address_ranges[0].network", "has host bits set"),
    ("nodes.yaml", "198.51.100.0/24", "198.51.100.0", "address_ranges[0].network", "prefix length"),
    ("nodes.yaml", "gateway: 198.51.100.1", "gateway: 198.51.101.1", "address_ranges[0].gateway", "not inside the network"),
    ("nodes.yaml", "gateway: 198.51.100.1", "gateway: 2001:db8:100::2", "address_ranges[0].gateway", "not inside the network"),
    ("nodes.yaml", "last: 198.51.100.250", "last: 198.51.100.9", "address_ranges[0].last", "lies before 'first'"),
    ("nodes.yaml", "last: 198.51.100.250", "last: 198.51.100.255", "address_ranges[0].last", "broadcast"),
    ("nodes.yaml", "first: 198.51.100.10", "first: 198.51.100.0", "address_ranges[0].first", "network's own address"),
    ("nodes.yaml", "- 198.51.100.53", "- 198.51.99.53", "address_ranges[0].reserved[0]", "not inside the network"),
    ("nodes.yaml", "last: 198.51.100.250", "last: 198.51.100.250\n    zone: jkt1", "address_ranges[0].zone", "twice"),
    ("nodes.yaml", "name: jkt1-v6", "name: jkt1-v4", "address_ranges[1].name", "'jkt1-v4' is there twice"),
    ("templates.yaml", "0000000000", "XX00000000", "templates[0].sha256", "64 small hexadecimal digits"),
    ("templates.yaml", "volume: debian-12-1.qcow2", "volume: ../etc/shadow", "templates[0].volume", "without directories"),
    ("templates.yaml", "volume: debian-12-1.qcow2", "volume: orch.42.disk.j.qcow2", "templates[0].volume", "belong to guests"),
    ("templates.yaml", "agent: true", "agent: false", "templates[0].ready", "needs 'agent: true'"),
    ("templates.yaml", "format: qcow2", "initrd: initrd.img", "templates[0].initrd", "without 'kernel'"),
    ("plans/vps-1.yaml", "name: vps-1", "name: vps-9", "name", "has to stand in vps-9.yaml, not in vps-1.yaml"),
    ("plans/vps-1.yaml", "- debian-12", "- debian-21", "templates[0]", "no template 'debian-21'; did you mean 'debian-12'?"),
    ("plans/vps-2.yaml", "default_template: debian-12", "default_template: alpine", "default_template", "not one of this plan's"),
    ("plans/vps-plain.yaml", "- jkt1", "- jkt9", "zones[0]", "there is no zone 'jkt9'"),
    ("plans/vps-1.yaml", "memory: 1 GiB", "memory: 1 GB", "memory", "not a multiple of 1048576 bytes"),
    ("plans/vps-1.yaml", "disk: 20 GB", "disk: 20000000001", "disk", "not a multiple of 512 bytes"),
    ("plans/vps-1.yaml", "disk: 20 GB", "disks: 20 GB", "disks", "unknown key 'disks'; did you mean 'disk'?"),
    ("plans/vps-1.yaml", "network_rate: 100 Mbit/s", "network_rate: 100 Mbps", "network_rate", "is no rate"),
    ("plans/vps-1.yaml", "ipv4: 1", "ipv4: 1\nlimited_network: 0", "limited_network", "keeps at least 1 kB/s"),
    ("plans/vps-1.yaml", "ipv4: 1", "ipv4: 1\nlimited_network: 200 Mbit/s", "limited_network", "have more of the network than"),
    (
        "plans/vps-1.yaml",
        "ipv4: 1",
        "ipv4: 1\ntraffic: 1 TB\ntraffic_over: throttle",
        "traffic_over",
        "missing: 'traffic_over_rate'",
    ),
    ("plans/vps-1.yaml", "ipv4: 1", f"ipv4: 1\n{THROTTLE}", "traffic_over", "'traffic' is missing"),
    (
        "plans/vps-1.yaml",
        "ipv4: 1",
        f"ipv4: 1\ntraffic: 1 TB\n{THROTTLE.replace('1 M', '200 M')}",
        "traffic_over_rate",
        "more of the",
    ),
    ("plans/vps-1.yaml", "ipv4: 1", "ipv4: 1\ntraffic_over_rate: 1 Mbit/s", "traffic_over_rate", "it throttles nothing"),
    (
        "plans/vps-1.yaml",
        "ipv4: 1",
        f"ipv4: 1\ntraffic: 1 TB\ntraffic_over_per_gb: 5\n{THROTTLE}",
        "traffic_over_per_gb",
        "a plan that throttles charges nothing",
    ),
    ("plans/vps-1.yaml", "vcpus: 1", "vcpus: 1.5", "vcpus", "must be a whole number"),
    ("plans/vps-1.yaml", "kind: vps", "kind: VPS", "kind", "must be 'vps'"),
]


@pytest.mark.parametrize(("file", "old", "new", "path", "words"), SINGLE_FAULTS)
def test_a_fault_is_named_with_file_line_and_path(configs: Path, file: str, old: str, new: str, path: str, words: str) -> None:
    change(configs, file, old, new)
    found = [problem for problem in problems_of(configs) if problem.path == path and words in problem.sentence]
    assert len(found) == 1, problems_of(configs)
    assert found[0].line >= 1
    assert found[0].file == str(configs / file)


def test_a_disk_smaller_than_one_of_its_templates_is_refused(configs: Path) -> None:
    change(configs, "templates.yaml", "size: 2 GiB", "size: 21 GB")
    (problem,) = problems_of(configs)
    assert (Path(problem.file).name, problem.path) == ("vps-1.yaml", "disk")
    assert "too little for template 'debian-12'" in problem.sentence


def test_who_sells_no_guests_and_no_machines_needs_no_template(configs: Path) -> None:
    for plan in (*configs.glob("plans/vps-*.yaml"), *configs.glob("plans/dedicated-*.yaml")):
        plan.unlink()
    (configs / "templates.yaml").write_text("templates: []\n")
    assert [*load(configs).plans] == ["hosting-1", "hosting-2"]


def test_the_line_is_the_one_of_the_fault(configs: Path) -> None:
    change(configs, "nodes.yaml", "last: 198.51.100.250", "last: 198.51.100.9")
    lines = (configs / "nodes.yaml").read_text().splitlines()
    (problem,) = problems_of(configs)
    assert lines[problem.line - 1].strip() == "last: 198.51.100.9"


def test_all_problems_of_all_files_come_at_once(configs: Path) -> None:
    change(configs, "orchestrator.yaml", "timezone: Asia/Jakarta", "timezone: Mars")
    change(configs, "nodes.yaml", "gateway: 198.51.100.1", "gateway: 10.0.0.1")
    change(configs, "nodes.yaml", "heavy_slots: 2", "heavy_slots: 0")
    change(configs, "templates.yaml", "ready: agent", "ready: soon")
    change(configs, "plans/vps-1.yaml", "- debian-12", "- debian-21")
    change(configs, "plans/vps-2.yaml", "vcpus: 2", "vcpus: two")
    (configs / "plans/vps-plain.yaml").write_text("a: [")
    found = problems_of(configs)
    assert {(Path(problem.file).name, problem.path) for problem in found} == {
        ("orchestrator.yaml", "timezone"),
        ("nodes.yaml", "address_ranges[0].gateway"),
        ("nodes.yaml", "nodes[0].heavy_slots"),
        ("templates.yaml", "templates[0].ready"),
        ("vps-1.yaml", "templates[0]"),
        ("vps-2.yaml", "vcpus"),
        ("vps-plain.yaml", ""),
    }
    assert found == sorted(found), "ordered by file and line"


def test_a_faulty_template_does_not_make_its_plans_faulty(configs: Path) -> None:
    change(configs, "templates.yaml", "format: qcow2", "format: vmdk")
    assert [problem.path for problem in problems_of(configs)] == ["templates[0].format"]


def test_an_unreadable_file_does_not_make_what_refers_to_it_faulty(configs: Path) -> None:
    (configs / "templates.yaml").write_text("templates: [")
    (configs / "nodes.yaml").unlink()
    assert {(Path(problem.file).name, problem.line) for problem in problems_of(configs)} == {
        ("templates.yaml", 1),
        ("nodes.yaml", 0),
    }


def test_ranges_that_overlap_are_refused(configs: Path) -> None:
    change(
        configs,
        "nodes.yaml",
        "  - name: jkt1-v6",
        "  - name: more\n    zone: jkt1\n    network: 198.51.100.128/25\n    gateway: 198.51.100.129\n"
        "    first: 198.51.100.250\n    last: 198.51.100.254\n  - name: jkt1-v6",
    )
    (problem,) = problems_of(configs)
    assert problem.path == "address_ranges[1].first"
    assert "range 'jkt1-v4' gives out too" in problem.sentence


def test_a_range_must_not_give_out_another_range_s_gateway(configs: Path) -> None:
    change(
        configs,
        "nodes.yaml",
        "  - name: jkt1-v6",
        "  - name: more\n    zone: jkt1\n    network: 198.51.100.0/24\n    gateway: 198.51.100.20\n"
        "    first: 198.51.100.251\n    last: 198.51.100.254\n  - name: jkt1-v6",
    )
    (problem,) = problems_of(configs)
    assert (problem.path, "gateway of range 'more'" in problem.sentence) == ("address_ranges[0].first", True)


def test_a_range_with_nothing_to_give_out_is_refused(configs: Path) -> None:
    change(
        configs, "nodes.yaml", "first: 198.51.100.10\n    last: 198.51.100.250", "first: 198.51.100.53\n    last: 198.51.100.53"
    )
    (problem,) = problems_of(configs)
    assert "no address is left" in problem.sentence


def test_an_ipv6_gateway_may_be_link_local(configs: Path) -> None:
    change(configs, "nodes.yaml", "gateway: 2001:db8:100::1", "gateway: fe80::1")
    assert str(load(configs).ranges[1].gateway) == "fe80::1"


def test_a_zone_with_nodes_and_no_addresses_is_refused(configs: Path) -> None:
    change(configs, "nodes.yaml", "\nnodes:", "  - name: sby1\n\nnodes:")
    change(configs, "nodes.yaml", "- name: hv2\n    zone: jkt1", "- name: hv2\n    zone: sby1")
    (problem,) = problems_of(configs)
    assert (problem.path, "'sby1' has no address range" in problem.sentence) == ("nodes[1].zone", True)


@pytest.fixture
def located(configs: Path) -> Path:
    """One plan's policy keeps data in Indonesia; its zone is there, and there is another zone."""
    change(configs, "plans/vps-1.yaml", "policy: default", "policy: zettagrid")
    change(configs, "nodes.yaml", "\nnodes:", "  - name: sgp1\n    country: SG\n\nnodes:")
    return configs


def test_a_plan_that_could_put_data_into_another_country_than_its_policys_is_refused(located: Path) -> None:
    (problem,) = problems_of(located)
    assert (Path(problem.file).name, problem.path) == ("vps-1.yaml", "policy")
    line = (located / "plans/vps-1.yaml").read_text().splitlines()[problem.line - 1]
    assert line.startswith("policy: zettagrid")
    assert "policy 'zettagrid' keeps data in ID (5.5.1), and zone 'sgp1' is in SG (line 11 of " in problem.sentence


def test_a_zone_that_the_plan_names_is_refused_where_it_stands(located: Path) -> None:
    change(located, "plans/vps-1.yaml", "policy: zettagrid", "zones:\n  - jkt1\n  - sgp1\npolicy: zettagrid")
    (problem,) = problems_of(located)
    assert (problem.path, "zone 'sgp1' is in SG" in problem.sentence) == ("zones[1]", True)


def test_a_plan_that_is_sold_in_its_policys_country_only_is_sound(located: Path) -> None:
    change(located, "plans/vps-1.yaml", "policy: zettagrid", "zones: [jkt1]\npolicy: zettagrid")
    found = load(located)
    assert [(zone.name, zone.country) for zone in found.zones] == [("jkt1", "ID"), ("sgp1", "SG")]


def test_a_zone_whose_country_is_not_said_is_no_place_for_what_is_kept_in_one(located: Path) -> None:
    change(located, "nodes.yaml", "    country: SG\n", "")
    (problem,) = problems_of(located)
    assert "of zone 'sgp1' no 'country' is said" in problem.sentence


def test_a_country_is_two_capital_letters(configs: Path) -> None:
    change(configs, "nodes.yaml", "country: ID", "country: Indonesia")
    (problem,) = problems_of(configs)
    assert (problem.path, "two capital letters" in problem.sentence) == ("zones[0].country", True)


def test_a_plan_needs_a_range_of_each_family_it_promises(configs: Path) -> None:
    text = (configs / "nodes.yaml").read_text()
    (configs / "nodes.yaml").write_text(text[: text.index("  - name: jkt1-v6")])
    found = problems_of(configs)
    assert [(Path(problem.file).name, problem.path) for problem in found] == [
        ("vps-1.yaml", "ipv6"),
        ("vps-2.yaml", "ipv6"),
        ("vps-plain.yaml", "ipv6"),
    ]


def test_a_guest_without_any_address_is_refused(configs: Path) -> None:
    change(configs, "plans/vps-1.yaml", "ipv4: 1\nipv6: 1", "ipv4: 0\nipv6: 0")
    (problem,) = problems_of(configs)
    assert "no address" in problem.sentence


def test_files_that_look_like_configuration_and_are_not_read_are_named(configs: Path) -> None:
    shutil.copy(configs / "plans/vps-1.yaml", configs / "plans/vps-3.yml")
    (problem,) = problems_of(configs)
    assert "rename it" in problem.sentence


@pytest.mark.parametrize("missing", ["orchestrator.yaml", "nodes.yaml", "templates.yaml", "plans"])
def test_what_is_missing_is_named(configs: Path, missing: str) -> None:
    gone = configs / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    (problem,) = problems_of(configs)
    assert (problem.file, "missing" in problem.sentence) == (str(gone), True)


def test_something_else_than_a_file_is_refused_without_waiting_for_it(configs: Path) -> None:
    (configs / "nodes.yaml").unlink()
    os.mkfifo(configs / "nodes.yaml")
    (problem,) = problems_of(configs)
    assert "not a regular file" in problem.sentence


def test_the_error_counts_its_problems_and_says_what_to_do(configs: Path) -> None:
    change(configs, "plans/vps-1.yaml", "vcpus: 1", "vcpus: 0")
    with pytest.raises(ConfigError, match=r"1 problem \(mend the files"):
        load(configs)


def test_a_problem_is_one_readable_line_whatever_the_file_says(configs: Path) -> None:
    with (configs / "orchestrator.yaml").open("a") as file:
        file.write('"evil\\nconfigs/nodes.yaml:1: fine": 1\n' + f'"{"x" * 5000}": 1\n')
    for problem in problems_of(configs):
        assert "\n" not in problem.path + problem.sentence
        assert len(problem.path) < 400
        assert len(problem.sentence) < 400


def test_a_plan_is_checked_against_the_other_files_though_they_and_it_have_faults_of_their_own(configs: Path) -> None:
    change(configs, "nodes.yaml", "pool:", "poool:")
    change(configs, "nodes.yaml", "zone: jkt1", "zone: jkt2")
    change(configs, "plans/vps-1.yaml", "debian-12", "debian-99")
    change(configs, "plans/vps-1.yaml", "vcpus: 1", "vcpus: many")
    found = {(Path(problem.file).name, problem.path, problem.sentence) for problem in problems_of(configs)}
    assert found == {
        ("nodes.yaml", "nodes[0].poool", "unknown key 'poool'; did you mean 'pool'?"),
        ("nodes.yaml", "nodes[0].zone", "there is no zone 'jkt2'; did you mean 'jkt1'?"),
        ("vps-1.yaml", "vcpus", "must be a whole number, got 'many'"),
        ("vps-1.yaml", "templates[0]", "there is no template 'debian-99'; did you mean 'debian-12'?"),
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("plans/vps-1.yaml", "disk: 20 GB", "disk: small"),
        ("plans/vps-1.yaml", "name: vps-1", "name: 7"),
        ("plans/vps-1.yaml", "ipv4: 1", "ipv4: -1"),
        ("plans/vps-1.yaml", "  - debian-12", "  - 12"),
        ("nodes.yaml", "name: hv1", "name: hv 1"),
        ("nodes.yaml", "address: ", "address: not an address "),
        ("nodes.yaml", "network: ", "network: not a network "),
        ("nodes.yaml", "zone: jkt1", "zone: 1"),
        ("templates.yaml", "size: ", "size: not a size "),
        ("templates.yaml", "name: debian-12", "name: debian 12"),
        ("orchestrator.yaml", "source: ", "source: not a name "),
    ],
)
def test_what_stands_in_for_a_faulty_value_makes_no_problem_of_its_own(configs: Path, file: str, old: str, new: str) -> None:
    change(configs, file, old, new)
    problems = [problem for problem in problems_of(configs) if "there is no template" not in problem.sentence]
    assert len(problems) == 1, problems


def test_a_plan_whose_zones_cannot_be_read_is_not_said_to_lack_addresses_in_any(configs: Path) -> None:
    nodes = yaml.safe_load((configs / "nodes.yaml").read_text())
    nodes["address_ranges"] = [span for span in nodes["address_ranges"] if ":" not in span["network"]]
    (configs / "nodes.yaml").write_text(yaml.safe_dump(nodes))
    with (configs / "plans/vps-1.yaml").open("a") as plan:
        plan.write("\nzones: [7]\n")
    found = {(Path(problem.file).name, problem.path) for problem in problems_of(configs)}
    assert ("vps-2.yaml", "ipv6") in found
    assert {path for file, path in found if file == "vps-1.yaml"} == {"zones[0]"}


def test_without_a_configuration_it_says_so_once_and_how_to_begin(tmp_path: Path) -> None:
    for directory in (tmp_path / "none", tmp_path / "empty"):
        if directory.name == "empty":
            directory.mkdir()
        with pytest.raises(ConfigError, match="there is no configuration") as caught:
            load(directory)
        assert str(directory) in caught.value.message
        assert "orchestrator init" in caught.value.hint
        assert str(SHIPPED) in caught.value.hint
        assert "problems" not in caught.value.details


def test_a_missing_file_is_named_with_its_sample(configs: Path) -> None:
    (configs / "nodes.yaml").unlink()
    (problem,) = problems_of(configs)
    assert problem.file == str(configs / "nodes.yaml")
    assert f"cp -r {SHIPPED / 'nodes.yaml'}" in problem.sentence


def test_problems_name_files_without_detours(configs: Path) -> None:
    change(configs, "nodes.yaml", "pool:", "poool:")
    (problem,) = problems_of(configs / ".." / configs.name)
    assert problem.file == str(configs / "nodes.yaml")


def test_what_is_shown_is_what_the_files_say_and_loads_again_as_the_same(configs: Path, tmp_path: Path) -> None:
    change(configs, "nodes.yaml", "reserved_memory: 4 GiB", "reserved_memory: 1500 MB")
    config = load(configs)
    shown = files(config)
    for name, content in shown.items():
        path = tmp_path / "again" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))  # JSON is YAML
    assert dataclasses.replace(load(tmp_path / "again"), directory=config.directory) == config
    assert set(shown["orchestrator.yaml"]) == set(OrchestratorFile.model_fields)
    for name in ("webhooks", "messages", "brakes", "jobs"):
        section = OrchestratorFile.model_fields[name].annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        assert set(shown["orchestrator.yaml"][name]) == set(section.model_fields), name
    assert set(shown["nodes.yaml"]["nodes"][0]) == set(NodeEntry.model_fields)
    assert set(shown["plans/vps-1.yaml"]) == set(PlanFile.model_fields)
    assert shown["plans/vps-1.yaml"]["disk"] == "20 GB"
    assert shown["plans/vps-1.yaml"]["memory"] == "1 GiB"
    assert shown["plans/vps-1.yaml"]["network_rate"] == "100 Mbit/s"
    assert shown["orchestrator.yaml"]["webhooks"]["tolerance"] == "5m"


def test_a_plan_of_guests_has_no_cap_in_inodes(configs: Path) -> None:
    change(configs, "plans/vps-1.yaml", "vcpus:", "backup_cap_inodes: 250000\nvcpus:")
    with pytest.raises(ConfigError) as caught:
        load(configs)
    assert "nobody counts files" in str(caught.value.details["problems"])
