"""Who of many webhooks at once is taken next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.api.admission import Admission, service_of

PATIENCE = 10.0


class Loop(asyncio.SelectorEventLoop):
    """Its seconds pass when a test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Callers:
    """Some of one admission, by their names: who has been let in, in which order, and what lets each go."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.let_in: list[str] = []
        self._done: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        for name in names:
            self._done[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name))
            await settle()

    async def go(self, *names: str) -> None:
        for name in names:
            self._done[name].set()
            await settle()

    async def _stay(self, name: str) -> None:
        async with self.admission.turn(name.strip("'")):
            self.let_in.append(name)
            await self._done[name].wait()
            if name.startswith("bad"):
                raise LookupError(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def passes(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.now += seconds
    await settle()


def run(story: Callable[[Callers], Awaitable[None]]) -> None:
    async def told() -> None:
        await story(Callers(Admission(patience=PATIENCE)))

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(told())


def test_one_at_a_time_and_of_those_who_wait_the_newest() -> None:
    async def story(callers: Callers) -> None:
        await callers.come("a", "b", "c")
        assert callers.let_in == ["a"]
        await callers.go("a")
        assert callers.let_in == ["a", "c"]
        await callers.come("d")
        await callers.go("c", "d", "b")
        assert callers.let_in == ["a", "c", "d", "b"]
        await callers.come("e")
        assert callers.let_in[-1] == "e", "nobody is there"
        await callers.go("e")

    run(story)


def test_about_the_same_service_they_keep_their_order() -> None:
    async def story(callers: Callers) -> None:
        async with callers.admission.turn("mine"):
            await callers.come("a", "b", "a'", "c", "a''")
        await settle()
        await callers.go("a", "a'", "a''", "c", "b")
        assert callers.let_in == ["a", "a'", "a''", "c", "b"]

    run(story)


def test_whose_patience_is_over_goes_on_beside_the_others_and_has_no_turn_to_hand_on() -> None:
    async def story(callers: Callers) -> None:
        await callers.come("a", "b")
        await passes(PATIENCE - 1)
        await callers.come("c")
        assert callers.let_in == ["a"]
        await passes(1)
        assert callers.let_in == ["a", "b"]
        await passes(PATIENCE - 1)
        assert callers.let_in == ["a", "b", "c"]
        await callers.come("d")
        await callers.go("b", "c")
        assert callers.let_in == ["a", "b", "c"], "a has the turn still"
        await callers.go("a")
        assert callers.let_in == ["a", "b", "c", "d"]
        await callers.go("d")

    run(story)


def test_what_fails_hands_its_turn_on() -> None:
    async def story(callers: Callers) -> None:
        await callers.come("bad", "b")
        await callers.go("bad")
        with pytest.raises(LookupError):
            await callers.tasks["bad"]
        assert callers.let_in == ["bad", "b"]
        await callers.go("b")

    run(story)


def test_who_gives_up_waiting_is_passed_over() -> None:
    async def story(callers: Callers) -> None:
        async with callers.admission.turn("mine"):
            await callers.come("a", "b")
            callers.tasks["b"].cancel()  # it has not heard of it yet when the turn is handed on
        await settle()
        assert callers.let_in == ["a"]
        await callers.go("a")

    run(story)


def test_who_gives_up_in_the_moment_that_it_gets_the_turn_hands_it_on() -> None:
    async def story(callers: Callers) -> None:
        async with callers.admission.turn("mine"):
            await callers.come("a", "b")
        callers.tasks["b"].cancel()
        await settle()
        assert callers.tasks["b"].cancelled()
        assert callers.let_in == ["a"]
        await callers.go("a")
        await callers.come("c")
        assert callers.let_in == ["a", "c"]
        await callers.go("c")

    run(story)


@pytest.mark.parametrize(
    ("body", "service"),
    [
        (b'{"type":"order.paid","data":{"service_id":"vps-1"}}', "vps-1"),
        (b'{"data": {"plan": "p",\n  "service_id" : "vps-2"}}', "vps-2"),
        (b'{"data": {"client_id": "c"}}', ""),
        (b'{"data": {"service_id": ["vps-3"]}}', ""),
        (b"\xff\x00", ""),
        (b'"service_id":"\xff"', "\ufffd"),
    ],
)
def test_what_it_seems_to_be_about_is_read_without_a_parser(body: bytes, service: str) -> None:
    assert service_of(body) == service
