"""What was measured, printed and written into docs/benchmarks.md: each suite renews its own section."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.lab.guests import kvm

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Row:
    """``ours`` and ``bare`` as they are to be read; ``note`` where there is no bare thing, or what it is."""

    what: str
    ours: str
    bare: str = "–"
    ratio: str = "–"


@dataclass(frozen=True)
class Pair:
    """Medians in seconds, and the median of the ratios of each round."""

    ours: float
    bare: float
    ratio: float

    def row(self, what: str, *, each: int = 1, show: Callable[[float], str] | None = None) -> Row:
        """``each``: how many of the thing one round did."""
        show = show or seconds
        return Row(what, show(self.ours / each), show(self.bare / each), f"{self.ratio:.1f} ×")


def pairs(ours: Callable[[], float], bare: Callable[[], float], *, rounds: int) -> Pair:
    """Both in turns, so that a disturbance meets both; each returns the seconds that it took."""
    both = [(bare(), ours()) for _ in range(rounds)]
    return Pair(ours=median(o for _, o in both), bare=median(b for b, _ in both), ratio=median(o / b for b, o in both))


def timed(act: Callable[[], object]) -> float:
    """Seconds of one call, by the clock on the wall."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def cpu(act: Callable[[], object]) -> float:
    """Seconds of CPU that this process spent in one call."""
    began = time.process_time()
    act()
    return time.process_time() - began


def seconds(value: float) -> str:
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 0.01 else f"{value * 1e3:.2f} ms"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


def write(title: str, explanation: str, rows: Sequence[Row]) -> None:
    """Print the table, and put it into the page under its title."""
    lines = ["| what | ours | bare | ratio |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.ours} | {row.bare} | {row.ratio} |" for row in rows]
    section = "\n".join([f"## {title}", "", explanation, "", *lines, "", f"Measured {_where()}."])
    print(f"\n{section}")
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), title, section), encoding="utf-8")


def renewed(page: str, title: str, section: str) -> str:
    """The page with that section in place of the one of the same title, or at its end."""
    old = re.compile(rf"^## {re.escape(title)}$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if old.search(page):
        return old.sub(lambda _: section + "\n\n", page).rstrip() + "\n"
    return page.rstrip() + "\n\n" + section + "\n"


def _where() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    guests = "KVM" if kvm() else "software emulation"
    return (
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}: {os.cpu_count()} CPUs, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, guests by {guests}, load {os.getloadavg()[0]:.1f}"
    )
