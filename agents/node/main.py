"""One call of the agent: find the command, check the request, run it, answer, exit."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import BinaryIO

from agents.node.arguments import parse
from agents.node.call import Call
from agents.node.command import Command
from agents.node.hosting.table import COMMANDS as ACCOUNTS
from agents.node.place import Place
from agents.node.protocol import EXIT_CODES, AgentError, Speaker, read_request


def run(argv: Sequence[str], stdin: BinaryIO, stdout: BinaryIO, *, place: Place | None = None) -> int:
    """Answer the call on ``stdout``; returns the exit code."""
    speaker = Speaker(stdout)
    try:
        command = _command(argv)
        speaker.lasting = command.lasting
        arguments = parse(command.fields, read_request(stdin))
        speaker.result(command.run(Call(place or Place(), arguments, speaker.progress)))
    except AgentError as exc:
        speaker.error(exc)
        return EXIT_CODES[exc.code]
    except BrokenPipeError:
        return EXIT_CODES["driver-transient"]
    except OSError as exc:
        # The node's own trouble (a full or broken disk, a missing file), told in the system's words.
        where = f" ({exc.filename})" if isinstance(exc.filename, str) else ""
        speaker.error(AgentError("driver-permanent", f"{argv[0]}: {exc.strerror or 'input/output error'}{where}"))
        return EXIT_CODES["driver-permanent"]
    except Exception as exc:  # noqa: BLE001 - the rim: a fault of ours is an answer too, and no traceback leaves the node
        speaker.error(AgentError("internal-error", f"the agent failed in {argv[0]}: {type(exc).__name__}"))
        return EXIT_CODES["internal-error"]
    return 0


def _command(argv: Sequence[str]) -> Command:
    """A call on a hosting account has no use for what guests need: it is not read for one."""
    if len(argv) == 1 and argv[0] in ACCOUNTS:
        return ACCOUNTS[argv[0]]
    from agents.node.commands import COMMANDS

    if len(argv) != 1 or argv[0] not in COMMANDS:
        raise AgentError("driver-permanent", f"unknown command; this agent knows: {', '.join(sorted(COMMANDS))}")
    return COMMANDS[argv[0]]


def main() -> int:
    """The entry of the zipapp. A connection that breaks off ends no work that was begun."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # sent where somebody opens a file in the moment of its lease (fcntl(2))
    return run(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
