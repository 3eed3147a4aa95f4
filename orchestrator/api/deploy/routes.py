"""What the desk answers. The image's agent is a stranger until it has a session; then it gets what its own tasks need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from orchestrator.api.deploy import ranged
from orchestrator.api.deploy.context import AtDesk, Desk
from orchestrator.api.deploy.guesses import Guesses
from orchestrator.api.problems import problem
from orchestrator.domain.errors import Forbidden, NotFound, RequestError, Unauthenticated, WrongState
from orchestrator.store.deployments import MEDIUM, Identity, Report

router = APIRouter(prefix="/deploy/v1")
# How long a question for a task hangs, and how often is looked meanwhile.
HANG_SECONDS, LOOK_SECONDS = 20.0, 0.5
_QCOW2 = b"QFI\xfb"
_bearer = HTTPBearer(auto_error=False)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class IdentityBody(_Body):
    uuid: str = Field(max_length=64)
    serials: list[Annotated[str, Field(max_length=200)]] = Field(max_length=500)
    macs: list[Annotated[str, Field(max_length=40)]] = Field(max_length=200)


class ClaimBody(_Body):
    token: str = Field(min_length=32, max_length=100)
    identity: IdentityBody


def _plain(says: str) -> str:
    """As any database takes it: what a program on the machine wrote may have bytes of zero in it."""
    return says.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _json(result: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError where JSON has no word for it (NaN, Infinity), which Python's own reader takes."""
    json.dumps(result, allow_nan=False)
    return result


class ReportBody(_Body):
    key: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")
    state: Literal["running", "done", "failed"]
    fraction: float = Field(ge=0, le=1, allow_inf_nan=False)
    says: Annotated[str, Field(max_length=100_000), AfterValidator(_plain)]
    result: Annotated[dict[str, Any], AfterValidator(_json)]


def _session(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    if given is None:
        raise Unauthenticated("there is no session without a claim")
    return given.credentials


Session = Annotated[str, Depends(_session)]


@router.api_route("/media/{secret}/" + MEDIUM, methods=["GET", "HEAD"])
def medium(request: Request, desk: AtDesk, secret: str) -> Response:
    """The ISO with the deployment's own seed in its menus."""
    return _guessed(request, lambda: _medium(request, desk, secret))


def _medium(request: Request, desk: Desk, secret: str) -> Response:
    seed = desk.book.medium(secret).encode("ascii")
    size, length, offsets = _description(desk.image)
    if len(seed) != length:
        raise WrongState("the deploy image is of another version than the controller", hint="orchestrator deploy-image build")
    instead = dict.fromkeys(offsets, seed)
    return ranged.answer(request, desk.image, size=size, instead=instead, kind="application/x-iso9660-image")


def _description(image: Path) -> tuple[int, int, tuple[int, ...]]:
    """Size, length of the seed and where it goes. Raises WrongState where the image is not there, or another than described."""
    try:
        told = json.loads(image.with_name(f"{image.name}.json").read_text(encoding="ascii"))
        found = int(told["bytes"]), int(told["length"]), tuple(int(each) for each in told["offsets"])
        size = image.stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise WrongState("there is no deploy image to be served", hint="orchestrator deploy-image build") from exc
    if size != found[0]:
        raise WrongState("the deploy image is not the one of its description", hint="orchestrator deploy-image build")
    return found


@router.post("/claim")
def claim(request: Request, desk: AtDesk, body: ClaimBody) -> Response:
    """A session for a token, once, where the machine is the one that is expected."""
    who = body.identity
    identity = Identity(uuid=who.uuid.lower(), serials=tuple(who.serials), macs=tuple(mac.lower() for mac in who.macs))
    return _guessed(request, lambda: JSONResponse({"session": desk.book.claim(body.token, identity, peer=_peer(request))}))


@router.post("/next")
async def next_task(request: Request, desk: AtDesk, session: Session) -> Response:
    """The task to do; null where there is none yet, after a while, or at once where the controller ends."""
    task = None
    for _ in range(round(HANG_SECONDS / LOOK_SECONDS)):
        if await run_in_threadpool(desk.book.waits, session):
            task = await run_in_threadpool(desk.book.next, session)
            break
        if request.app.state.ending:
            break
        await asyncio.sleep(LOOK_SECONDS)
    told = None if task is None else {"key": task.key, "kind": task.kind, "arguments": dict(task.arguments)}
    return JSONResponse({"task": told})


@router.post("/report")
def report(desk: AtDesk, session: Session, body: ReportBody) -> Response:
    """How a task is going, or how it went."""
    desk.book.report(session, Report(**body.model_dump()))
    return JSONResponse({})


@router.api_route("/images/{name}", methods=["GET", "HEAD"])
def image(request: Request, desk: AtDesk, session: Session, name: str) -> Response:
    """An image that one of the session's tasks writes just now."""
    desk.book.fetches(session, name)
    path = desk.images / name
    if "/" in name or name.startswith(".") or not path.is_file():
        raise NotFound(f"there is no image {name}", hint="put it into the directory that deploy.images names")
    with path.open("rb") as file:
        if file.read(len(_QCOW2)) == _QCOW2:
            raise WrongState(f"the image {name} is qcow2, and disks take raw", hint=f"qemu-img convert -O raw {name} {name}.raw")
    return ranged.answer(request, path, size=path.stat().st_size, instead={}, kind="application/octet-stream")


def _guessed(request: Request, act: Callable[[], Response]) -> Response:
    """Whoever guesses is stopped after some wrong ones."""
    guesses, peer = request.app.state.guesses, _peer(request)
    assert isinstance(guesses, Guesses)
    if guesses.too_many(peer):
        return problem(RequestError.code, "too many wrong ones from there", status=429, headers={"Retry-After": "60"})
    try:
        return act()
    except (NotFound, Unauthenticated, Forbidden):
        guesses.wrong(peer)
        raise


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""
