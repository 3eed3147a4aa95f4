"""A file's bytes, whole or one range of them (RFC 9110, 14), with some of them replaced on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

PIECE = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def answer(request: Request, path: Path, *, size: int, instead: Mapping[int, bytes], kind: str) -> Response:
    """``instead``: what is there in place of the file's own bytes, by offset; it changes no length."""
    headers = {"Accept-Ranges": "bytes", "Content-Type": kind, "Cache-Control": "no-store"}
    asked = request.headers.get("range", "")
    part = chosen(asked, size)
    if part is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, end = part
    headers["Content-Length"] = str(end - start)
    status = 200
    if _RANGE.fullmatch(asked):
        headers["Content-Range"], status = f"bytes {start}-{end - 1}/{size}", 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(pieces(path, start, end, instead), status_code=status, headers=headers)


def chosen(asked: str, size: int) -> tuple[int, int] | None:
    """The bytes that a Range header asks for, the end not among them; the whole where it is none, or of several parts, as a
    server may answer those. None = there are no such bytes."""
    found = _RANGE.fullmatch(asked)
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        length = min(int(found[2]), size)
        return (size - length, size) if length else None
    start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    return (start, end) if start < end else None


def pieces(path: Path, start: int, end: int, instead: Mapping[int, bytes]) -> Iterator[bytes]:
    """The bytes from ``start`` to before ``end``. A file that became shorter ends the answer early, which its reader notices."""
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(PIECE, end - start))
            if not piece:
                return
            yield replaced(piece, start, instead)
            start += len(piece)


def replaced(piece: bytes, start: int, instead: Mapping[int, bytes]) -> bytes:
    """The piece that begins at ``start`` of the file, with what falls into it."""
    for offset, content in instead.items():
        first, last = max(offset, start), min(offset + len(content), start + len(piece))
        if first < last:
            piece = piece[: first - start] + content[first - offset : last - offset] + piece[last - start :]
    return piece
