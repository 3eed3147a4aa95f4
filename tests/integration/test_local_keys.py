from __future__ import annotations

import base64
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from orchestrator.domain.errors import ConfigError, PermanentDriverError
from orchestrator.drivers.local.certificates import read_public_key, signature_holds
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.ports.secrets import Signature

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEWER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    init_keys(tmp_path / "state")
    return tmp_path / "state"


def write(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_init_makes_private_files_and_a_public_key_to_publish(state: Path) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (state / "keys").iterdir()}
    assert modes == {"master.key": 0o600, "signing.key": 0o600, "signing.pub": 0o644}
    assert stat.S_IMODE((state / "keys").stat().st_mode) == 0o700
    assert read_public_key(state / "keys" / "signing.pub") == LocalSecrets(state, {}).public_key()


def test_init_again_keeps_every_key(state: Path) -> None:
    before = {file.name: file.read_bytes() for file in (state / "keys").iterdir()}
    init_keys(state)
    assert {file.name: file.read_bytes() for file in (state / "keys").iterdir()} == before


def test_several_that_init_at_once_agree_on_one_key(tmp_path: Path) -> None:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(init_keys(tmp_path / "state"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ids) == 6
    assert len(set(ids)) == 1
    assert LocalSecrets(tmp_path / "state", {}).sign(b"x").key_id == ids[0]


def test_a_lost_master_key_is_never_replaced_silently(state: Path) -> None:
    (state / "keys" / "master.key").unlink()
    with pytest.raises(ConfigError, match=r"master\.key is missing"):
        init_keys(state)


def test_another_master_key_does_not_open_the_signing_key(state: Path, tmp_path: Path) -> None:
    init_keys(tmp_path / "other")
    (state / "keys" / "master.key").write_bytes((tmp_path / "other" / "keys" / "master.key").read_bytes())
    with pytest.raises(ConfigError, match="cannot be opened"):
        LocalSecrets(state, {})


def test_the_private_key_lies_nowhere_in_the_clear(state: Path) -> None:
    secrets = LocalSecrets(state, {})
    wrapped = (state / "keys" / "signing.key").read_bytes()
    private = secrets.unwrap(wrapped, context="orchestrator/signing-key/1")
    assert len(private) == 32
    assert private not in wrapped


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610])
@pytest.mark.parametrize("name", ["master.key", "signing.key"])
def test_a_key_file_that_others_could_use_is_refused_with_the_mend(state: Path, name: str, mode: int) -> None:
    (state / "keys" / name).chmod(mode)
    with pytest.raises(ConfigError) as caught:
        LocalSecrets(state, {})
    assert f"{mode:04o}" in caught.value.message
    assert f"chmod 600 {state / 'keys' / name}" in caught.value.hint


def test_a_key_file_of_another_user_is_refused(state: Path) -> None:
    os.chown(state / "keys" / "master.key", 65534, -1)
    os.chmod(state / "keys" / "master.key", 0o600)  # noqa: PTH101 - beside chown, which has no form of Path
    if os.geteuid() == 65534:
        os.chown(state / "keys" / "master.key", 0, -1)
    with pytest.raises(ConfigError, match="another user"):
        LocalSecrets(state, {})


def test_without_init_the_way_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        LocalSecrets(tmp_path, {})
    assert "orchestrator init" in caught.value.hint


@pytest.mark.parametrize("content", ["", "nonsense", "orchestrator-master-key-1:", "orchestrator-master-key-1:AAAA"])
def test_a_damaged_master_key_is_refused(state: Path, content: str) -> None:
    (state / "keys" / "master.key").write_text(content)
    with pytest.raises(ConfigError, match="does not hold a master key"):
        LocalSecrets(state, {})


def test_a_state_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state" / "keys").mkdir(parents=True)
    (tmp_path / "state" / "keys").chmod(0o777)
    with pytest.raises(ConfigError, match="other users"):
        init_keys(tmp_path / "state")


