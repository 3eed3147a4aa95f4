"""``python -m tests.lab run -- COMMAND…``: run a command inside a fresh lab. ``… images``: build the templates that are missing."""

import argparse
import sys
from collections.abc import Sequence

from tests.lab import runner


def main(arguments: Sequence[str]) -> int:
    """The exit status: that of the command, or 69 when the lab cannot start on this machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run a command inside a fresh lab that ends with it")
    run.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND…; a shell when left out")
    given = parser.parse_args(arguments)
    command = [word for index, word in enumerate(given.command) if index or word != "--"] or ["bash"]
    try:
        return runner.run(command)
    except runner.LabError as error:
        runner.say(str(error))
        return 69


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
