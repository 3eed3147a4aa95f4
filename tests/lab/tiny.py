"""Speaks the line commands of the tiny guest (recipes/tiny.commands) over TCP."""

import socket

PORT = 23


class TinyFailed(Exception):
    """The tiny guest answered that a command failed."""


def ask(address: str, *words: str, seconds: float = 30.0) -> list[str]:
    """Send one command; its output without the closing ok. Raises `TinyFailed`, or OSError when the guest does not answer."""
    with socket.create_connection((address, PORT), timeout=seconds) as link, link.makefile("rw", newline="\n") as lines:
        print(*words, file=lines, flush=True)
        answer: list[str] = []
        last = "the guest closed the connection"
        for line in lines:
            if line.strip() == "ok":
                return answer
            if line.strip() == "failed":
                last = "the guest answered that it failed"
                break
            answer.append(line.rstrip("\n"))
    raise TinyFailed(f"{' '.join(words)[:80]}: {last} {answer or ''}")


def plant(address: str, offset: int, marker: bytes, *, copies: int = 1) -> None:
    """Write `marker` to the guest's disk at a byte offset, `copies` times in a row, and wait until the host has it."""
    ask(address, "fill", str(offset), str(copies), marker.hex(), seconds=120.0)


def show(address: str, offset: int, length: int) -> bytes:
    """Bytes of the guest's disk."""
    return bytes.fromhex("".join(ask(address, "show", str(offset), str(length))))


def facts(address: str) -> dict[str, str]:
    """What the guest sees of itself: hostname, instance, processors, memory_kib, disk_bytes, addresses."""
    return dict(line.partition(" ")[::2] for line in ask(address, "facts"))
