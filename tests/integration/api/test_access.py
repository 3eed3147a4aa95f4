"""Who may do what, by token and by socket."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.integration.api.answers import refused
from tests.live import Live

GET_ROUTES = (
    "/v1/services",
    "/v1/jobs",
    "/v1/nodes",
    "/v1/nodes/n1",
    "/v1/plans",
    "/v1/plans/small",
    "/v1/templates",
    "/v1/templates/debian",
    "/v1/ips/ranges",
    "/v1/ips/leases",
    "/v1/events",
    "/v1/messages",
    "/v1/audit",
    "/v1/audit/verify",
    "/v1/certificates",
    "/v1/certificates/public-key",
    "/v1/freeze",
    "/v1/policies",
    "/v1/forecast",
    "/v1/terminations",
    "/metrics",
    "/metrics/services",
)


@pytest.mark.parametrize("route", GET_ROUTES)
def test_nothing_is_told_without_a_token(live: Live, route: str) -> None:
    answer = live.tcp().get(route)
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "--token-file" in answer.json()["hint"]
    assert "redacted" not in answer.text


@pytest.mark.parametrize("header", [b"Bearer wrong", b"Bearer", b"Basic dTpw", b"nonsense", b"Bearer \xff"])
def test_a_wrong_token_opens_nothing_not_even_on_the_socket(live: Live, header: bytes) -> None:
    refused(live.http.get("/v1/services", headers={b"Authorization": header}), 401, "unauthenticated")


@pytest.mark.parametrize("route", GET_ROUTES)
def test_every_role_may_read(live: Live, route: str) -> None:
    for role in ("readonly", "billing", "operator", "admin"):
        assert live.tcp(live.tokens[role]).get(route).status_code == 200


def _acts() -> dict[str, Callable[[httpx.Client], httpx.Response]]:
    enrolment = {"fingerprint": "SHA256:other", "identity": "/nowhere"}
    return {
        "act": lambda http: http.post("/v1/services/nobody/check"),
        "approve": lambda http: http.post("/v1/jobs/none/approve"),
        "cancel": lambda http: http.post("/v1/jobs/none/cancel"),
        "retry": lambda http: http.post("/v1/jobs/none/retry"),
        "replay": lambda http: http.post("/v1/events/999999/replay"),
        "retry-message": lambda http: http.post("/v1/messages/none/retry"),
        "freeze": lambda http: http.put("/v1/freeze", json={"why": "test"}),
        "unfreeze": lambda http: http.delete("/v1/freeze"),
        "release": lambda http: http.post("/v1/terminations/release", json={"why": "test"}),
        "host-keys": lambda http: http.get("/v1/nodes/n1/host-keys"),
        "doctor": lambda http: http.post("/v1/nodes/none/doctor"),
        "residue": lambda http: http.post("/v1/nodes/none/residue"),
        "enrol": lambda http: http.post("/v1/nodes/none/enrol", json=enrolment),
        "machine-certificate": lambda http: http.get("/v1/machines/none/certificate"),
        "machine-log": lambda http: http.get("/v1/machines/none/log"),
        "machine-doctor": lambda http: http.post("/v1/machines/none/doctor"),
        "machine-maintenance": lambda http: http.post("/v1/machines/none/maintenance", json={"on": True, "why": "test"}),
        "machine-broken": lambda http: http.post("/v1/machines/none/broken", json={"why": "test"}),
        "machine-power": lambda http: http.post("/v1/machines/none/power", json={"on": True, "why": "test"}),
        "machine-enrol": lambda http: http.post("/v1/machines/none/enrol", json={"certificate_sha256": "ab" * 32}),
    }


ALLOWED = {
    "readonly": set[str](),
    "billing": {"act"},
    "operator": set(_acts()) - {"enrol", "machine-enrol"},
    "admin": set(_acts()),
}


@pytest.mark.parametrize("act", _acts())
@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_may_do_exactly_what_the_table_says(live: Live, role: str, act: str) -> None:
    answer = _acts()[act](live.tcp(live.tokens[role]))
    if act in ALLOWED[role]:
        assert answer.status_code in (200, 404)
    else:
        assert role in refused(answer, 403, "forbidden")["detail"]


def test_who_acted_stands_in_the_audit(live: Live) -> None:
    live.tcp(live.tokens["operator"]).put("/v1/freeze", json={"why": "who is it"})
    live.http.delete("/v1/freeze")
    first, second = live.http.get("/v1/audit", params={"limit": 2}).json()["items"]
    assert (second["what"], second["who"]) == ("freeze", "token:of-operator")
    assert first["what"] == "unfreeze"
    assert first["who"].startswith("unix:")
