"""The file of a private key: what is none is named, and never read without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.drivers.ssh import ensure_identity
from orchestrator.drivers.ssh.connection import KEY_LIMIT, load_key


def test_a_key_is_loaded_through_a_link_too(tmp_path: Path) -> None:
    public = ensure_identity(tmp_path / "key")
    (tmp_path / "link").symlink_to("key")
    assert load_key(tmp_path / "link").get_base64() == public.split()[1]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
        ("directory", "not a regular file"),
        ("large", f"more than {KEY_LIMIT} bytes"),
        ("text", "cannot be used"),
        ("nothing", "there is no private key"),
    ],
)
def test_what_is_no_key_is_named_at_once(kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/null")  # as /dev/zero, but harmless should this fail
    elif kind == "directory":
        path.mkdir()
    elif kind == "large":
        path.write_bytes(b"x" * (KEY_LIMIT + 1))
    elif kind == "text":
        path.write_text("no key")
    with pytest.raises(PermanentDriverError, match=said) as caught:
        load_key(path)
    assert str(path) in caught.value.message
