"""Consoles over a real server: a WebSocket to the API, and the command line on a real terminal. The guests are simulated."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import getpass
import json
import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from orchestrator.api.connections import ConsoleProtocol, PeerProtocol
from orchestrator.api.resources.consoles import open_console
from orchestrator.domain.errors import Refused, WrongState
from orchestrator.drivers.fake.consoles import print_on
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.engine.consoles import MOST_WAITING, Consoles
from orchestrator.store import audit
from orchestrator.wiring.links import WORLD_FILE
from tests.lab.daemons import wait_until
from tests.live import Live
from tests.served import Served, command
from tests.terminal import command_on_a_terminal, cooked, shows

SECONDS = 20.0
ME = f"unix:{getpass.getuser()}"


@contextmanager
def console(live: Live, service: str, *, force: bool = False) -> Iterator[ClientConnection]:
    url = f"ws://controller/v1/services/{service}/console?force={str(force).lower()}"
    with unix_connect(str(live.socket), url, compression=None, close_timeout=2) as link:
        yield link


def by_tcp(live: Live, service: str, *, token: str, query: str = "") -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = live.url.replace("http", "ws") + f"/v1/services/{service}/console{query}"
    link: ClientConnection = connect(url, additional_headers=headers, compression=None, close_timeout=2, proxy=None)
    return link


def refusal(live: Live, service: str, *, token: str, query: str = "") -> dict[str, Any]:
    with pytest.raises(InvalidStatus) as refused:
        by_tcp(live, service, token=token, query=query)
    body = json.loads(bytes(refused.value.response.body or b""))
    assert body["status"] == refused.value.response.status_code
    assert refused.value.response.headers["Content-Type"] == "application/problem+json"
    return dict(body)


def heard(link: ClientConnection, word: bytes) -> bytes:
    said = b""
    while word not in said:
        message = link.recv(SECONDS)
        assert isinstance(message, bytes)
        said += message
    return said


def end(link: ClientConnection) -> str:
    """Why it was closed from the other side."""
    for _message in link:
        pass
    return f"{link.close_code} {link.close_reason}"


def trail(live: Live, service: str) -> list[dict[str, Any]]:
    """What the audit trail has of its consoles, the oldest first."""
    with live.db.read() as conn:
        rows, _ = audit.list_page(conn, limit=200, service_id=service)
    return [{"what": row.what, "who": row.who, **row.facts} for row in reversed(rows) if row.what.startswith("console")]


def settled(live: Live, service: str) -> list[dict[str, Any]]:
    """The same once all of them are closed."""
    until = live.clock.monotonic() + SECONDS
    while True:
        rows = trail(live, service)
        if 2 * sum(row["what"] == "console opened" for row in rows) == len(rows):
            return rows
        assert live.clock.monotonic() < until, rows
        live.clock.sleep(0.05)


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


@pytest.fixture(scope="module")
def guest(live: Live) -> str:
    live.provisioned("con-1")
    return "con-1"


def test_what_is_typed_and_shown_goes_through_and_the_trail_has_who_and_how_much_and_not_what(live: Live, guest: str) -> None:
    with by_tcp(live, guest, token=live.tokens["operator"]) as link:
        link.send(b"my secret word")
        heard(link, b"my secret word")
        print_on(world(live), "n1", "orch.con-1", b"login: \xff\x00")
        heard(link, b"login: \xff\x00")
    first, row = settled(live, guest)
    assert first == {"what": "console opened", "who": "token:of-operator", "node": "n1", "forced": False}
    assert (row["what"], row["who"], row["why"]) == ("console closed", "token:of-operator", "it was closed by its user")
    assert (row["typed_bytes"], row["shown_bytes"]) == (14, 23)
    assert "secret" not in json.dumps(trail(live, guest))


def test_who_may_not_is_refused_with_the_sentence_of_every_route(live: Live, guest: str) -> None:
    assert refusal(live, guest, token="")["code"] == "unauthenticated"
    assert refusal(live, guest, token="nonsense")["code"] == "unauthenticated"
    for role in ("readonly", "billing"):
        assert refusal(live, guest, token=live.tokens[role])["code"] == "forbidden"
    operator = live.tokens["operator"]
    assert refusal(live, "absent", token=operator)["code"] == "not-found"
    assert refusal(live, "a%20b", token=operator)["code"] == "not-found"
    assert refusal(live, guest, token=operator, query="?forced=true")["code"] == "request-invalid"
    assert refusal(live, guest, token=operator, query="?force=maybe")["code"] == "request-invalid"


def test_a_second_one_is_told_who_has_it_and_takes_it_by_force(live: Live, guest: str) -> None:
    with console(live, guest) as first:
        told = refusal(live, guest, token=live.tokens["operator"])
        assert (told["code"], told["detail"]) == ("wrong-state", f"{ME} has the console of con-1")
        assert "--force" in told["hint"]
        with by_tcp(live, guest, token=live.tokens["operator"], query="?force=true") as second:
            assert end(first) == "1000 token:of-operator took the console over"
            second.send(b"mine")
            heard(second, b"mine")
    assert [(row["who"], row.get("why")) for row in settled(live, guest)[-2:]] == [
        (ME, "token:of-operator took the console over"),
        ("token:of-operator", "it was closed by its user"),
    ]


def test_a_guest_that_goes_off_or_is_suspended_ends_it_with_a_sentence(live: Live) -> None:
    live.provisioned("con-2")
    with console(live, "con-2") as link:
        job = live.http.post("/v1/services/con-2/suspend", json={"reason": "not paid"}).json()["job_id"]
        told = end(link)
        assert re.fullmatch(rf"1000 (job {job} \(suspend\) has ended it|con-2 is suspended)", told), told
    live.wait(job)
    problem = refusal(live, "con-2", token=live.tokens["operator"])
    assert (problem["code"], "does not run" in problem["detail"]) == ("wrong-state", True)


def test_no_more_than_so_many_are_open_at_once(live: Live, guest: str) -> None:
    some = Consoles(live.db, live.context.catalog, live.controller.links.consoles, live.clock, at_once=0, idle=timedelta(hours=1))
    with pytest.raises(Refused, match=r"0 of 0 are open .*\[consoles.at_once\]"):
        some.open(guest, who="me", force=False)


def test_one_in_which_nothing_is_typed_is_closed_and_what_is_typed_keeps_it(live: Live, guest: str) -> None:
    some = Consoles(
        live.db, live.context.catalog, live.controller.links.consoles, live.clock, at_once=1, idle=timedelta(seconds=1)
    )
    settled(live, guest)
    session = some.open(guest, who="me", force=False)
    session.start(lambda: None)
    for _ in range(3):
        live.clock.sleep(0.6)
        session.write(b"x")
    assert session.why == ""
    until = live.clock.monotonic() + SECONDS
    while not session.why and live.clock.monotonic() < until:
        print_on(world(live), "n1", "orch.con-1", b"still running\r\n")
        live.clock.sleep(0.05)
    assert session.why == "nothing was typed for 1 seconds"
    session.close("")
    again = some.open(guest, who="me", force=False)
    with pytest.raises(WrongState, match=r"me has the console"):  # by the trail: it was opened elsewhere
        live.context.consoles.open(guest, who="you", force=False)
    again.close("it was let go")


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_one_that_is_open_is_no_request_that_does_not_come(
    live: Live, guest: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The end to waiting for a request is not that of a console, in which an operator reads for an hour and types nothing."""
    monkeypatch.setattr(PeerProtocol, "request_seconds", 0.6)
    settled(live, guest)
    with by_tcp(live, guest, token=live.tokens["operator"]) if way == "tcp" else console(live, guest) as link:
        live.clock.sleep(2)
        link.send(b"still here")
        heard(link, b"still here")


