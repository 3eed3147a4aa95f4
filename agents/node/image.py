"""Calls of qemu-img: what each is told, how one is run, and what its failure means.

A passphrase reaches it as a file in memory that only this call's descriptor leads to: it stands in no argument, no
environment and on no medium.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agents.node.protocol import AgentError

ITERATION_MS = 10
"""For which LUKS is told to derive a key. The passphrase is random: guessing it takes no longer for being slowed down, while
the default of 2000 ms is paid at every start of the guest (qemu-img(1), ``encrypt.iter-time``)."""

BEAT = 0.2
"""Seconds between two looks at whether anybody still waits for the call."""

UNMEASURED = "Unable to get accurate CPU usage"
"""QEMU times its key derivation by the thread's CPU time, and gives up where the kernel's count of that has not moved."""

# The agent's end, however it comes, ends the program that it started (prctl(2), PR_SET_PDEATHSIG).
_LEASH = ("setpriv", "--pdeathsig", "KILL")
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_SAID_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A qcow2 image to be made. ``template`` '' = an empty one; ``full_copy``: its content instead of a reference to it."""

    capacity_bytes: int
    template: str = ""
    template_format: str = "qcow2"
    full_copy: bool = False
    encrypted: bool = False

    @property
    def backing(self) -> str:
        return "" if self.full_copy else self.template


def create_words(image: Image, target: str, *, key: int | None) -> list[str]:
    """An image of the full size, which refers to its template or holds nothing yet."""
    options = "compat=1.1"
    if image.encrypted:
        options += f",encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time={ITERATION_MS}"
    backing = ["-b", image.backing, "-F", image.template_format] if image.backing else []
    return ["create", "-q", *_secret(key), "-f", "qcow2", *backing, "-o", options, target, str(image.capacity_bytes)]


def copy_words(image: Image, target: str, *, key: int | None) -> list[str]:
    """The template's content into the new image; what lies beyond it stays empty."""
    options = f"driver=qcow2,file.driver=file,file.filename={target.replace(',', ',,')}"
    if image.encrypted:
        options += ",encrypt.key-secret=key"
    into = ["-n", "--target-is-zero", "--target-image-opts"]
    return ["convert", "-p", *_secret(key), "-f", image.template_format, *into, image.template, options]


def _secret(key: int | None) -> list[str]:
    return [] if key is None else ["--object", f"secret,id=key,file=/proc/self/fd/{key}"]


@contextmanager
def key_file(passphrase: str) -> Iterator[int | None]:
    """The passphrase as a descriptor for qemu-img, None where there is none."""
    if not passphrase:
        yield None
        return
    fd = os.memfd_create("key")
    try:
        os.write(fd, passphrase.encode())
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Said:
    """How a call of qemu-img ended; a negative status is the signal that ended it."""

    status: int
    output: bytes
    errors: str


class QemuImg:
    """Runs qemu-img. ``say`` hears its progress and, by raising, ends it; so does the time ``end`` (of time.monotonic)."""

    def __init__(self, *, say: Callable[[float], None], end: float) -> None:
        self._say = say
        self._end = end

    def run(self, words: list[str], *, key: int | None = None) -> Said:
        """Raises AgentError (driver-transient) at the end of the time. The program has ended when this returns or raises."""
        process = subprocess.Popen(
            [*_LEASH, "qemu-img", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=() if key is None else (key,),
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=BEAT)
                except subprocess.TimeoutExpired as waiting:
                    self._say(_fraction(waiting.output or b""))
                    if time.monotonic() > self._end:
                        raise AgentError("driver-transient", f"qemu-img {words[0]} did not end in time") from None
                else:
                    return Said(process.returncode, output, errors.decode(errors="replace"))
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def done(self, words: list[str], *, doing: str, key: int | None = None) -> bytes:
        """The output of a call that went well; raises the AgentError of one that did not."""
        said = self.run(words, key=key)
        if said.status != 0:
            raise failure(said, doing)
        return said.output

    def info(self, path: str, kind: str, *, doing: str) -> dict[str, Any]:
        """What the image says of itself, by its header alone."""
        found = json.loads(self.done(["info", "--output=json", "-f", kind, path], doing=doing))
        return found if isinstance(found, dict) else {}


def failure(said: Said, doing: str) -> AgentError:
    """The error for a call that failed. ``doing`` begins the sentence."""
    words = " ".join(said.errors.split()) or "qemu-img gave no reason"
    sentence = f"{doing}: {words[:_SAID_LIMIT]}"
    if _FULL.search(words):
        return AgentError("no-capacity", sentence)
    if said.status < 0:
        return AgentError("driver-transient", f"{doing}: qemu-img was ended by signal {-said.status}")
    if UNMEASURED in words:
        return AgentError("driver-transient", sentence)
    return AgentError("driver-permanent", sentence)


def _fraction(output: bytes) -> float:
    """How far qemu-img says it is, from the last of its ``(12.34/100%)``."""
    found = _PERCENT.findall(output[-256:])
    return float(found[-1]) / 100 if found else 0.0
