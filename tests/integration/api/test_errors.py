"""What is asked wrongly, and what needs no token."""

from __future__ import annotations

import pytest

from tests.integration.api.answers import refused
from tests.live import Live


@pytest.mark.parametrize("key", [b"a b", b"x" * 201, b"\xfc"])
def test_a_key_that_is_none_is_refused(live: Live, key: bytes) -> None:
    refused(live.http.post("/v1/services/any/check", headers={b"Idempotency-Key": key}), 400, "request-invalid")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1/nothing", 404, "not-found"),
        ("PATCH", "/v1/services", 405, "request-invalid"),
        ("GET", "/v1/services/nobody", 404, "not-found"),
        ("GET", "/v1/services/..%2f..%2fetc", 404, "not-found"),
        ("GET", "/v1/services/a%00b", 400, "request-invalid"),
        ("GET", "/v1/services?limit=0", 400, "request-invalid"),
        ("GET", "/v1/services?limit=99999999999999999999999", 400, "request-invalid"),
        ("GET", "/v1/services?state=unheard", 400, "request-invalid"),
        ("GET", "/v1/services?plan=%00", 400, "request-invalid"),
        ("GET", "/v1/services?plann=small", 400, "request-invalid"),
        ("POST", "/v1/services/s/terminate?dryrun=true", 400, "request-invalid"),
        ("POST", "/v1/services/s/stop?dry_run=true&dry_run=false", 400, "request-invalid"),
        ("POST", "/v1/services/s/terminate?dry_run=perhaps", 400, "request-invalid"),
        ("GET", "/v1/events?after=x", 400, "request-invalid"),
        ("GET", f"/v1/events?after={'9' * 5000}", 400, "request-invalid"),
        ("GET", "/v1/events/99999999999999999999999", 400, "request-invalid"),
        ("GET", "/v1/jobs/none", 404, "not-found"),
        ("GET", "/v1/nodes/none", 404, "not-found"),
        ("GET", "/v1/plans/none", 404, "not-found"),
        ("GET", "/v1/templates/none", 404, "not-found"),
        ("GET", "/v1/certificates/none", 404, "not-found"),
        ("GET", "/v1/ips/leases/none", 404, "not-found"),
        ("POST", "/v1/services/s/explode", 400, "request-invalid"),
        ("POST", "/v1/nodes/n1/enrol", 400, "request-invalid"),
        ("PUT", "/v1/freeze", 400, "request-invalid"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_problem(live: Live, method: str, path: str, status: int, code: str) -> None:
    assert refused(live.http.request(method, path), status, code)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("GET", "/v1/jobs/none", "`orchestrator job list` shows what there is"),
        ("POST", "/v1/jobs/none/approve", "`orchestrator job list` shows what there is"),
        ("GET", "/v1/events/999999", "`orchestrator event list` shows what there is"),
        ("POST", "/v1/services/nobody/stop", "`orchestrator service list` shows what there is"),
        ("GET", "/v1/certificates/none", "`orchestrator certificate list` shows what there is"),
        ("GET", "/v1/ips/leases/none", "`orchestrator ip list` shows what there is"),
    ],
)
def test_who_asks_for_what_is_not_there_is_told_where_to_look(live: Live, method: str, path: str, hint: str) -> None:
    assert refused(live.http.request(method, path), 404, "not-found")["hint"] == hint


def test_who_is_refused_is_told_what_to_look_at(live: Live) -> None:
    job = live.provisioned("hinted")
    again = refused(live.http.post(f"/v1/jobs/{job}/approve"), 409, "wrong-state")
    assert again["hint"] == f"`orchestrator job show {job}` shows its state"
    live.send("order.created", "only-ordered", client_id="c1", plan="small")
    stopped = refused(live.http.post("/v1/services/only-ordered/stop"), 409, "refused")
    assert stopped["hint"] == "`orchestrator service show only-ordered` shows its state"
    assert stopped["detail"].endswith("]"), "the rule"


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        ("PUT", "/v1/freeze", {"why": "x", "whi": 1}, "body.whi: unknown field 'whi'; did you mean 'why'?"),
        ("PUT", "/v1/freeze", {}, "body.why: 'why' is missing"),
        ("PUT", "/v1/freeze", {"why": ""}, "body.why: must not be empty"),
        ("PUT", "/v1/freeze", {"why": "a\x07"}, "body.why: has characters that are not allowed in it"),
        ("POST", "/v1/services/s/suspend", {"reason": "x", "hold": "anger"}, "body.hold: must be 'nonpayment', "),
        ("POST", "/v1/services/s/suspend", {"reeson": "x"}, "body.reeson: unknown field 'reeson'; did you mean 'reason'?"),
        ("POST", "/v1/services/a%20b/stop", {}, "path.service_id: must be 1 to 48 letters, digits"),
        ("POST", "/v1/services/s/explode", {}, "path.action: must be 'provision', "),
        ("GET", "/v1/services?limit=ten", None, "query.limit: must be a whole number, got 'ten'"),
        ("GET", "/v1/services?limit=501", None, "query.limit: must be at most 500, got '501'"),
        ("GET", "/v1/services?state=activ", None, "query.state: must be 'ordered', "),
        ("GET", "/v1/services?plann=small", None, "query.plann: unknown parameter; did you mean 'plan'?: this route takes "),
        ("POST", "/v1/nodes/n1/enrol", {"fingerprint": "ab:cd", "identity": "/k"}, "body.fingerprint: must be a fingerprint as "),
    ],
)
def test_a_fault_of_a_request_is_told_in_our_words(live: Live, method: str, path: str, body: object, detail: str) -> None:
    assert refused(live.http.request(method, path, json=body), 400, "request-invalid")["detail"].startswith(detail)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b'{"why": 7}', b'{"why": ""}', b'{"why": "a", "x": 1}', b"null"])
def test_a_body_that_does_not_fit_is_refused(live: Live, body: bytes) -> None:
    answer = live.http.put("/v1/freeze", content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "request-invalid")


def test_health_needs_no_token_and_tells_nothing_else(live: Live) -> None:
    assert live.tcp().get("/healthz").json() == {"status": "ok"}
    assert live.tcp().get("/readyz").json() == {"status": "ready"}
