from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.backups.copies import ONLY_KEYS, KnownCopy, copies_of_keys, copies_of_state
from orchestrator.domain.backups.state import HeldCopy
from orchestrator.domain.certificates import (
    GONE,
    KEY_GONE,
    NOT_FOUND,
    EndedBackups,
    ResidueCheck,
    Verdict,
    Wipe,
    WipedVolume,
    build,
    certificate_id,
    ended,
    key_id,
    payload,
    signed,
    utc_text,
)
from orchestrator.domain.errors import PermanentDriverError, RequestError
from orchestrator.drivers.local.certificates import read_public_key, verify_certificate

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)

REPORT: dict[str, Any] = {
    "path": "/pool/orch.s1.root.j0.qcow2",
    "method": "crypto-erase",
    "medium": {"device": "/dev/vdb", "filesystem": "ext4", "rotational": False, "model": ""},
    "allocated_bytes": 1 << 30,
    "bytes_overwritten": 2 << 20,
    "extents": 4,
    "verified": True,
    "samples": [{"device_offset": 4096, "length": 4096, "sha256_before": "aa", "sha256_after": "bb"}],
    "limits": ["blocks freed before the wipe were not reached"],
    "started_at": "2026-03-01T11:58:00Z",
    "finished_at": "2026-03-01T11:59:00Z",
}


def wipe(**changes: Any) -> Wipe:
    given: dict[str, Any] = {
        "certificate_id": certificate_id("j1"),
        "provider": "tnet",
        "service_id": "s1",
        "client_id": "c7",
        "guest": "orch.s1",
        "job_id": "j1",
        "asked_by": "event whmcs/evt_9",
        "reason": "überfällig",
        "approved_by": "the brakes: below 10 terminations an hour",
        "volumes": (WipedVolume.from_report(REPORT, name="orch.s1.root.j0.qcow2", node="n1"),),
        "residue": (ResidueCheck(node="n1", checked_at=NOON, removed=("/var/log/libvirt/qemu/orch.s1.log",)),),
        "issued_at": NOON,
        "keys_destroyed": ("4f0c",),
    }
    return Wipe(**{**given, **changes})


def sign(certificate: dict[str, Any], key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    own = key_id(key.public_key().public_bytes_raw())
    return signed(certificate, key_id=own, value=base64.b64encode(key.sign(payload(certificate))).decode())


def issued(**changes: Any) -> dict[str, Any]:
    return sign(build(wipe(**changes), public_key=PUBLIC))


def check(certificate: object, pinned: bytes | None = None) -> Verdict:
    return verify_certificate(json.dumps(certificate, indent=2).encode(), pinned)


def test_a_signed_certificate_holds_without_anything_but_itself() -> None:
    verdict = check(issued())
    assert verdict.ok
    assert verdict.key_id == key_id(PUBLIC)
    assert not verdict.pinned
    assert any("comparing key" in sentence for sentence in verdict.sentences)


def test_with_the_right_key_pinned_it_says_so_and_with_another_it_fails() -> None:
    assert check(issued(), PUBLIC).pinned
    refuted = check(issued(), OTHER.public_bytes_raw())
    assert not refuted.ok
    assert "not with the expected key" in refuted.sentences[0]


def test_it_names_what_the_issue_asks_for() -> None:
    certificate = issued()
    volume = certificate["volumes"][0]
    assert (volume["bytes"], volume["bytes_overwritten"], volume["method"]) == (1 << 30, 2 << 20, "crypto-erase")
    assert volume["medium"]["device"] == "/dev/vdb"
    assert volume["limits"] == REPORT["limits"]
    assert volume["samples"] == REPORT["samples"]
    assert (volume["started_at"], volume["finished_at"]) == (REPORT["started_at"], REPORT["finished_at"])
    assert (certificate["asked_by"], certificate["approved_by"]) == ("event whmcs/evt_9", wipe().approved_by)
    assert certificate["nodes"] == ["n1"]
    assert certificate["residue"]["clean"] is True
    assert certificate["issued_at"] == "2026-03-01T12:00:00Z"


def test_only_canonical_values_are_in_it() -> None:
    assert payload(issued()) == payload(json.loads(json.dumps(issued())))


def _walk(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in _walk(item, (*path, key))]
    if isinstance(value, list):
        return [p for n, item in enumerate(value) for p in _walk(item, (*path, n))]
    return [path]


@pytest.mark.parametrize("path", _walk(issued()), ids=lambda path: ".".join(str(part) for part in path))
def test_no_value_anywhere_can_be_changed(path: tuple[Any, ...]) -> None:
    certificate = issued()
    place: Any = certificate
    for part in path[:-1]:
        place = place[part]
    old = place[path[-1]]
    place[path[-1]] = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}x"
    assert not check(certificate).ok
    assert not check(certificate, PUBLIC).ok


@pytest.mark.parametrize("member", sorted(issued()))
def test_no_member_can_be_left_out_or_made_another_type(member: str) -> None:
    certificate = issued()
    del certificate[member]
    assert not check(certificate).ok
    strangers: tuple[Any, ...] = (None, 3.5, [], {}, "text", True)
    for foreign in strangers:
        if foreign != issued()[member]:
            assert not check({**issued(), member: foreign}).ok


def test_no_member_can_be_added() -> None:
    assert not check({**issued(), "note": "all is well"}).ok


def test_a_forger_with_a_key_of_his_own_is_found_out_by_the_pinned_key_only() -> None:
    forger = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    forged = sign(build(wipe(), public_key=forger.public_key().public_bytes_raw()), forger)
    assert check(forged).ok
    assert not check(forged, PUBLIC).ok


