"""What every test has: the lab's fixtures, and the rule that a test of the lab never passes by not running."""

import signal
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import statements
from tests.lab import environment
from tests.spread import ROOT, scheduler, shares_servers

pytest_plugins = ["tests.lab.fixtures", "tests.e2e.fixtures", "tests.hosting_server", "tests.postgres"]

# Several processes take the files in this order, the directories that are not named here first: what waits for real guests, then
# what has long files, and at the end what is short, so that none is left alone with a long file.
LATER = ("scenarios", "integration", "contract", "unit")

# A busy machine is no failure, a failure can be repeated from what it prints, and no files are left in the tree.
hypothesis.settings.register_profile("ours", deadline=None, print_blob=True, database=None)
hypothesis.settings.load_profile("ours")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--matrix=whole` runs every crash point; the default runs a sample that covers each step."""
    parser.addoption("--matrix", choices=("sample", "whole"), default="sample", help="crash points to try (default: sample)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One of several processes in labs of their own keeps its temporary files in its lab, and not beside those of the others."""
    statements.share()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # `make test &`: the commands that tests interrupt would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if environment.inside() and hasattr(config, "workerinput"):
        config.option.basetemp = None
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_ToldAtOnce(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where files are what is given out, those that share servers are given out together."""
    return scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


class _ToldAtOnce:
    """A failure is told when it is there: its place and its sentence; what else there is to say of it comes at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"{report.nodeid} ({report.when}): {_sentence(report)}", red=True)


def _sentence(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(crash.message if crash is not None else report.longrepr).strip()
    return said.splitlines()[0][:300] if said else "failed"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that asks for the lab is marked as one, so that `-m 'not lab'` leaves it out; a rare one is not in the sample."""
    if config.getoption("--matrix") != "whole":
        rare = [item for item in items if item.get_closest_marker("rare")]
        config.hook.pytest_deselected(items=rare)
        items[:] = [item for item in items if item not in rare]
    items.sort(key=_turn)
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker("lab")


def _turn(item: pytest.Item) -> int:
    """What shares servers waits for real guests, wherever it lies."""
    there = item.path.relative_to(Path(__file__).parent).parts[0]
    waits = there not in LATER or shares_servers(str(item.path.relative_to(ROOT)))
    return 0 if waits else LATER.index(there) + 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Outside the lab its tests fail, with a sentence."""
    marked = any(item.get_closest_marker(name) for name in ("lab", "guest"))
    if marked and not environment.inside():
        pytest.fail(str(environment.NotInLab()), pytrace=False)


@pytest.fixture(scope="session")
def whole_matrix(request: pytest.FixtureRequest) -> bool:
    """Whether every crash point is wanted, not only the sample."""
    return bool(request.config.getoption("--matrix") == "whole")
