"""machines.yaml and plans of kind dedicated: read whole, or every fault named with its file, line and path."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import yaml

from orchestrator.config.load import load
from orchestrator.config.problems import Problem
from orchestrator.config.shown import files
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.machines import Machine
from orchestrator.domain.plans import MachinePlan

SHIPPED = Path(__file__).parents[2] / "configs"
MACHINES = """machines:
  - name: r1
    zone: jkt1
    class: small-1
    bmc: https://192.0.2.107
    bmc_user: orchestrator
    bmc_secret_file: secrets/r1
    macs: ["52:54:00:AA:00:01", "52:54:00:aa:00:02"]
    disks: [S1, S2]
    deploy_address: 10.77.0.50/16
    deploy_gateway: 10.77.0.1
  - name: r2
    zone: jkt1
    class: small-1
    bmc: https://192.0.2.108:8443
    bmc_user: admin
    bmc_secret_file: /etc/r2
    bmc_system: /redfish/v1/Systems/2
  - name: sim
    zone: jkt1
    class: small-1
    driver: fake
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(SHIPPED, tmp_path / "configs"))
    (copied / "machines.yaml").write_text(MACHINES)
    return copied


def problems_of(directory: Path) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(directory)
    return [Problem(**problem) for problem in caught.value.details["problems"]]


def change(configs: Path, file: str, old: str, new: str) -> None:
    text = (configs / file).read_text()
    assert old in text
    (configs / file).write_text(text.replace(old, new, 1))


def test_machines_are_read_in_our_words(configs: Path) -> None:
    first, second, simulated = load(configs).machines
    assert first == Machine(
        name="r1",
        zone="jkt1",
        machine_class="small-1",
        bmc="https://192.0.2.107",
        bmc_user="orchestrator",
        bmc_secret_file=configs / "secrets/r1",
        macs=("52:54:00:aa:00:01", "52:54:00:aa:00:02"),
        disks=("S1", "S2"),
        deploy_address="10.77.0.50/16",
        deploy_gateway="10.77.0.1",
    )
    assert first.boots_by == "52:54:00:aa:00:01"
    assert (second.bmc_secret_file, second.bmc_system) == (Path("/etc/r2"), "/redfish/v1/Systems/2")
    assert simulated == Machine(name="sim", zone="jkt1", machine_class="small-1", driver="fake")


def test_where_the_file_is_missing_there_are_none(configs: Path) -> None:
    (configs / "machines.yaml").unlink()
    assert load(configs).machines == ()


def test_the_commented_examples_are_sound(configs: Path) -> None:
    text = (SHIPPED / "machines.yaml").read_text()
    kept = text.partition("machines: []\n")[2]
    (configs / "machines.yaml").write_text("".join(line.removeprefix("# ").removeprefix("#") for line in kept.splitlines(True)))
    assert [machine.name for machine in load(configs).machines] == ["rack3-07", "sim-1"]


def test_a_dedicated_plan_is_read(configs: Path) -> None:
    plan = load(configs).plans["dedicated-1"]
    assert isinstance(plan, MachinePlan)
    assert (plan.machine_class, plan.default_template, plan.ipv4, plan.ipv6) == ("small-1", "debian-12-metal", 1, 1)