def test_a_claimed_key_id_that_is_not_the_embedded_keys_is_refused() -> None:
    certificate = build(wipe(), public_key=PUBLIC)
    certificate["key"]["id"] = key_id(OTHER.public_bytes_raw())
    assert "key id" in check(sign(certificate)).sentences[0]


def test_what_was_left_behind_and_what_was_not_read_back_is_said() -> None:
    left = ResidueCheck(node="n1", checked_at=NOON, found=("/var/lib/libvirt/qemu/nvram/orch.s1_VARS.fd",))
    unread = WipedVolume.from_report({**REPORT, "verified": False}, name="v", node="n1")
    verdict = check(issued(residue=(left,), volumes=(unread,)))
    assert verdict.ok
    assert any("residue" in sentence for sentence in verdict.sentences)
    assert any("read-back" in sentence for sentence in verdict.sentences)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"format": "orchestrator/wipe-certificate", "version": 2}',
        b'{"format": "orchestrator/wipe-certificate", "version": 1}',
        json.dumps(issued()).replace('"service": "s1"', '"service": "s2", "service": "s1"').encode(),
        json.dumps(issued()).encode() + b" " * (17 << 20),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_anything_else_is_refuted_with_a_sentence(data: bytes) -> None:
    verdict = verify_certificate(data)
    assert not verdict.ok
    assert all(verdict.sentences)


@given(st.binary(max_size=200))
def test_noise_never_raises(data: bytes) -> None:
    assert not verify_certificate(data).ok


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(issued())), JSON, st.booleans())
def test_hostile_members_never_raise(member: str, value: Any, inside: bool) -> None:
    certificate = copy.deepcopy(issued())
    if inside and isinstance(certificate[member], dict):
        for name in certificate[member]:
            certificate[member][name] = value
    else:
        certificate[member] = value
    verdict = check(certificate)
    assert verdict.ok == (certificate == issued() and json.dumps(certificate) == json.dumps(issued()))


@pytest.mark.parametrize("missing", ["path", "method", "medium", "allocated_bytes", "bytes_overwritten", "samples", "limits"])
def test_a_report_that_lacks_something_gives_no_certificate(missing: str) -> None:
    with pytest.raises(PermanentDriverError, match=missing):
        WipedVolume.from_report({k: v for k, v in REPORT.items() if k != missing}, name="v", node="n1")


def test_a_naive_time_is_refused_and_another_zone_is_written_in_utc() -> None:
    with pytest.raises(ValueError, match="naive"):
        utc_text(NOON.replace(tzinfo=None))
    assert utc_text(NOON.astimezone(timezone(timedelta(hours=7)))) == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    "write",
    [
        lambda: KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        lambda: base64.b64encode(PUBLIC) + b"\n",
    ],
)
def test_a_pinned_key_is_read_from_pem_and_from_base64(tmp_path: Path, write: Callable[[], bytes]) -> None:
    file = tmp_path / "signing.pub"
    file.write_bytes(write())
    assert read_public_key(file) == PUBLIC


@pytest.mark.parametrize("content", [b"", b"AAAA", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "signing.pub"
    file.write_bytes(content)
    with pytest.raises(RequestError):
        read_public_key(file)
    with pytest.raises(RequestError):
        read_public_key(tmp_path / "missing")


ENDED = EndedBackups(
    generation=1, target="main", state="destroyed", snapshots=("ab" * 32,), key_destroyed_at=NOON, why="the service ended: job j1"
)


def test_what_was_destroyed_of_the_backups_and_what_is_left_is_said() -> None:
    archive = KnownCopy(kind="archive", id="orch.s1.archive.j1", kept_at=NOON, until=NOON, bytes=5, says="Snapshot ab.")
    keys = copies_of_keys([NOON])
    lost = replace(ENDED, generation=2, state="given-up", snapshots=())
    certificate = issued(backups=(ENDED, lost), copies=(archive, *keys))
    assert [each["seen"] for each in certificate["backups"]] == [[GONE, KEY_GONE], [NOT_FOUND, KEY_GONE]]
    said = check(certificate).sentences
    since = "and its key is destroyed since 2026-03-01T12:00:00Z"
    assert f"backups, generation 1 at main: its repository is destroyed, {since}" in said
    assert f"backups, generation 2 at main: its repository was not found, {since}" in said
    assert "a copy is still kept: orch.s1.archive.j1, until 2026-03-01T12:00:00Z at least. Snapshot ab." in said
    assert any("a copy of keys may be kept" in sentence and ONLY_KEYS in sentence for sentence in said)


def test_copies_of_the_controllers_state_since_the_first_backup_are_named_until_they_go() -> None:
    held = [
        HeldCopy(id=name, target="away", location="/away/_controller.1", taken_at=NOON + days * DAY, expires_at=NOON + 9 * DAY)
        for name, days in (("before", -1), ("since", 1))
    ]
    (copy,) = copies_of_state(held, NOON)
    assert (copy.id, copy.reached_from) == ("since", "target away")
    said = check(issued(copies=(copy,))).sentences
    assert any(
        each.startswith("a copy of the controller's state is kept: since, until 2026-03-10T12:00:00Z at the latest.")
        for each in said
    )


def test_one_from_before_there_were_backups_holds_as_it_did() -> None:
    older = build(wipe(), public_key=PUBLIC)
    del older["backups"], older["copies"]
    verdict = check(sign(older))
    assert verdict.ok
    assert not [sentence for sentence in verdict.sentences if "backups" in sentence]


@pytest.mark.parametrize("value", [{}, [1], [{"generation": 1}], [{**ended(ENDED), "snapshots": "ab"}]])
def test_a_section_on_backups_that_is_malformed_is_refuted(value: Any) -> None:
    verdict = check(sign({**build(wipe(), public_key=PUBLIC), "backups": value}))
    assert not verdict.ok
    assert "backup" in verdict.sentences[0]
