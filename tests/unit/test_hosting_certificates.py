"""Certificates of sites: until when they are valid, and which of a backup comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.node.hosting import certificates
from agents.node.hosting.layout import Home
from tests.unit.account_files import account, put


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


# Signs itself, P-256, serial number 7, from 2026-01-01 to 2036-01-01.
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBAzCBq6ADAgECAgEHMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAWEwHhcNMjYw
MTAxMDAwMDAwWhcNMzYwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFhMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEy+cQ+H4ho+HqnkbSvbvBRe5oZj2CnXYAw8CdVmMa
HNnhTF7EBp0PPIaqREjFUKdYsvJsi1nvEDKh2PYvgEanATAKBggqhkjOPQQDAgNH
ADBEAiA9GiMCYCdebi5eE146kiVCJ3ty8J0nZpYR1gt5JmKswwIgTodWBlNT2EqW
+WibwjGtV1bpf0DsCYzYggAMDKWqEa8=
-----END CERTIFICATE-----
"""


def test_the_end_of_a_certificate_is_read() -> None:
    assert certificates.valid_until(CERTIFICATE) == datetime(2036, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        CERTIFICATE[:200],
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_certificate_has_no_end(text: str) -> None:
    assert certificates.valid_until(text) is None


LATER, OURS = datetime(2027, 1, 1, tzinfo=UTC), "-----BEGIN CERTIFICATE-----\nc2VsZi1zaWduZWQ=\n-----END CERTIFICATE-----\n"


PACKED = {"name": "shop", "domains": ["shop.example", "www.shop.example"], "certificate": CERTIFICATE, "key": "the key"}


def shown(home: Home) -> tuple[str, str]:
    return (home.tls / "shop.crt").read_text(), (home.tls / "shop.key").read_text()


def test_a_packed_certificate_comes_back_in_place_of_one_that_signs_itself_and_that_can_be_undone(home: Home) -> None:
    put(home.tls, "shop.crt", OURS)
    put(home.tls, "shop.key", "another key")
    before = certificates.bring_back(home, PACKED, ["shop.example"], LATER)
    assert shown(home) == (CERTIFICATE, "the key")
    assert certificates.bring_back(home, PACKED, ["shop.example"], LATER) == {}
    certificates.put_back(before)
    assert shown(home) == (OURS, "another key")


@pytest.mark.parametrize(
    ("packed", "domains", "now"),
    [
        (PACKED, ["shop.example", "new.example"], LATER),
        (PACKED, ["shop.example"], datetime(2036, 1, 2, tzinfo=UTC)),
        ({**PACKED, "key": ""}, ["shop.example"], LATER),
        ({**PACKED, "certificate": OURS}, ["shop.example"], LATER),
    ],
    ids=["not of all domains", "no more valid", "no key", "signs itself"],
)
def test_a_packed_certificate_that_is_of_no_use_does_not_come_back(
    home: Home, packed: dict[str, Any], domains: list[str], now: datetime
) -> None:
    put(home.tls, "shop.crt", OURS)
    put(home.tls, "shop.key", "another key")
    assert certificates.bring_back(home, packed, domains, now) == {}
    assert shown(home) == (OURS, "another key")


def test_a_certificate_that_was_given_since_stays(home: Home) -> None:
    given = CERTIFICATE.replace("MIIBAzCB", "MIIBAzCC")
    put(home.tls, "shop.crt", given)
    put(home.tls, "shop.key", "the newer key")
    assert certificates.bring_back(home, PACKED, ["shop.example"], LATER) == {}
    assert shown(home) == (given, "the newer key")
