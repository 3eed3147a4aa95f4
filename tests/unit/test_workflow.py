"""A playbook is resolved with all that is known, written down, read back equal, and bound to earlier steps' facts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import PreconditionError, StepFailed
from orchestrator.domain.playbooks import OnFailure, Playbook, PlaybookStep, StepCall, Workflow
from orchestrator.domain.workflow import Arguments, bind, from_json, problems, resolve, to_json

SPEC = {"plan": {"vcpus": 2, "encrypted": True, "ipv6": 0}, "hostname": "", "ssh_keys": ["ssh-ed25519 A", "ssh-ed25519 B"]}
FACTS = {"node": "hv1", "volumes": [{"name": "disk"}, {"name": "seed"}], "old": {}}
JOB = {"id": "j1", "arguments": {"reason": "nonpayment"}}


def playbook(*steps: PlaybookStep) -> Playbook:
    return Playbook(name="vps-test", description="for tests", for_="vps", steps=steps)


def step(id_: str, *, when: dict[str, object] | None = None, **with_: object) -> PlaybookStep:
    return PlaybookStep(id=id_, step=id_, with_=with_, when=when)


def resolved(*steps: PlaybookStep) -> tuple[StepCall, ...]:
    return resolve(playbook(*steps), service_id="s1", spec=SPEC, facts=FACTS, job=JOB).calls


REFERENCES = [
    ("$spec.plan.vcpus", 2),
    ("$facts.node", "hv1"),
    ("$facts.volumes.1.name", "seed"),
    ("$facts.volumes.1", {"name": "seed"}),
    ("$job.arguments.reason", "nonpayment"),
    ("$job", JOB),
    ("$spec.ssh_keys", ["ssh-ed25519 A", "ssh-ed25519 B"]),
    ("$spec.hostname", ""),
    ("plain", "plain"),
    ("a $spec.plan.vcpus", "a $spec.plan.vcpus"),
    ("$$spec.plan.vcpus", "$spec.plan.vcpus"),
    (7, 7),
    (None, None),
    (["$facts.node", {"deep": "$job.id"}], ["hv1", {"deep": "j1"}]),
    ("$first.node", {"$ref": "first.node"}),
    ("$first", {"$ref": "first"}),
    ({"list": ["$first.volumes.0"]}, {"list": [{"$ref": "first.volumes.0"}]}),
]


@pytest.mark.parametrize(("written", "argument"), REFERENCES)
def test_references_to_what_is_known_are_filled_in_and_to_steps_stay(written: object, argument: object) -> None:
    assert resolved(step("first"), step("second", value=written))[1].args == {"value": argument}


CONDITIONS: list[tuple[dict[str, object], bool]] = [
    ({"present": "$facts.node"}, True),
    ({"present": "$facts.guest"}, False),
    ({"present": "$spec.hostname"}, False),
    ({"present": "$facts.old"}, False),
    ({"present": "$spec.plan.ipv6"}, True),
    ({"absent": "$facts.guest"}, True),
    ({"absent": "$facts.node"}, False),
    ({"absent": "$facts.node.deeper"}, True),
    ({"absent": "$facts.volumes.2"}, True),
    ({"equals": ["$spec.plan.encrypted", True]}, True),
    ({"equals": ["$spec.plan.vcpus", 2]}, True),
    ({"equals": ["$spec.plan.vcpus", "2"]}, False),
    ({"equals": ["$spec.plan.encrypted", 1]}, False),
    ({"equals": ["$job.arguments.reason", "abuse"]}, False),
    ({"equals": ["$facts.guest", None]}, True),
    ({"equals": ["$facts.node", "$facts.node"]}, True),
    ({"not": {"present": "$facts.node"}}, False),
    ({"all": [{"present": "$facts.node"}, {"absent": "$facts.guest"}]}, True),
    ({"all": [{"present": "$facts.node"}, {"present": "$facts.guest"}]}, False),
    ({"any": [{"present": "$facts.guest"}, {"present": "$facts.node"}]}, True),
    ({"any": [{"present": "$facts.guest"}, {"not": {"present": "$facts.node"}}]}, False),
]


@pytest.mark.parametrize(("when", "runs"), CONDITIONS)
def test_conditions_decide_whether_a_step_runs(when: dict[str, object], runs: bool) -> None:
    (call,) = resolved(step("only", when=when))
    assert (call.skipped == "") is runs
    assert runs or call.skipped.startswith("when ")


def test_a_skipped_step_is_kept_and_says_why_and_needs_no_arguments() -> None:
    (call,) = resolved(
        step("only", when={"all": [{"absent": "$facts.node"}, {"equals": ["$job.id", 1]}]}, value="$facts.missing")
    )
    assert call == StepCall(
        id="only", step="only", args={}, skipped="when ($facts.node is not there and $job.id equals 1): does not hold"
    )


def test_what_the_playbook_says_of_a_step_goes_with_it() -> None:
    wipe = PlaybookStep(id="gone", step="wipe", on_failure=OnFailure.HALT, destructive=True)
    assert resolved(wipe) == (StepCall(id="gone", step="wipe", args={}, on_failure=OnFailure.HALT, destructive=True),)


def test_all_references_that_lead_nowhere_are_named_before_anything_runs() -> None:
    with pytest.raises(PreconditionError) as caught:
        resolved(step("a", x="$facts.guest", y="$spec.plan.size"), step("b", x="$facts.volumes.7"))
    for words in ("step 'a' needs $facts.guest", "step 'a' needs $spec.plan.size", "step 'b' needs $facts.volumes.7"):
        assert words in caught.value.message


def test_a_reference_to_a_skipped_step_is_found_before_anything_runs() -> None:
    with pytest.raises(PreconditionError, match=r"step 'b' needs \$a\.node, and step 'a' is skipped"):
        resolved(step("a", when={"present": "$facts.guest"}), step("b", node="$a.node"))


def test_a_fact_that_looks_like_a_reference_of_ours_is_not_taken_for_one() -> None:
    with pytest.raises(PreconditionError, match="which is not known"):
        resolve(
            playbook(step("a", x="$facts.planted")), service_id="s1", spec={}, facts={"planted": [{"$ref": "a.secret"}]}, job={}
        )


def test_resolving_changes_nothing_it_was_given() -> None:
    before = json.dumps([SPEC, FACTS, JOB])
    (call,) = resolved(step("a", keys="$spec.ssh_keys", deep={"x": ["$facts.node"]}))
    assert call.args == {"keys": SPEC["ssh_keys"], "deep": {"x": ["hv1"]}}
    assert json.dumps([SPEC, FACTS, JOB]) == before


BINDINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"node": {"$ref": "place.node"}}, {"node": "hv2"}),
    ({"all": {"$ref": "place"}}, {"all": {"node": "hv2", "disks": ["a", "b"]}}),
    ({"second": {"$ref": "place.disks.1"}}, {"second": "b"}),
    ({"list": [1, {"deep": {"$ref": "place.node"}}]}, {"list": [1, {"deep": "hv2"}]}),
    ({"plain": "x", "none": None}, {"plain": "x", "none": None}),
    ({"x": {"$ref": "place.node", "more": 1}}, {"x": {"$ref": "place.node", "more": 1}}),
]


@pytest.mark.parametrize(("args", "bound"), BINDINGS)
def test_arguments_are_filled_from_earlier_steps_facts(args: dict[str, Any], bound: dict[str, Any]) -> None:
    assert bind(args, {"place": {"node": "hv2", "disks": ["a", "b"]}}) == bound


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("place.guest", "step 'place' gave no such fact"),
        ("place.disks.2", "gave no such fact"),
        ("define.node", "did not run before"),
    ],
)
def test_a_fact_that_was_not_given_fails_the_step_in_words(path: str, why: str) -> None:
    with pytest.raises(StepFailed, match=why):
        bind({"x": {"$ref": path}}, {"place": {"disks": ["a", "b"]}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.builds(
    StepCall,
    id=st.text(min_size=1),
    step=st.text(min_size=1),
    args=st.dictionaries(st.text(), JSON, max_size=3),
    on_failure=st.sampled_from(OnFailure),
    destructive=st.booleans(),
    skipped=st.text(),
)
WORKFLOWS = st.builds(Workflow, playbook=st.text(), service_id=st.text(), calls=st.lists(CALLS, max_size=4).map(tuple))


@given(WORKFLOWS)
def test_a_workflow_comes_back_from_json_text_equal(workflow: Workflow) -> None:
    assert from_json(json.loads(json.dumps(to_json(workflow)))) == workflow


def test_a_workflow_of_another_format_is_not_guessed_at() -> None:
    data = to_json(Workflow(playbook="p", service_id="s", calls=()))
    with pytest.raises(ValueError, match="format 2"):
        from_json({**data, "format": 2})


@given(JSON)
def test_what_a_step_gave_arrives_at_the_next_one_unchanged(fact: Any) -> None:
    workflow = resolve(playbook(step("a"), step("b", x="$a.fact")), service_id="s", spec={}, facts={}, job={})
    stored = from_json(json.loads(json.dumps(to_json(workflow))))
    assert bind(stored.calls[1].args, {"a": {"fact": fact}}) == {"x": fact}


def test_problems_are_sentences_with_the_step_they_belong_to() -> None:
    wrong = playbook(step("place", size=1), step("place", node="$later.x"), step("later", raw={"$ref": "x"}))
    known = {"place": Arguments(required=frozenset({"vcpus"}), optional=frozenset({"node"})), "later": Arguments()}
    assert problems(wrong, known) == [
        "step 1 ('place'): step 'place' needs vcpus",
        "step 1 ('place'): step 'place' takes no 'size'; it takes node, vcpus",
        "step 2 ('place'): the id 'place' is there twice: give this step an id of its own",
        "step 2 ('place'): step 'place' needs vcpus",
        "step 2 ('place'): '$later.x' points to step 'later', which has not run by then",
        "step 3 ('later'): step 'later' takes no 'raw'; it takes nothing",
        "step 3 ('later'): the key '$ref' is kept for resolved references: write the reference itself",
    ]


def test_a_sound_playbook_has_no_problems() -> None:
    sound = playbook(step("place", vcpus="$spec.plan.vcpus"), step("later", node="$place.node", when={"absent": "$facts.node"}))
    known = {"place": Arguments(required=frozenset({"vcpus"})), "later": Arguments(required=frozenset({"node"}))}
    assert problems(sound, known) == []
