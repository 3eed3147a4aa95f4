"""What concerns more than one value of the backups: what belongs to a way, and whose disk a node's copies would lie on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.config.checks import Entry, known_name, twice
from orchestrator.config.files import BackupsSection, NodeEntry, StateSection, TargetEntry
from orchestrator.config.problems import Problem
from orchestrator.domain.backups.offer import Hours
from orchestrator.domain.backups.state import on_own_machine
from orchestrator.domain.backups.targets import Kind, Target, Way, on_itself, place_of

_WAY = ("user", "secret_file", "ssh_key_file")


def check(
    targets: Sequence[Entry[TargetEntry]],
    nodes: Sequence[Entry[NodeEntry]],
    section: Entry[BackupsSection] | None,
    *,
    target_names: frozenset[str] | None,
    node_names: frozenset[str] | None,
) -> Iterator[Problem]:
    """Every fault. A set of names is None where the file that gives them could not be read."""
    yield from twice(targets, "name", lambda entry: entry.name)
    for target in targets:
        yield from _target(target, node_names)
    for node in nodes:
        yield from _node(node, targets, target_names)
    if section is not None and section.sure("opens", "closes", "slot", "closed"):
        yield from _hours(section)
    if section is not None and section.value.state is not None and section.sure("state"):
        yield from _state(section, section.value.state, targets, target_names)


def _target(entry: Entry[TargetEntry], node_names: frozenset[str] | None) -> Iterator[Problem]:
    target = entry.value
    if target.on_node:
        yield from known_name(entry, "on_node", target.on_node, node_names, "node")
    if entry.sure("location"):
        yield from _way(entry, "location", target.location, prefix="")
    if target.keeper and entry.sure("keeper"):
        yield from _way(entry, "keeper", target.keeper, prefix="keeper_")
        if entry.sure("location") and target.keeper.rstrip("/") == target.location.rstrip("/"):
            yield entry.problem("keeper", "this is the nodes' own way: a keeper is one that they do not have, or leave it out")
    if not target.keeper and entry.sure("keeper"):
        for key in (f"keeper_{name}" for name in _WAY):
            if getattr(target, key):
                yield entry.problem(key, "without 'keeper' it is not used")


def _way(entry: Entry[TargetEntry], location_key: str, location: str, *, prefix: str) -> Iterator[Problem]:
    """What a way needs, and what it has no use for."""
    kind = place_of(location).kind
    user, secret, ssh_key = (f"{prefix}{name}" for name in _WAY)
    known_hosts = "ssh_known_hosts_file"
    given = {key: bool(getattr(entry.value, key)) for key in (user, secret, ssh_key, known_hosts)}
    if kind is Kind.REST and entry.sure(user, secret) and given[user] != given[secret]:
        here, missing = (user, secret) if given[user] else (secret, user)
        yield entry.problem(here, f"'{missing}' is missing: a rest-server asks for both")
    if kind is Kind.SFTP:
        for key, what in (
            (ssh_key, "the key to log in with"),
            (known_hosts, "the server's host key, which is never taken on trust"),
        ):
            if entry.sure(key) and not given[key]:
                yield entry.problem(location_key, f"'{key}' is missing: the file with {what}")
    for key, of in ((user, Kind.REST), (secret, Kind.REST), (ssh_key, Kind.SFTP)):
        if given[key] and kind is not of:
            yield entry.problem(key, f"it belongs to a location of the kind '{of}:', and '{location_key}' is none")


def _node(
    entry: Entry[NodeEntry], targets: Sequence[Entry[TargetEntry]], target_names: frozenset[str] | None
) -> Iterator[Problem]:
    node = entry.value
    if not node.backups:
        if node.backups_on_own_node and entry.sure("backups"):
            yield entry.problem("backups_on_own_node", "without 'backups' no copies are made that could lie on it")
        return
    yield from known_name(entry, "backups", node.backups, target_names, "target for backups")
    target = next((each for each in targets if each.value.name == node.backups), None)
    if target is None or not target.sure("location", "on_node"):
        return
    place, on_node = place_of(target.value.location), target.value.on_node
    if place.kind is Kind.DIRECTORY and on_node not in ("", node.name):
        yield entry.problem("backups", f"it is a directory of node '{on_node}', which this one reaches by sftp or rest only")
        return
    why = on_itself(target.value.location, on_node=on_node, node=node.name, address=node.address)
    if why and not node.backups_on_own_node and entry.sure("backups_on_own_node"):
        yield entry.problem(
            "backups",
            f"{why}: what takes the node's disks takes the copies with them. Name a target elsewhere, or accept it with "
            "'backups_on_own_node: true'",
        )


def _state(
    entry: Entry[BackupsSection],
    state: StateSection,
    targets: Sequence[Entry[TargetEntry]],
    target_names: frozenset[str] | None,
) -> Iterator[Problem]:
    """The copies of the controller itself: a target that there is, and not on its own machine unless that is meant."""
    place = ("state", "target")
    yield from known_name(entry, place, state.target, target_names, "target for backups")
    target = next((each for each in targets if each.value.name == state.target), None)
    if target is None or not target.sure("location", "keeper", "on_node") or state.on_own_machine:
        return
    reached = target.value.keeper or target.value.location
    why = on_own_machine(Target(name=state.target, way=Way(location=reached), on_node=target.value.on_node))
    if why:
        yield entry.problem(
            place,
            f"it is {why}: what takes the machine takes the copies with it. Name a target elsewhere, or accept it with "
            "'on_own_machine: true', as where another machine's disk is mounted there",
        )


def _hours(entry: Entry[BackupsSection]) -> Iterator[Problem]:
    section = entry.value
    try:
        Hours(opens=section.opens, closes=section.closes, slot=section.slot, closed=tuple(section.closed))
    except ValueError as error:
        yield entry.problem("slot", str(error))
