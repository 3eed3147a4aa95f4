"""What the lab tells the person who waits for it."""

import sys


class LabError(Exception):
    """The lab, or an image, cannot be made; the message says why and what to do."""


def say(sentence: str) -> None:
    """Tell what is going on, on standard error."""
    print(f"lab: {sentence}", file=sys.stderr, flush=True)