# file, old text, new text, path of the problem, part of its sentence
FAULTS = [
    ("machines.yaml", "zone: jkt1", "zone: jkt9", "machines[0].zone", "there is no zone 'jkt9'; did you mean 'jkt1'?"),
    ("machines.yaml", "name: r2", "name: r1", "machines[1].name", "'r1' is there twice: first on line 2"),
    ("machines.yaml", "name: r2", "name: hv1", "machines[1].name", "'hv1' is a node: on line 13"),
    ("machines.yaml", "https://192.0.2.107", "http://192.0.2.107", "machines[0].bmc", "write https://, its host"),
    ("machines.yaml", "https://192.0.2.107", "https://u:p@192.0.2.107", "machines[0].bmc", "do not stand in the address"),
    ("machines.yaml", "https://192.0.2.107", "https://192.0.2.107/redfish", "machines[0].bmc", "no address of a BMC"),
    ("machines.yaml", "https://192.0.2.107", "https://192.0.2.107:99999", "machines[0].bmc", "no address of a BMC"),
    ("machines.yaml", "bmc: https://192.0.2.107\n", "class_: x\n", "machines[0].class_", "unknown key 'class_'"),
    ("machines.yaml", "    bmc_user: orchestrator\n", "", "machines[0].bmc_user", "'bmc_user' is missing"),
    ("machines.yaml", "    bmc_secret_file: secrets/r1\n", "", "machines[0].bmc_secret_file", "'bmc_secret_file' is missing"),
    ("machines.yaml", "driver: fake", "driver: fake\n    bmc_user: x", "machines[2].bmc_user", "simulated machine has no BMC"),
    ("machines.yaml", "driver: fake", "driver: ipmi", "machines[2].driver", "must be 'redfish' or 'fake'"),
    ("machines.yaml", "AA:00:01", "AA:00", "machines[0].macs[0]", "is no MAC"),
    ("machines.yaml", "52:54:00:AA:00:01", "53:54:00:AA:00:01", "machines[0].macs[0]", "the MAC of a group"),
    ("machines.yaml", "52:54:00:aa:00:02", "52:54:00:aa:00:01", "machines[0].macs[1]", "is there twice"),
    ("machines.yaml", "[S1, S2]", "[S1, 12345]", "machines[0].disks[1]", "must be a text: put 12345 in quotes"),
    ("machines.yaml", "[S1, S2]", "[S1, S1]", "machines[0].disks[1]", "is there twice"),
    ("machines.yaml", "driver: fake", "driver: fake\n    disks: [S2]", "machines[2].disks[0]", "the disk of machine 'r1'"),
    (
        "machines.yaml",
        "driver: fake",
        'driver: fake\n    macs: ["52:54:00:AA:00:02"]',
        "machines[2].macs[0]",
        "the MAC of machine 'r1'",
    ),
    (
        "machines.yaml",
        "https://192.0.2.108:8443\n    bmc_user: admin\n    bmc_secret_file: /etc/r2\n    bmc_system: /redfish/v1/Systems/2",
        "https://192.0.2.107\n    bmc_user: admin\n    bmc_secret_file: /etc/r2",
        "machines[1].bmc",
        "the BMC of machine 'r1'",
    ),
    ("machines.yaml", "/redfish/v1/Systems/2", "Systems 2", "machines[1].bmc_system", "no path of a system"),
    ("machines.yaml", "10.77.0.50/16", "10.77.0.50", "machines[0].deploy_address", "address with its prefix length"),
    (
        "machines.yaml",
        "10.77.0.50/16",
        "198.51.100.20/24",
        "machines[0].deploy_address",
        "range 'jkt1-v4' gives 198.51.100.20 out",
    ),
    ("machines.yaml", "10.77.0.50/16", "192.0.2.11/24", "machines[0].deploy_address", "the address of node 'hv1'"),
    ("machines.yaml", "10.77.0.1\n", "10.78.0.1\n", "machines[0].deploy_gateway", "not inside the network 10.77.0.0/16"),
    ("machines.yaml", "    deploy_address: 10.77.0.50/16\n", "", "machines[0].deploy_gateway", "DHCP gives the router"),
    (
        "machines.yaml",
        "deploy_gateway: 10.77.0.1",
        "deploy_mac: 52:54:00:aa:00:03",
        "machines[0].deploy_mac",
        "not one of this machine's macs",
    ),
    (
        "plans/dedicated-1.yaml",
        "class: small-1",
        "class: small-2",
        "class",
        "no machine of class 'small-2'; did you mean 'small-1'?",
    ),
    ("plans/dedicated-1.yaml", "- debian-12-metal", "- debian-21", "templates[0]", "no template 'debian-21'"),
    (
        "plans/dedicated-1.yaml",
        "- debian-12-metal",
        "- debian-12",
        "templates[0]",
        "is qcow2, and machines are written from",
    ),
    ("plans/dedicated-1.yaml", "ipv4: 1\nipv6: 1", "ipv4: 0\nipv6: 0", "ipv4", "no address"),
    ("plans/dedicated-1.yaml", "ipv4: 1", "backups_bought: true", "backups_bought", "no backups are made of a machine"),
    ("plans/dedicated-1.yaml", "ipv4: 1", "vcpus: 1", "vcpus", "unknown key 'vcpus'"),
    ("plans/dedicated-1.yaml", "ipv4: 1", "default_template: x", "default_template", "not one of this plan's templates"),
    (
        "templates.yaml",
        "agent: false",
        "agent: false\n    cloud_init: false",
        "templates[0]",
        "nobody could log in",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "path", "words"), FAULTS)
def test_a_fault_is_named_with_file_line_and_path(configs: Path, file: str, old: str, new: str, path: str, words: str) -> None:
    change(configs, file, old, new)
    found = [problem for problem in problems_of(configs) if problem.path == path and words in problem.sentence]
    assert len(found) == 1, problems_of(configs)
    assert found[0].line >= 1


def test_every_fault_is_named_at_once(configs: Path) -> None:
    change(configs, "machines.yaml", "https://192.0.2.107", "192.0.2.107")
    change(configs, "machines.yaml", "driver: fake", "driver: fake\n    disks: [S2]")
    change(configs, "plans/dedicated-1.yaml", "class: small-1", "class: small-9")
    change(configs, "nodes.yaml", "zone: jkt1", "zone: jkt2")
    assert {problem.path for problem in problems_of(configs)} == {
        "machines[0].bmc",
        "machines[2].disks[0]",
        "class",
        "nodes[0].zone",
    }


def test_a_zone_in_which_a_class_stands_needs_the_addresses_that_it_is_sold_with(configs: Path) -> None:
    change(configs, "nodes.yaml", "nodes:\n", "  - name: far\n    country: ID\n\nnodes:\n")
    (configs / "machines.yaml").write_text("machines: [{name: far-1, zone: far, class: small-1, driver: fake}]\n")
    assert {(Path(p.file).name, p.path) for p in problems_of(configs)} == {
        ("dedicated-1.yaml", "ipv4"),
        ("dedicated-1.yaml", "ipv6"),
    }


def test_a_class_of_which_there_is_no_machine_yet_can_be_declared(configs: Path) -> None:
    (configs / "machines.yaml").write_text("machines: []\n")
    change(configs, "plans/dedicated-1.yaml", "class: small-1", "class: small-9")
    assert load(configs).plans["dedicated-1"]


def test_what_is_shown_loads_again_as_the_same(configs: Path, tmp_path: Path) -> None:
    config = load(configs)
    for name, content in files(config).items():
        path = tmp_path / "again" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    assert dataclasses.replace(load(tmp_path / "again"), directory=config.directory) == config
