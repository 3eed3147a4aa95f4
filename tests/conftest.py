"""What every test has: the lab's fixtures, and the rule that a test of the lab never passes by not running."""

import hypothesis
import pytest

from tests.lab import environment

pytest_plugins = ["tests.lab.fixtures", "tests.e2e.fixtures", "tests.hosting_server"]

# A busy machine is no failure, a failure can be repeated from what it prints, and no files are left in the tree.
hypothesis.settings.register_profile("ours", deadline=None, print_blob=True, database=None)
hypothesis.settings.load_profile("ours")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--matrix=whole` runs every crash point; the default runs a sample that covers each step."""
    parser.addoption("--matrix", choices=("sample", "whole"), default="sample", help="crash points to try (default: sample)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One of several processes in labs of their own keeps its temporary files in its lab, and not beside those of the others."""
    if environment.inside() and hasattr(config, "workerinput"):
        config.option.basetemp = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that asks for the lab is marked as one, so that `-m 'not lab'` leaves it out; a rare one is not in the sample."""
    if config.getoption("--matrix") != "whole":
        rare = [item for item in items if item.get_closest_marker("rare")]
        config.hook.pytest_deselected(items=rare)
        items[:] = [item for item in items if item not in rare]
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker("lab")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Outside the lab its tests fail, with a sentence."""
    marked = any(item.get_closest_marker(name) for name in ("lab", "guest"))
    if marked and not environment.inside():
        pytest.fail(str(environment.NotInLab()), pytrace=False)


@pytest.fixture(scope="session")
def whole_matrix(request: pytest.FixtureRequest) -> bool:
    """Whether every crash point is wanted, not only the sample."""
    return bool(request.config.getoption("--matrix") == "whole")
