"""The lab's commands.

``python -m tests.lab run -- COMMAND…`` runs a command inside a fresh lab; ``… images`` builds the guest images that are missing.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.lab import deploy, images, metal, report, runner, whole_debian


def main(arguments: Sequence[str]) -> int:
    """The exit status: that of the command, or 69 when the lab cannot start on this machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run a command inside a fresh lab that ends with it")
    run.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND…; a shell when left out")
    made = verbs.add_parser("images", help="build the guest images that are missing, and print their directory")
    made.add_argument("--whole", action="store_true", help="those too that only the whole matrix needs")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "images":
            print(images.build())
            deploy.prepare()
            metal.prepare()
            if given.whole:
                whole_debian.prepare()
            return 0
        return runner.run([word for index, word in enumerate(given.command) if index or word != "--"] or ["bash"])
    except report.LabError as error:
        report.say(str(error))
        return 69


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
