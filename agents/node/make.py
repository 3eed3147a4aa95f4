"""Making a service's disk: beside its final name, checked, then renamed into place.

Under its final name a volume is whole, always. What a broken-off call leaves has the name of ``making_name``: the next
call for the same volume begins anew there, and whatever looks for a service's volumes finds it by the service's name.
"""

from __future__ import annotations

import errno
import os
import posixpath
import time
from contextlib import ExitStack
from typing import Any

from agents.node import files
from agents.node.call import Call
from agents.node.image import UNMEASURED, Image, QemuImg, copy_words, create_words, failure, key_file
from agents.node.protocol import AgentError

ATTEMPTS = 50
"""How often an encrypted image is begun anew where QEMU could not measure; each such try fails within a fraction of a second."""

_WIPING = ".wiping"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def making_name(name: str) -> str:
    """What the volume is called while it is made: ``orch.<service>.making.<rest>``."""
    product, service, rest = name.split(".", 2)
    return files.volume_name(f"{product}.{service}.making.{rest}")


def volume_make(call: Call) -> dict[str, Any]:
    """Make the qcow2 volume whole or not at all.

    Raises AgentError: already-exists, wrong-state (its wipe has begun), not-found (the template), no-capacity,
    driver-permanent (the template is no such image or larger), driver-transient (the time is up).
    """
    path = call.arguments["path"]
    with call.place.lock(path), files.pool_of(call.place, path) as (pool, name):
        making = making_name(files.volume_name(name))
        for there, code in ((name, "already-exists"), (name + _WIPING, "wrong-state")):
            if files.is_there(pool, there):
                raise AgentError(code, f"{there} is already there")
        end = time.monotonic() + call.arguments["seconds"]
        try:
            return _Maker(call, pool, name, making, end).make()
        except OSError as exc:
            if exc.errno in _FULL:
                raise AgentError("no-capacity", f"making {name}: {exc.strerror}") from None
            raise
        finally:
            files.remove(pool, making)


class _Maker:
    """One volume being made in the open directory ``pool``, as ``making`` until it is whole."""

    def __init__(self, call: Call, pool: int, name: str, making: str, end: float) -> None:
        given = call.arguments
        self._call, self._pool, self._name, self._making = call, pool, name, making
        self._target = f"{posixpath.dirname(given['path'])}/{making}"
        self._doing = f"making {name}"
        self._passphrase: str = given["passphrase"]
        self._image = Image(
            capacity_bytes=given["capacity_bytes"],
            template=given["template"],
            template_format=given["template_format"],
            full_copy=given["full_copy"] and bool(given["template"]),
            encrypted=bool(self._passphrase),
        )
        self._tool = QemuImg(say=lambda fraction: call.progress(fraction, self._doing), end=end)

    def make(self) -> dict[str, Any]:
        if self._image.template:
            self._require_template()
        with key_file(self._passphrase) as key:
            fd = self._created(key)
            try:
                if self._image.full_copy:
                    doing = f"copying the template {self._image.template} to {self._name}"
                    self._tool.done(copy_words(self._image, self._target, key=key), doing=doing, key=key)
                self._require_as_asked()
                os.fsync(fd)
                self._put_in_place()
                return self._report(fd)
            finally:
                os.close(fd)

    def _require_template(self) -> None:
        image = self._image
        with files.pool_of(self._call.place, image.template) as (pool, name):
            fd = files.open_in(pool, name)
            if fd is None:
                raise AgentError("not-found", f"the template {image.template} is not there")
            os.close(fd)
        doing = f"reading the template {image.template} as {image.template_format}"
        if self._tool.info(image.template, image.template_format, doing=doing)["virtual-size"] > image.capacity_bytes:
            raise AgentError("driver-permanent", f"{self._name} would be smaller than its template {image.template}")

    def _created(self, key: int | None) -> int:
        """The new image of the full size, open, with nothing copied into it yet."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(ATTEMPTS):
            files.remove(self._pool, self._making)
            with ExitStack() as unless_done:
                fd = os.open(self._making, flags, 0o600, dir_fd=self._pool)
                unless_done.callback(os.close, fd)
                said = self._tool.run(create_words(self._image, self._target, key=key), key=key)
                if said.status == 0:
                    unless_done.pop_all()
                    return fd
            if UNMEASURED not in said.errors:
                break
        raise failure(said, self._doing)

    def _require_as_asked(self) -> None:
        """Whether it became what was asked for, by what is written in it. Raises AgentError (driver-permanent)."""
        image, told = self._image, self._tool.info(self._target, "qcow2", doing=self._doing)
        found = {
            "size": told["virtual-size"],
            "encrypted": told.get("encrypted", False),
            "backing file": told.get("full-backing-filename", ""),
            "its format": told.get("backing-filename-format", ""),
        }
        wanted = {
            "size": image.capacity_bytes,
            "encrypted": image.encrypted,
            "backing file": image.backing,
            "its format": image.template_format if image.backing else "",
        }
        wrong = [f"{word} {found[word]!r} instead of {wanted[word]!r}" for word in wanted if found[word] != wanted[word]]
        if wrong:
            raise AgentError("driver-permanent", f"{self._name} did not become what was asked for: {', '.join(wrong)}")

    def _put_in_place(self) -> None:
        try:
            files.rename_new(self._pool, self._making, self._name)
        except FileExistsError:
            raise AgentError("already-exists", f"{self._name} is already there") from None
        except FileNotFoundError:
            raise AgentError("driver-transient", f"{self._name} was taken away while it was made") from None
        os.fsync(self._pool)

    def _report(self, fd: int) -> dict[str, Any]:
        return {
            "path": self._call.arguments["path"],
            "capacity_bytes": self._image.capacity_bytes,
            "allocated_bytes": os.fstat(fd).st_blocks * 512,
            "encrypted": self._image.encrypted,
            "backing_path": self._image.backing,
        }