def test_a_slow_reader_costs_no_memory_and_is_told_what_was_left_out(live: Live, guest: str) -> None:
    some = Consoles(live.db, live.context.catalog, live.controller.links.consoles, live.clock, at_once=1, idle=timedelta(hours=1))
    settled(live, guest)
    session = some.open(guest, who="me", force=False)
    session.start(lambda: None)
    for _ in range(3):
        print_on(world(live), "n1", "orch.con-1", b"y" * MOST_WAITING)
        live.clock.sleep(0.3)
    text, ended = session.take()
    assert text.count(b"y") == MOST_WAITING + 3  # and those of the sentence
    assert f"[{2 * MOST_WAITING} bytes were left out".encode() in text
    assert not ended
    session.close("")


@contextmanager
def deaf(live: Live, service: str) -> Iterator[socket.socket]:
    """One that opens a console and takes nothing of it, nor answers any ping."""
    lines = [f"GET /v1/services/{service}/console HTTP/1.1", "Host: controller", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}", "", ""]
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(live.socket))
        link.sendall("\r\n".join(lines).encode())
        yield link


def test_one_that_takes_nothing_keeps_nothing_when_it_is_over(live: Live, guest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsoleProtocol, "farewell_seconds", 0.5)
    settled(live, guest)
    with deaf(live, guest) as link:
        wait_until("it is open", lambda: [row["what"] for row in trail(live, guest)][-1:] == ["console opened"])
        for _ in range(8):
            print_on(world(live), "n1", "orch.con-1", b"z" * MOST_WAITING)
            live.clock.sleep(0.2)
        with console(live, guest, force=True) as second:
            ended = lambda: trail(live, guest)[-1].get("why") == f"{ME} took the console over"  # noqa: E731
            wait_until("it is closed", ended, seconds=SECONDS)  # before it is found to answer no ping
            second.send(b"mine")
            heard(second, b"mine")
        cut_off = select.poll()
        cut_off.register(link, 0)
        assert cut_off.poll(SECONDS * 1000) == [(link.fileno(), select.POLLHUP)]


