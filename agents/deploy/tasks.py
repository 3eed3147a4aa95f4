"""One task after the other: what the desk gives is done, and told of while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from agents.deploy import erasing, inspecting, password, rescue, testing, writing
from agents.deploy.desk import Desk, OtherController, Refused
from agents.deploy.failure import Failed
from agents.deploy.place import Place

TELL_SECONDS = 2.0


class Stopped(Exception):
    """The desk has no more for this session: it is over."""


class Worker:
    """Does tasks until one says how the machine ends: ``off``, ``reboot``, or ``rescue``: it stays on, and is somebody else's.
    ``every``: so many seconds progress is told."""

    def __init__(self, place: Place, desk: Desk, say: Callable[[str], None], *, every: float = TELL_SECONDS) -> None:
        self._place, self._desk, self._say, self._every = place, desk, say, every

    def run(self) -> str:
        """Raises Stopped where the session is over."""
        while True:
            task = self._asked()
            if task is None:
                continue
            self._say(f"task {task['key']}: {task['kind']}")
            ending = self._carry_out(task)
            if ending:
                return ending

    def _asked(self) -> dict[str, Any] | None:
        try:
            return self._desk.ask("/deploy/v1/next", {}).get("task")
        except Refused as exc:
            raise Stopped(str(exc)) from exc

    def _carry_out(self, task: dict[str, Any]) -> str:
        try:
            result, ending = self._do(task["kind"], task["arguments"], self._teller(task["key"]))
            said = {"state": "done", "fraction": 1.0, "says": "", "result": result}
        except Failed as exc:
            said, ending = {"state": "failed", "fraction": 0.0, "says": str(exc), "result": exc.result}, ""
        except Refused as exc:
            said, ending = {"state": "failed", "fraction": 0.0, "says": f"the desk refused: {exc}", "result": {}}, ""
        except (Stopped, OtherController):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it was, the controller is told, and not left to wait
            said, ending = {"state": "failed", "fraction": 0.0, "says": f"{type(exc).__name__}: {exc}", "result": {}}, ""
        self._say(f"task {task['key']}: {said['state']} {said['says']}")
        try:
            self._desk.ask("/deploy/v1/report", {"key": task["key"], **said})
        except Refused as exc:
            raise Stopped(str(exc)) from exc
        return ending

    def _do(self, kind: str, arguments: Mapping[str, Any], told: Callable[[float, str], None]) -> tuple[dict[str, Any], str]:
        if kind == "inspect":
            return inspecting.inspect(self._place), ""
        if kind == "write":
            return writing.write(self._place, self._desk, arguments, told), ""
        if kind == "erase":
            return erasing.erase(self._place, arguments, told), ""
        if kind == "test":
            return testing.test(self._place, arguments, told), ""
        if kind == "password":
            return password.set_password(self._place, arguments, told), ""
        if kind == "rescue":
            return rescue.rescue(self._place, arguments, told), "rescue"
        if kind == "finish" and arguments.get("power") in ("off", "reboot"):
            return {}, str(arguments["power"])
        raise Failed(f"this image knows no task {kind} with {sorted(arguments)}: build it anew")

    def _teller(self, key: str) -> Callable[[float, str], None]:
        """Tells the desk now and then how far the task is. That it cannot be told at the moment stops no task; that the session
        is over does."""
        last = 0.0

        def tell(fraction: float, says: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= self._every:
                last = now
                self._told(key, fraction, says)

        return tell

    def _told(self, key: str, fraction: float, says: str) -> None:
        said = {"key": key, "state": "running", "fraction": round(fraction, 4), "says": says, "result": {}}
        try:
            self._desk.ask("/deploy/v1/report", said, patient=False)
        except Refused as exc:
            raise Stopped(str(exc)) from exc
        except OSError:
            self._say("the desk does not answer; the task goes on")
