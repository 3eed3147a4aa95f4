"""Playbooks are read in the style of the configuration; Ansible's are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.playbooks import OnFailure, PlaybookStep
from orchestrator.domain.workflow import Arguments

STEPS = {
    "place": Arguments(required=frozenset({"vcpus"}), optional=frozenset({"zone"})),
    "define": Arguments(required=frozenset({"node"})),
    "wipe": Arguments(required=frozenset({"node"}), destructive=True),
}

GOOD = """\
name: vps-provision
description: Make a guest
for: vps
steps:
  - step: place
    with:
      vcpus: $spec.plan.vcpus
  - id: guest
    step: define
    with: {node: $place.node}
    when: {absent: $facts.guest}
    on_failure: halt
  - step: wipe
    with: {node: $facts.node}
    destructive: true
"""


def write(tmp_path: Path, text: str, name: str = "vps-provision.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path


def problems_of(directory: Path) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_playbooks(directory, steps=STEPS)
    return [(problem["line"], problem["path"], problem["sentence"]) for problem in caught.value.details["problems"]]


def test_a_playbook_is_read_whole(tmp_path: Path) -> None:
    playbook = load_playbooks(write(tmp_path, GOOD), steps=STEPS)["vps-provision"]
    assert (playbook.name, playbook.for_, playbook.description) == ("vps-provision", "vps", "Make a guest")
    assert playbook.steps == (
        PlaybookStep(id="place", step="place", with_={"vcpus": "$spec.plan.vcpus"}),
        PlaybookStep(
            id="guest",
            step="define",
            with_={"node": "$place.node"},
            when={"absent": "$facts.guest"},
            on_failure=OnFailure.HALT,
        ),
        PlaybookStep(id="wipe", step="wipe", with_={"node": "$facts.node"}, destructive=True),
    )


FAULTS = [
    ("  - step: place\n", "  - step: palce\n", 5, "steps[0].step", "there is no step 'palce'; did you mean 'place'?"),
    ("vcpus: $spec", "vcpu: $spec", 7, "steps[0].with.vcpu", "takes no 'vcpu'; it takes vcpus, zone"),
    ("vcpus: $spec", "vcpu: $spec", 6, "steps[0].with", "step 'place' needs vcpus"),
    ("$place.node", "$wipe.node", 10, "steps[1].with.node", "points to step 'wipe', which has not run by then"),
    ("$place.node", "$guest.node", 10, "steps[1].with.node", "points to step 'guest', which has not run by then"),
    ("$place.node", "$plaze.node", 10, "steps[1].with.node", "neither spec, facts, job nor the id of an earlier step"),
    ("$place.node", "$place..node", 10, "steps[1].with.node", "is no reference"),
    ("{absent: $facts.guest}", "{absent: $place.node}", 11, "steps[1].when.absent", "decided before any step has run"),
    ("{absent: $facts.guest}", "{missing: $facts.guest}", 11, "steps[1].when.missing", "there is no condition 'missing'"),
    ("{absent: $facts.guest}", "{equals: [1]}", 11, "steps[1].when.equals", "takes a list of two values"),
    ("{absent: $facts.guest}", "{all: []}", 11, "steps[1].when.all", "at least one condition"),
    ("{absent: $facts.guest}", "{any: [{present: x}]}", 11, "steps[1].when.any[0].present", "takes one reference"),
    ("{absent: $facts.guest}", "{}", 11, "steps[1].when", "exactly one of"),
    ("id: guest", "id: place", 8, "steps[1].id", "the id 'place' is there twice"),
    ("id: guest", "id: facts", 8, "steps[1].id", "'facts' cannot be an id"),
    ("id: guest", "id: Guest", 8, "steps[1].id", "begin with a small letter"),
    ("on_failure: halt", "on_failure: ignore", 12, "steps[1].on_failure", "must be 'undo', 'halt' or 'continue'"),
    ("    destructive: true\n", "", 13, "steps[2].step", "say so with 'destructive: true'"),
    ("name: vps-provision", "name: vps-make", 1, "name", "has to stand in vps-make.yaml"),
    ("for: vps", "for: mail", 3, "for", "must be 'vps'"),
    ("on_failure: halt", "on_fail: halt", 12, "steps[1].on_fail", "unknown key 'on_fail'; did you mean 'on_failure'?"),
    ("for: vps\n", "for: vps\nhosts: all\n", 4, "hosts", "this is no Ansible playbook"),
    ("    on_failure: halt\n", "    become: true\n", 12, "steps[1].become", "this is no Ansible playbook"),
]


@pytest.mark.parametrize(("old", "new", "line", "path", "words"), FAULTS)
def test_a_fault_is_named_with_line_and_path(tmp_path: Path, old: str, new: str, line: int, path: str, words: str) -> None:
    assert GOOD.count(old) == 1
    found = problems_of(write(tmp_path, GOOD.replace(old, new)))
    assert any(at == line and where == path and words in sentence for at, where, sentence in found), found


def test_a_playbook_of_ansible_is_refused_in_words_and_nothing_else_is_said(tmp_path: Path) -> None:
    found = problems_of(write(tmp_path, "- hosts: all\n  become: true\n  tasks:\n    - apt: {name: nginx}\n"))
    assert [(line, path) for line, path, _ in found] == [(1, "[0].hosts"), (2, "[0].become"), (3, "[0].tasks")]
    assert all("Ansible" in sentence for _, _, sentence in found)


def test_problems_of_all_playbooks_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("vcpus:", "cpus:"))
    write(tmp_path, "name: [", "vps-start.yaml")
    write(tmp_path, GOOD, "vps-stop.yaml")
    with pytest.raises(ConfigError) as caught:
        load_playbooks(tmp_path, steps=STEPS)
    assert {Path(problem["file"]).name for problem in caught.value.details["problems"]} == {
        "vps-provision.yaml",
        "vps-start.yaml",
        "vps-stop.yaml",
    }


def test_without_the_registry_steps_and_arguments_are_taken_as_they_are(tmp_path: Path) -> None:
    assert (
        load_playbooks(write(tmp_path, GOOD.replace("step: define", "step: whatever")))["vps-provision"].steps[1].step
        == "whatever"
    )


def test_an_id_left_out_is_the_step_s_name_without_the_dots_that_part_a_reference(tmp_path: Path) -> None:
    text = GOOD.replace("step: place", "step: node.place").replace("$place.node", "$node-place.node")
    assert load_playbooks(write(tmp_path, text))["vps-provision"].steps[0].id == "node-place"
