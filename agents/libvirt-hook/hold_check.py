"""Reads a guest's XML on stdin and says whether a hold stops it: exit 0 = it may start, 3 = it may not, said on stdout.

Called by the hook ``orchestrator-hold`` with the guest's name. A definition that cannot be read stops a guest whose name
is ours, and one without our metadata a guest that is named as a service's, because it may be held; anybody else's guest is
never stopped by it.
"""

from __future__ import annotations

import sys
from xml.parsers import expat

NAMESPACE = "https://orchestrator.example/xmlns/guest/1"
GUEST = f"{NAMESPACE} guest"
HOLD = f"{NAMESPACE} hold"
OUR_NAMES = ("orch.", "orch-")
SERVICES = "orch."  # what a service's guest is called; such a guest has our metadata from the moment it is defined
LIMIT = 16 * 1024 * 1024
MAY_START, HELD = 0, 3


class Unreadable(ValueError):
    """Not a guest's definition as libvirt writes it."""


def holds(definition: bytes) -> tuple[str | None, list[str]]:
    """The service and the reasons of its holds, as our metadata in the definition says; no service where there is none.

    Raises Unreadable.
    """
    path: list[str] = []
    service: str | None = None
    reasons: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal service
        if name == GUEST:
            service = attributes.get("service", "")
        elif name == HOLD and path and path[-1] == GUEST:
            reasons.append(attributes.get("reason", "") or "without a reason")
        path.append(name)

    def end(_name: str) -> None:
        path.pop()

    def declare(*_: object) -> None:
        raise Unreadable("it declares entities, which libvirt never does")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = declare
    try:
        parser.Parse(definition, True)
    except (expat.ExpatError, LookupError, ValueError) as exc:  # the latter two: an encoding that Python does not have
        raise Unreadable(str(exc)) from None
    return service, reasons


def verdict(name: str, definition: bytes) -> tuple[int, str]:
    """The exit code, and the sentence for the one who tried to start the guest."""
    try:
        service, reasons = holds(definition)
    except Unreadable as exc:
        if not name.startswith(OUR_NAMES):
            return MAY_START, ""
        return HELD, f"orchestrator: {name} is not started: its definition cannot be read for holds ({exc})"
    if service is None and name.startswith(SERVICES):
        return HELD, f"orchestrator: {name} is not started: it has no metadata of ours, which would tell whether it is held"
    if not reasons:
        return MAY_START, ""
    return HELD, f"orchestrator: {name} is not started: service {service or 'unknown'} is held ({', '.join(reasons)})"


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    code, sentence = verdict(name, sys.stdin.buffer.read(LIMIT))
    if sentence:
        sys.stdout.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
