"""The picture and the tables of docs/lifecycle.md, out of the transition table itself."""

from __future__ import annotations

from orchestrator.domain.services import TRANSITIONS, Lifecycle
from tests.pages.drawing import Point, arrow, box, drawing, numbered, words

WIDTH, HEIGHT = 860, 400
BOX_WIDTH, BOX_HEIGHT = 124, 40
# Middle of each state's box. A state that is missing here fails the generator: give it a place.
PLACES: dict[Lifecycle, Point] = {
    Lifecycle.ORDERED: (90, 90),
    Lifecycle.PROVISIONING: (290, 90),
    Lifecycle.ACTIVE: (500, 90),
    Lifecycle.TERMINATING: (500, 240),
    Lifecycle.ARCHIVED: (755, 170),
    Lifecycle.ERASED: (755, 330),
    Lifecycle.CANCELLED: (90, 240),
    Lifecycle.FAILED: (290, 240),
}
KINDS = {
    Lifecycle.ACTIVE: "strong",
    Lifecycle.TERMINATING: "danger",
    Lifecycle.ERASED: "end",
    Lifecycle.CANCELLED: "end",
}


def picture() -> str:
    """docs/lifecycle.svg."""
    parts: list[str] = [words(28, 36, "The life of a service", kind="title")]
    dots: list[str] = []
    for number, ((start, _cause), end) in enumerate(TRANSITIONS.items(), 1):
        line, at = _edge(start, end)
        parts.append(line)
        dots += numbered(*at, number)
    for state, (x, y) in PLACES.items():
        parts.append(box(x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT, kind=KINDS.get(state, "box")))
        parts.append(words(x, y + 5, state.value, middle=True))
    note = "The numbers are those of the table. Being suspended is no state: it is a hold that stops."
    return drawing(WIDTH, HEIGHT, [*parts, *dots, words(28, 384, note, kind="small")], title="The life of a service")


def _edge(start: Lifecycle, end: Lifecycle) -> tuple[str, Point]:
    """The arrow between two boxes, bent where another one goes the opposite way, and where its number stands."""
    (ax, ay), (bx, by) = PLACES[start], PLACES[end]
    twin = any(s == end and e == start for (s, _), e in TRANSITIONS.items())
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
    side = 46.0 if twin else 0.0
    bend = ((ax + bx) / 2 - (by - ay) / length * side, (ay + by) / 2 + (bx - ax) / length * side)
    a, b = _rim((ax, ay), bend), _rim((bx, by), bend)
    at = ((a[0] + 2 * bend[0] + b[0]) / 4, (a[1] + 2 * bend[1] + b[1]) / 4)
    return arrow(a, b, bend=bend), at


def _rim(middle: Point, towards: Point) -> Point:
    """Where the line from the middle of a box towards a point leaves it."""
    x, y = middle
    dx, dy = towards[0] - x, towards[1] - y
    reach = min((BOX_WIDTH / 2 + 2) / abs(dx) if dx else 1e9, (BOX_HEIGHT / 2 + 2) / abs(dy) if dy else 1e9)
    return x + dx * reach, y + dy * reach


def table() -> str:
    """The numbered table of transitions, as Markdown."""
    rows = [f"| {n} | {start} | {cause} | {end} |" for n, ((start, cause), end) in enumerate(TRANSITIONS.items(), 1)]
    return "\n".join(["| no. | from | cause | to |", "|---|---|---|---|", *rows])
