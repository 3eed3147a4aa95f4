"""One call of the agent: find the command, check the request, run it, answer, exit."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from typing import BinaryIO

from agents.node.arguments import parse
from agents.node.call import Call
from agents.node.commands import COMMANDS
from agents.node.place import Place
from agents.node.protocol import EXIT_CODES, AgentError, Speaker, read_request


def run(argv: Sequence[str], stdin: BinaryIO, stdout: BinaryIO, *, place: Place | None = None) -> int:
    """Answer the call on ``stdout``; returns the exit code."""
    speaker = Speaker(stdout)
    try:
        if len(argv) != 1 or argv[0] not in COMMANDS:
            raise AgentError("driver-permanent", f"unknown command; this agent knows: {', '.join(sorted(COMMANDS))}")
        command = COMMANDS[argv[0]]
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
        full = exc.errno == errno.ENOSPC
        code, hint = ("driver-transient", "make room there") if full else ("driver-permanent", "")
        speaker.error(AgentError(code, f"{argv[0]}: {exc.strerror or 'input/output error'}{where}", hint=hint))
        return EXIT_CODES[code]
    except Exception as exc:  # noqa: BLE001 - the rim: a fault of ours is an answer too, and no traceback leaves the node
        speaker.error(AgentError("internal-error", f"the agent failed in {argv[0]}: {type(exc).__name__}"))
        return EXIT_CODES["internal-error"]
    return 0


def main() -> int:
    """The entry of the zipapp. A connection that breaks off ends no work that was begun."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # sent where somebody opens a file in the moment of its lease (fcntl(2))
    return run(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
