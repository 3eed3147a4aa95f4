"""How much a token and an address may ask for, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.api.answers import refused
from tests.live import Live


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Live]:
    live = Live(tmp_path, limits="{token_requests_per_minute: 5, address_requests_per_minute: 8}")
    live.start()
    try:
        yield live
    finally:
        live.stop()


def test_a_token_that_asks_too_much_is_told_when_to_come_back(limited: Live) -> None:
    reader, other = limited.tcp(limited.tokens["readonly"]), limited.tcp(limited.tokens["billing"])
    assert [reader.get("/v1/plans").status_code for _ in range(5)] == [200] * 5
    answer = reader.get("/v1/plans")
    refused(answer, 429, "too-many-requests")
    assert 1 <= int(answer.headers["Retry-After"]) <= 12
    assert other.get("/v1/plans").status_code == 200
    assert limited.http.get("/v1/plans").status_code == 200


def test_an_address_that_asks_too_much_is_turned_away_before_it_is_heard(limited: Live) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2", verify=False)
    with httpx.Client(base_url=limited.url, transport=transport, timeout=30) as stranger:
        assert [stranger.get("/v1/plans").status_code for _ in range(8)] == [401] * 8
        answer = stranger.post("/v1/webhooks/shop", content=b"x" * 100)
        refused(answer, 429, "too-many-requests")
        assert int(answer.headers["Retry-After"]) >= 1
    assert [limited.tcp().get("/v1/plans").status_code for _ in range(12)] == [401] * 12
    assert limited.http.get("/v1/plans").status_code == 200
