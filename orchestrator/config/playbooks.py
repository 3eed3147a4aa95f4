"""playbooks/*.yaml to Playbooks: checked in shape here, against the registry of steps where the caller has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.config.directory import yaml_files
from orchestrator.config.files import PlaybookEntry, PlaybookFile
from orchestrator.config.problems import Problem, config_error
from orchestrator.config.validate import validate
from orchestrator.config.yaml_reader import Document, Unreadable, read_file
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.playbook_faults import Arguments, faults
from orchestrator.domain.playbooks import OnFailure, Playbook, PlaybookStep

MAX_PLAYBOOKS = 200

# Words of Ansible's playbooks, plays and tasks.
_ANSIBLE = frozenset(
    (
        *("always", "become", "become_user", "block", "connection", "delegate_to", "gather_facts", "handlers", "hosts"),
        *("ignore_errors", "import_playbook", "import_tasks", "include_tasks", "loop", "notify", "post_tasks", "pre_tasks"),
        *(
            "register",
            "rescue",
            "roles",
            "serial",
            "strategy",
            "tags",
            "tasks",
            "vars",
            "vars_files",
            "vars_prompt",
            "with_items",
        ),
    )
)


def load_playbooks(directory: Path, *, steps: Mapping[str, Arguments] | None = None) -> dict[str, Playbook]:
    """The playbooks of a directory by name. With ``steps`` (what each step takes) names and arguments are checked, too.

    Raises ConfigError, its details as ``config.load.load`` has them.
    """
    problems: list[Problem] = []
    playbooks: dict[str, Playbook] = {}
    for path in yaml_files(directory, problems, most=MAX_PLAYBOOKS):
        try:
            document = read_file(path)
        except Unreadable as unreadable:
            problems.extend(unreadable.problems)
            continue
        ansible = list(_ansible(document))
        if ansible:
            problems.extend(ansible)
            continue
        found, wrong = validate(PlaybookFile, document)
        problems.extend(wrong)
        if found is not None:
            playbook = _playbook(found)
            problems.extend(_problems(document, playbook, steps))
            playbooks[playbook.name] = playbook
    if problems:
        raise config_error(f"the playbooks in {directory} cannot be used", problems)
    return playbooks


def _ansible(document: Document) -> Iterator[Problem]:
    """Ansible's files are lists of plays; ours is one mapping. Its keys are looked for in both, and in our steps."""
    data = document.data
    places: list[tuple[tuple[str | int, ...], Any]] = [((), data)]
    if isinstance(data, list):
        places = [((position,), play) for position, play in enumerate(data)]
    elif isinstance(data, dict) and isinstance(data.get("steps"), list):
        places += [(("steps", position), step) for position, step in enumerate(data["steps"])]
    for path, mapping in places:
        for key in mapping if isinstance(mapping, dict) else ():
            if key in _ANSIBLE:
                sentence = (
                    f"'{key}' is a word of Ansible's, and this is no Ansible playbook: it lists our own steps (docs/playbooks.md)"
                )
                yield document.problem((*path, key), sentence)


def _problems(document: Document, playbook: Playbook, steps: Mapping[str, Arguments] | None) -> Iterator[Problem]:
    stem = Path(document.file).stem
    if playbook.name != stem:
        yield document.problem(
            ("name",), f"the playbook '{playbook.name}' has to stand in {playbook.name}.yaml, not in {stem}.yaml"
        )
    begins = PlanKind(playbook.for_).playbooks
    if not playbook.name.startswith(f"{begins}-"):
        yield document.problem(("name",), f"the name of a playbook for '{playbook.for_}' begins with '{begins}-'")
    for fault in faults(playbook, steps):
        yield document.problem(("steps", fault.position, *fault.path), fault.sentence)


def _playbook(found: PlaybookFile) -> Playbook:
    return Playbook(
        name=found.name, description=found.description, for_=found.for_, steps=tuple(_step(entry) for entry in found.steps)
    )


def _step(entry: PlaybookEntry) -> PlaybookStep:
    return PlaybookStep(
        id=entry.id or entry.step.replace(".", "-"),  # a dot parts a reference
        step=entry.step,
        with_=entry.with_,
        when=entry.when,
        on_failure=OnFailure(entry.on_failure),
        destructive=entry.destructive,
    )
