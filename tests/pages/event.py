"""The picture docs/event.svg: how one event travels. Its numbers are those of the list in README.md."""

from __future__ import annotations

from tests.pages.drawing import arrow, box, drawing, numbered, paragraph, words

WIDTH, HEIGHT = 1000, 640


def picture() -> str:
    """docs/event.svg."""
    rooms = [box(212, 56, 764, 196, kind="room"), box(24, 294, 952, 220, kind="room")]
    parts = [words(24, 34, "How one event travels", kind="title"), *rooms]
    parts += _billing() + _request() + _job() + _failure() + _world()
    return drawing(WIDTH, HEIGHT, parts, title="How one event travels through the controller")


def _billing() -> list[str]:
    return [
        box(24, 120, 140, 74),
        words(94, 150, "Billing", kind="title", middle=True),
        *paragraph(94, 170, ["order.paid, signed"], middle=True),
        arrow((164, 142), (228, 142)),
        *numbered(190, 142, 1),
        arrow((228, 176), (164, 176)),
        words(122, 214, "202 + job", kind="small", middle=True),
    ]


def _request() -> list[str]:
    """What happens inside the request."""
    return [
        words(228, 80, "inside the request: no machine is touched", kind="small"),
        box(228, 100, 168, 118),
        words(312, 124, "Rim", kind="title", middle=True),
        *paragraph(312, 146, ["signature and time", "window, on raw bytes;", "then the vocabulary"], middle=True),
        arrow((396, 159), (452, 159)),
        *numbered(422, 159, 2),
        box(452, 92, 508, 146, kind="strong"),
        words(706, 114, "one transaction", kind="title", middle=True),
        *_cell(464, "event", ["kept; unique by", "source and id"]),
        *_cell(588, "service", ["facts merge;", "stale commands", "do nothing"]),
        *_cell(712, "decision", ["intent, nothing", "or refusal"]),
        *_cell(836, "job", ["its row, and on", "the queue of", "its service"]),
    ]


def _cell(x: float, title: str, lines: list[str]) -> list[str]:
    return [
        box(x, 126, 112, 100),
        words(x + 56, 148, title, kind="title", middle=True),
        *paragraph(x + 56, 170, lines, middle=True),
    ]


def _job() -> list[str]:
    """What the engine does where all goes well."""
    promise = "the engine: one job of a service at a time; after a crash it begins again from the top, and looks first"
    return [
        arrow((892, 238), (892, 272), (116, 272), (116, 328)),
        *numbered(504, 272, 3),
        words(244, 317, promise, kind="small"),
        box(40, 328, 152, 104),
        words(116, 352, "Workflow", kind="title", middle=True),
        *paragraph(116, 374, ["playbook, resolved", "and written down", "before anything runs"], middle=True),
        *numbered(40, 328, 4),
        arrow((192, 380), (244, 380)),
        box(244, 328, 470, 104),
        words(260, 352, "each step", kind="title"),
        *_part(260, "intent", ["written", "first"]),
        arrow((350, 393), (372, 393)),
        *_part(372, "check", ["looks at", "the world"]),
        *numbered(372, 362, 5),
        arrow((462, 393), (484, 393)),
        *_part(484, "apply", ["fence inside", "what destroys"], kind="danger"),
        *numbered(484, 362, 6),
        arrow((592, 393), (614, 393)),
        *_part(614, "facts", ["recorded"], width=86),
        arrow((714, 380), (766, 380)),
        box(766, 328, 194, 104, kind="strong"),
        words(863, 352, "The end", kind="title", middle=True),
        *paragraph(863, 374, ["job, service, audit and", "message to billing", "in one transaction"], middle=True),
    ]


def _part(x: float, title: str, lines: list[str], *, kind: str = "end", width: float = 90) -> list[str]:
    wide = 108 if kind == "danger" else width
    middle = x + wide / 2
    return [box(x, 362, wide, 62, kind=kind), words(middle, 380, title, middle=True), *paragraph(middle, 398, lines, middle=True)]


def _failure() -> list[str]:
    """What happens where a step fails for good."""
    return [
        *numbered(52, 474, 7),
        *paragraph(
            70,
            470,
            [
                "A failure for good: what this job made",
                "is undone, the last first. Where neither doing",
                "nor undoing is certain: needs_operator.",
            ],
        ),
        *paragraph(
            520,
            470,
            [
                "Past the point of no return there is no undoing:",
                "the job goes on to its end, at once or when",
                "an operator has mended what stands in its way.",
            ],
        ),
    ]


def _world() -> list[str]:
    """The ports and what lies behind them, and the way back."""
    ports = [("libvirt", "guests, volumes"), ("agent over SSH", "wipe, residue"), ("pools, ledger", "addresses, capacity")]
    parts = [arrow((417, 432), (417, 546)), arrow((417, 546), (417, 432))]
    for number, (title, line) in enumerate(ports):
        x = 192 + number * 160
        parts += [box(x, 546, 148, 56), words(x + 74, 570, title, kind="title", middle=True)]
        parts += paragraph(x + 74, 590, [line], middle=True)
    return [
        *parts,
        *paragraph(24, 570, ["ports; behind them", "real drivers or", "simulated ones"]),
        arrow((863, 432), (863, 546)),
        *numbered(863, 528, 8),
        box(766, 546, 194, 56),
        words(863, 570, "Billing", kind="title", middle=True),
        *paragraph(863, 590, ["told, signed, until it takes it"], middle=True),
    ]
