"""A line of the log for each call to a node or a BMC. For which job it is made the log knows by itself (observe/logs.py)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.domain.errors import OrchestratorError

_log = logging.getLogger("orchestrator.calls")


@contextmanager
def logged(call: str, *, by: str, node: str) -> Iterator[None]:
    """Around one call. ``by``: the way to the node (agent, libvirt, redfish, fake). What is sent and answered stays out of it."""
    began, code = time.monotonic(), ""
    try:
        yield
    except OrchestratorError as exc:
        code = exc.code
        raise
    except BaseException as exc:
        code = type(exc).__name__
        raise
    finally:
        seconds = round(time.monotonic() - began, 3)
        _log.info("%s on %s", call, node, extra={"by": by, "call": call, "node": node, "code": code, "seconds": seconds})