def test_signatures_are_ed25519_and_verify_with_the_public_key_alone(state: Path) -> None:
    secrets = LocalSecrets(state, {})
    signature = secrets.sign(b"payload")
    assert secrets.verify(b"payload", signature)
    assert signature_holds(secrets.public_key(), b"payload", base64.b64decode(signature.value))
    Ed25519PublicKey.from_public_bytes(secrets.public_key()).verify(base64.b64decode(signature.value), b"payload")


@pytest.mark.parametrize(
    "alter",
    [
        lambda s: Signature(key_id="0" * 16, value=s.value),
        lambda s: Signature(key_id=s.key_id, value=base64.b64encode(bytes(64)).decode()),
        lambda s: Signature(key_id=s.key_id, value=s.value[:-4]),
        lambda s: Signature(key_id=s.key_id, value="not base64!"),
        lambda s: Signature(key_id=s.key_id, value=""),
        lambda s: Signature(key_id=s.key_id, value="ü"),
    ],
)
def test_any_other_signature_is_none(state: Path, alter: Callable[[Signature], Signature]) -> None:
    secrets = LocalSecrets(state, {})
    assert not secrets.verify(b"payload", alter(secrets.sign(b"payload")))
    assert not secrets.verify(b"other payload", secrets.sign(b"payload"))


def test_what_is_wrapped_opens_after_a_restart_and_only_in_its_context(state: Path) -> None:
    wrapped = LocalSecrets(state, {}).wrap(b"key of s1", context="backup/s1")
    assert b"key of s1" not in wrapped
    assert LocalSecrets(state, {}).unwrap(wrapped, context="backup/s1") == b"key of s1"
    with pytest.raises(PermanentDriverError):
        LocalSecrets(state, {}).unwrap(wrapped, context="backup/s2")


def test_the_same_secret_is_wrapped_differently_each_time(state: Path) -> None:
    secrets = LocalSecrets(state, {})
    assert secrets.wrap(b"x", context="c") != secrets.wrap(b"x", context="c")


def test_every_altered_byte_of_a_wrapped_secret_shows(state: Path) -> None:
    secrets = LocalSecrets(state, {})
    wrapped = secrets.wrap(b"key", context="c")
    for position in range(len(wrapped)):
        altered = bytearray(wrapped)
        altered[position] ^= 1
        with pytest.raises(PermanentDriverError):
            secrets.unwrap(bytes(altered), context="c")
    for short in (b"", wrapped[:1], wrapped[:13], wrapped[:-1]):
        with pytest.raises(PermanentDriverError):
            secrets.unwrap(short, context="c")


def test_several_webhook_secrets_count_at_once_and_a_rotation_needs_no_restart(state: Path, tmp_path: Path) -> None:
    new, old = write(tmp_path / "new", NEWER + "\n"), write(tmp_path / "old", SECRET)
    secrets = LocalSecrets(state, {"whmcs": [new, old]})
    assert secrets.webhook_secrets("whmcs") == (NEWER, SECRET)
    assert secrets.webhook_secrets("unknown") == ()
    write(new, SECRET)
    assert secrets.webhook_secrets("whmcs") == (SECRET, SECRET)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "correct horse battery staple",
        "whsec_",
        "whsec_!!!",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        SECRET[6:],
        SECRET + "\n" + NEWER,
    ],
)
def test_what_is_no_webhook_secret_is_refused_without_being_shown(state: Path, tmp_path: Path, content: str) -> None:
    file = write(tmp_path / "secret", content)
    with pytest.raises(ConfigError) as caught:
        LocalSecrets(state, {"whmcs": [file]})
    assert len(content) < 8 or content not in f"{caught.value} {caught.value.details}"


def test_an_open_missing_or_strange_secret_file_is_refused(state: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for file, sentence in (
        (write(tmp_path / "open", SECRET, 0o644), "other users"),
        (tmp_path / "missing", "no file"),
        (tmp_path / "fifo", "no plain file"),
        (tmp_path, "no plain file"),
        (write(tmp_path / "large", "x" * 70_000), "larger"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            LocalSecrets(state, {"whmcs": [file]})
