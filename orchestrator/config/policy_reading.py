"""One policy file: checked in shape, and where one rule makes another impossible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.config.policy_file import PolicyFile, policy
from orchestrator.config.problems import Problem, config_error
from orchestrator.config.validate import validate
from orchestrator.config.yaml_reader import Document, Unreadable, read_bytes, read_file
from orchestrator.domain.calendar import DayKind
from orchestrator.domain.policies import Act, LatePaymentEffect, Policy


def load_policy(path: Path) -> Policy:
    """One policy, of a file anywhere. Raises ConfigError, its details as ``config.load.load`` has them."""
    read, problems = read_policy(path)
    if read is None or problems:
        raise config_error(f"the policy in {path} cannot be used", problems)
    return read


def parse_policy(text: str, file: str) -> Policy:
    """One policy, of a text that came from ``file``, whatever that is called. Raises ConfigError as ``load_policy`` does."""
    try:
        document = read_bytes(file, text.encode())
    except Unreadable as unreadable:
        raise config_error(f"the policy in {file} cannot be used", unreadable.problems) from None
    found, problems = validate(PolicyFile, document)
    if found is not None:
        made = policy(found)
        problems = [*_twice_forbidden(document, made), *_archive(document, made)]
        if not problems:
            return made
    raise config_error(f"the policy in {file} cannot be used", problems)


def read_policy(path: Path) -> tuple[Policy | None, list[Problem]]:
    """The policy of one file, None where it could not be read, and what is wrong with it."""
    try:
        document = read_file(path)
    except Unreadable as unreadable:
        return None, list(unreadable.problems)
    found, problems = validate(PolicyFile, document)
    if found is None:
        return None, problems
    made = policy(found)
    return made, list(_problems(document, made))


def _problems(document: Document, policy: Policy) -> Iterator[Problem]:
    stem = Path(document.file).stem
    if policy.name != stem:
        yield document.problem(("name",), f"the policy '{policy.name}' has to stand in {policy.name}.yaml, not in {stem}.yaml")
    yield from _twice_forbidden(document, policy)
    yield from _archive(document, policy)


def _twice_forbidden(document: Document, policy: Policy) -> Iterator[Problem]:
    seen: set[Act] = set()
    for position, rule in enumerate(policy.overdue.forbids):
        for act in sorted(rule.acts & seen):
            yield document.problem(("overdue", "forbids", position, "acts"), f"'{act}' is forbidden by an earlier rule already")
        seen |= rule.acts


def _archive(document: Document, policy: Policy) -> Iterator[Problem]:
    if policy.archive is None:
        if policy.late_payment is not None and policy.late_payment.what == LatePaymentEffect.FROM_ARCHIVE:
            yield document.problem(("late_payment", "what"), "needs an archive, and the policy keeps none")
        return
    within = None if policy.erase is None else policy.erase.within
    for kind, keep in policy.archive.keep.items():
        # A business day is never shorter than a calendar day: only what is sure is refused.
        sure = within is not None and (within.kind == keep.kind or within.kind == DayKind.CALENDAR)
        if within is not None and sure and within.count < keep.count:
            yield document.problem(("archive", "keep", kind), f"is kept for {keep}, and erase.within is {within}")
