"""What qemu-img is told when a volume is made, and what its failures mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.node.image import Image, Said, copy_words, create_words, failure, key_file
from agents.node.make import making_name
from agents.node.protocol import AgentError

TARGET = "/pool/orch.s1.making.root.j1.qcow2"
KEY = ["--object", "secret,id=key,file=/proc/self/fd/7"]
SEALED = "compat=1.1,encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"
OVERLAY = ["-b", "/pool/debian.qcow2", "-F", "qcow2"]


def image(**changes: Any) -> Image:
    return Image(**{"capacity_bytes": 1024, "template": "/pool/debian.qcow2", **changes})


@pytest.mark.parametrize(
    ("wanted", "key", "words"),
    [
        (image(encrypted=True), 7, [*KEY, "-f", "qcow2", *OVERLAY, "-o", SEALED]),
        (image(), None, ["-f", "qcow2", *OVERLAY, "-o", "compat=1.1"]),
        (image(template_format="raw"), None, ["-f", "qcow2", "-b", "/pool/debian.qcow2", "-F", "raw", "-o", "compat=1.1"]),
        (image(full_copy=True, encrypted=True), 7, [*KEY, "-f", "qcow2", "-o", SEALED]),
        (image(template=""), None, ["-f", "qcow2", "-o", "compat=1.1"]),
    ],
)
def test_an_image_is_made_with_its_options(wanted: Image, key: int | None, words: list[str]) -> None:
    assert create_words(wanted, TARGET, key=key) == ["create", "-q", *words, TARGET, "1024"]


@pytest.mark.parametrize(
    ("wanted", "key", "secret", "options"),
    [
        (image(full_copy=True), None, [], f"driver=qcow2,file.driver=file,file.filename={TARGET}"),
        (
            image(full_copy=True, encrypted=True),
            7,
            KEY,
            f"driver=qcow2,file.driver=file,file.filename={TARGET},encrypt.key-secret=key",
        ),
    ],
)
def test_a_template_is_copied_into_the_image_that_is_there(
    wanted: Image, key: int | None, secret: list[str], options: str
) -> None:
    into = ["-f", "qcow2", "-n", "--target-is-zero", "--target-image-opts", "/pool/debian.qcow2", options]
    assert copy_words(wanted, TARGET, key=key) == ["convert", "-p", *secret, *into]


def test_a_comma_in_a_path_begins_no_option() -> None:
    words = copy_words(image(full_copy=True), "/po,ol/x", key=None)
    assert words[-1].endswith("file.filename=/po,,ol/x")


def test_a_passphrase_is_in_memory_only_and_read_from_its_beginning() -> None:
    with key_file("0123456789abcdef") as fd:
        assert fd is not None
        path = Path(f"/proc/self/fd/{fd}")
        assert str(path.readlink()).startswith("/memfd:")
        assert path.read_text() == "0123456789abcdef"
    with key_file("") as none:
        assert none is None


@pytest.mark.parametrize(
    ("status", "errors", "code"),
    [
        (1, "qemu-img: x: Could not write qcow2 header: No space left on device", "no-capacity"),
        (1, "qemu-img: x: Could not resize image: Disk quota exceeded", "no-capacity"),
        (1, "qemu-img: x: Unable to get accurate CPU usage", "driver-transient"),
        (-9, "", "driver-transient"),
        (1, "qemu-img: Could not open 'x': Image is not in qcow2 format", "driver-permanent"),
        (127, "setpriv: failed to execute qemu-img: No such file or directory", "driver-permanent"),
        (1, "", "driver-permanent"),
    ],
)
def test_a_failure_is_told_apart(status: int, errors: str, code: str) -> None:
    error = failure(Said(status, b"", errors), "making orch.s1.root.j1.qcow2")
    assert error.code == code
    assert error.message.startswith("making orch.s1.root.j1.qcow2: ")
    assert len(error.message) < 600


def test_a_volume_that_is_being_made_has_a_name_of_its_service() -> None:
    assert making_name("orch.s1.root.j1.qcow2") == "orch.s1.making.root.j1.qcow2"


@pytest.mark.parametrize("name", ["orch.s1.a.b.c.d", "orch.s1.root.j 1"])
def test_a_volume_whose_half_made_name_nothing_would_find_is_refused(name: str) -> None:
    with pytest.raises(AgentError):
        making_name(name)
