"""Simple drawings as SVG: boxes, arrows, words. Light and dark follow the reader's preference."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

_STYLE = """\
  <style>
    text { font: 13px system-ui, 'DejaVu Sans', sans-serif; fill: #1f2328; }
    .title { font-weight: 600; }
    .small { font-size: 11.5px; fill: #57606a; }
    .box { fill: #ffffff; stroke: #57606a; }
    .room { fill: #f3f5f8; stroke: #c3c9d1; }
    .strong { fill: #ddf4e4; stroke: #1a7f37; }
    .danger { fill: #ffe8e6; stroke: #cf222e; }
    .end { fill: #eaeef2; stroke: #57606a; }
    .line { fill: none; stroke: #57606a; stroke-width: 1.5; }
    .head { fill: #57606a; }
    .dot { fill: #0a5cc4; }
    .number { font-size: 11px; font-weight: 600; fill: #ffffff; }
    .back { fill: #ffffff; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .small { fill: #9da7b3; }
      .box { fill: #1b222b; stroke: #9da7b3; }
      .room { fill: #141a21; stroke: #3a434e; }
      .strong { fill: #12311c; stroke: #3fb950; }
      .danger { fill: #3c1618; stroke: #f85149; }
      .end { fill: #2a313b; stroke: #9da7b3; }
      .line { stroke: #9da7b3; }
      .head { fill: #9da7b3; }
      .dot { fill: #2f81f7; }
      .number { fill: #ffffff; }
      .back { fill: #0d1117; }
    }
  </style>
  <defs>
    <marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
      <path class="head" d="M0,1 L10,5 L0,9 z"/>
    </marker>
  </defs>
"""


def drawing(width: int, height: int, parts: Sequence[str], *, title: str) -> str:
    """The whole file. ``title`` is read out by screen readers."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">\n'
        f"  <title>{escape(title)}</title>\n"
    )
    ground = f'  <rect class="back" width="{width}" height="{height}" rx="8"/>\n'
    return head + _STYLE + ground + "".join(f"  {part}\n" for part in parts) + "</svg>\n"


def box(x: float, y: float, width: float, height: float, *, kind: str = "box") -> str:
    """A rectangle with its upper left corner at (x, y); ``kind`` is a class of the style."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>'


def words(x: float, y: float, text: str, *, kind: str = "", middle: bool = False) -> str:
    """One line of text; (x, y) is where its base line begins, or its middle."""
    kinds = f' class="{kind}"' if kind else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text{kinds} x="{x:g}" y="{y:g}"{anchor}>{escape(text)}</text>'


def paragraph(x: float, y: float, lines: Sequence[str], *, kind: str = "small", middle: bool = False) -> list[str]:
    """Lines under each other, the first with its base line at ``y``."""
    return [words(x, y + 16 * number, line, kind=kind, middle=middle) for number, line in enumerate(lines)]


def arrow(*points: Point, bend: Point | None = None) -> str:
    """A line with a head at its last point, through the points in between; ``bend`` draws two points into a curve."""
    (x, y), rest = points[0], points[1:]
    if bend is not None:
        path = f"M{x:g},{y:g} Q{bend[0]:g},{bend[1]:g} {rest[0][0]:g},{rest[0][1]:g}"
    else:
        path = f"M{x:g},{y:g} " + " ".join(f"L{a:g},{b:g}" for a, b in rest)
    return f'<path class="line" d="{path}" marker-end="url(#head)"/>'


def numbered(x: float, y: float, number: int) -> list[str]:
    """A dot with a number."""
    return [f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="9.5"/>', words(x, y + 4, str(number), kind="number", middle=True)]