def test_one_whose_opening_is_broken_off_is_closed_all_the_same(live: Live, guest: str) -> None:
    settled(live, guest)
    opened = len(trail(live, guest))
    world(live).fault("console.open", node="n1", delay=0.5)
    state = {"peer_uid": os.getuid()}
    scope = {"type": "websocket", "app": live.app, "headers": [], "query_string": b"", "path": "", "state": state}

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async def broken_off() -> None:
        opening = asyncio.create_task(open_console(WebSocket(scope, receive, send), guest))
        await asyncio.sleep(0.1)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        await asyncio.sleep(1)

    asyncio.run(broken_off())
    assert [row.get("why") for row in settled(live, guest)[opened:]] == [None, "the connection ended"]


def terminal(socket: Path, *arguments: str) -> AbstractContextManager[tuple[subprocess.Popen[bytes], int]]:
    """``service console`` on a terminal of its own."""
    return command_on_a_terminal("--socket", str(socket), "service", "console", *arguments)


def test_the_command_carries_keys_and_screen_and_ctrl_bracket_ends_it(live: Live, guest: str) -> None:
    with terminal(live.socket, guest) as (process, screen):
        shows(screen, b"Ctrl-] ends it")
        while cooked(screen):
            live.clock.sleep(0.02)
        os.write(screen, b"\x03\x1b[A\xc3\xa9")  # not even Ctrl-C is the terminal's own
        shows(screen, b"\x03\x1b[A\xc3\xa9")
        os.write(screen, b"last\x1dand no more")
        shows(screen, b"is closed")
        assert process.wait(SECONDS) == 0
        assert cooked(screen)


def test_what_is_typed_before_the_terminal_is_ready_is_not_lost(live: Live, guest: str) -> None:
    settled(live, guest)
    with terminal(live.socket, guest) as (process, screen):
        os.write(screen, b"early")
        shows(screen, b"Ctrl-] ends it")
        wait_until("its keys are the guest's", lambda: not cooked(screen))
        os.write(screen, b"late")
        shows(screen, b"late")
        os.write(screen, b"\x1d")
        shows(screen, b"is closed")
        assert process.wait(SECONDS) == 0
    assert settled(live, guest)[-1]["typed_bytes"] == len(b"earlylate")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["term", "hup"])
def test_a_signal_leaves_the_terminal_as_it_was(live: Live, guest: str, number: signal.Signals) -> None:
    with terminal(live.socket, guest, "--force") as (process, screen):
        shows(screen, b"Ctrl-] ends it")
        while cooked(screen):
            live.clock.sleep(0.02)
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
        assert cooked(screen)


def test_the_command_says_why_it_ended_and_leaves_the_terminal_as_it_was(live: Live) -> None:
    live.provisioned("con-3")
    with terminal(live.socket, "con-3") as (process, screen):
        shows(screen, b"Ctrl-] ends it")
        live.wait(live.http.post("/v1/services/con-3/stop").json()["job_id"])
        shows(screen, b"the console of con-3 has ended: ")
        assert process.wait(SECONDS) == 3
        assert cooked(screen)


def test_without_a_terminal_and_without_a_service_the_command_says_what_to_do(live: Live, guest: str) -> None:
    said = command("--socket", str(live.socket), "service", "console", guest)
    assert (said.returncode, "needs a terminal" in said.stderr, "ssh -t" in said.stderr) == (2, True, True)
    with terminal(live.socket, "absent") as (process, screen):
        shows(screen, b"there is no service absent")
        assert process.wait(SECONDS) == 3


def test_a_controller_that_stops_closes_them_and_writes_it_down(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        served.enrol("n1")
        watched = served.run("service", "show", "con-9")
        served.order("con-9")
        clock = SystemClock()
        until = clock.monotonic() + SECONDS
        while watched.returncode or "active" not in watched.stdout:
            assert clock.monotonic() < until, watched
            clock.sleep(0.2)
            watched = served.run("service", "show", "con-9")
        with terminal(served.socket, "con-9") as (process, screen):
            shows(screen, b"Ctrl-] ends it")
            while cooked(screen):
                clock.sleep(0.02)
            served.process.send_signal(signal.SIGTERM)
            shows(screen, b"the controller stops")
            assert process.wait(SECONDS) == 5
            assert served.process.wait(SECONDS) == 0
        rows = [json.loads(line) for line in served.run("audit", "export").stdout.splitlines()]
        assert [row["facts"]["why"] for row in rows if row["what"] == "console closed"] == ["the controller stops"]
    finally:
        served.stop()
