"""Holds, complaints, evidence and permissions over HTTP and on the command line."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import audit
from tests.integration.api.answers import refused
from tests.live import Live
from tests.served import Served

FILE = bytes(range(256)) * 4096  # 1 MiB, as much as is taken


def attached(content: bytes = FILE, name: str = "log.txt") -> dict[str, str]:
    return {"name": name, "content": base64.b64encode(content).decode()}


def abuse_policy(directory: Path) -> None:
    (directory / "policies").mkdir()
    (directory / "policies" / "default.yaml").write_text(
        """
name: default
provider: Test Hosting
overdue:
  forbids:
    - {acts: [restore, backup, downgrade], clause: "7"}
conduct:
  abuse: {effects: [suspend, terminate], evidence_to_customer: true, clause: "8"}
  copyright: {cease: 72 h, effect: limit, waivable: true, clause: "9"}
""",
        encoding="utf-8",
    )
    (directory / "plans").mkdir()
    (directory / "plans" / "tiny.yaml").write_text(
        "{name: tiny, kind: vps, vcpus: 1, memory: 512 MiB, disk: 10 GiB, templates: [debian], forbids: [vpn, mining]}\n",
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def lawful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A controller under a policy with rules of conduct."""
    directory = tmp_path_factory.mktemp("lawful")
    abuse_policy(directory)

    made = Live(directory)
    made.start()
    yield made
    made.stop()


def test_a_hold_is_set_seen_and_lifted(lawful: Live) -> None:
    lawful.provisioned("h1")
    body = {"reason": "legal", "effect": "no-erase", "why": "a court", "evidence": attached(), "until": "2999-01-01T00:00:00Z"}
    answer = lawful.http.post("/v1/services/h1/holds", json=body)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "nothing"), answer.text
    (hold,) = lawful.http.get("/v1/services/h1").json()["holds"]
    assert (hold["reason"], hold["effect"], hold["why"], hold["by"][:5]) == ("legal", "no-erase", "a court", "unix:")
    assert hold["evidence"] == hashlib.sha256(FILE).hexdigest()
    refused(lawful.http.post("/v1/services/h1/terminate", json={"reason": "x"}), 409, "refused")
    refused(lawful.http.post("/v1/services/h1/holds", json=body), 409, "refused")
    told = lawful.http.get("/v1/services/h1").json()["deadlines"]
    assert told == [], "an end that is so far is not told"
    assert lawful.http.post("/v1/services/h1/holds/legal/release", json={"why": "lifted"}).status_code == 200
    refused(lawful.http.post("/v1/services/h1/holds/legal/release", json={"why": "lifted"}), 409, "refused")
    with lawful.db.read() as conn:
        rows, _ = audit.list_page(conn, limit=50, service_id="h1")
    assert {"hold set", "hold lifted"} <= {row.what for row in rows}


def test_a_hold_that_stops_makes_its_job_once_for_a_key(lawful: Live) -> None:
    lawful.provisioned("h2")
    body = {"reason": "manual", "effect": "stop", "why": "a look"}
    first, again = (lawful.http.post("/v1/services/h2/holds", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, first.json()) == (202, again.json())
    lawful.wait(first.json()["job_id"])
    lifted = lawful.http.post("/v1/services/h2/holds/manual/release", json={"why": "seen"})
    assert lifted.status_code == 202
    lawful.wait(lifted.json()["job_id"])
    assert lawful.http.get("/v1/services/h2").json()["suspended"] is False


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"evidence": attached(b"")}, 400, "request-invalid"),
        ({"evidence": attached(FILE + b"x")}, 400, "request-invalid"),
        ({"evidence": attached(FILE * 2)}, 413, "body-too-large"),
        ({"evidence": {"name": "a", "content": "a"}}, 400, "request-invalid"),
        ({"evidence": attached(b"x", name="a\x1b[2Jb")}, 400, "request-invalid"),
        ({"evidence": attached(b"x", name="a\u202eb")}, 400, "request-invalid"),
        ({"effect": "read-only"}, 409, "refused"),
        ({"until": "2001-01-01T00:00:00Z"}, 409, "refused"),
        ({"until": "2999-01-01T00:00:00"}, 400, "request-invalid"),
        ({"why": ""}, 400, "request-invalid"),
        ({"more": 1}, 400, "request-invalid"),
    ],
)
def test_what_is_wrong_with_a_hold_is_refused_and_sets_none(
    lawful: Live, change: dict[str, object], status: int, code: str
) -> None:
    if not lawful.jobs("h3"):
        lawful.provisioned("h3")
    body = {"reason": "legal", "effect": "none", "why": "a court"} | change
    refused(lawful.http.post("/v1/services/h3/holds", json=body), status, code)
    assert lawful.http.get("/v1/services/h3").json()["holds"] == []
    assert lawful.http.get("/v1/services/h3/evidence").json()["items"] == []


def test_a_complaint_is_reported_and_answered_and_its_evidence_is_kept_to_the_byte(lawful: Live) -> None:
    lawful.provisioned("c1")
    body = {"kind": "abuse", "why": "it attacks others", "evidence": attached()}
    answer = lawful.http.post("/v1/services/c1/complaints", json=body)
    assert (answer.status_code, answer.json()["complaint"]) == (202, "c1"), answer.text
    lawful.wait(answer.json()["job_id"])
    (complaint,) = lawful.http.get("/v1/services/c1/complaints").json()["items"]
    assert (complaint["kind"], complaint["effect"], complaint["closed"]) == ("abuse", "suspend", None)
    assert lawful.http.get("/v1/services/c1").json()["complaints"] == [complaint]
    (kept,) = lawful.http.get("/v1/services/c1/evidence").json()["items"]
    found = lawful.http.get(f"/v1/services/c1/evidence/{kept['sha256']}").json()
    assert base64.b64decode(found["content"]) == FILE
    refused(lawful.http.get(f"/v1/services/c1/evidence/{'0' * 64}"), 404, "not-found")
    done = lawful.http.post("/v1/services/c1/complaints/c1/answer", json={"closed": "resolved", "why": "mended"})
    assert done.status_code == 202
    lawful.wait(done.json()["job_id"])
    assert lawful.http.get("/v1/services/c1").json()["holds"] == []
    refused(lawful.http.post("/v1/services/c1/complaints/c9/answer", json={"closed": "ceased", "why": "x"}), 409, "refused")


def test_what_the_plan_does_not_forbid_is_refused(lawful: Live) -> None:
    lawful.provisioned("c2")
    body = {"kind": "abuse", "why": "it was seen", "what": "vpn"}
    told = refused(lawful.http.post("/v1/services/c2/complaints", json=body), 409, "refused")
    assert "plan small does not forbid vpn" in told["detail"]
    assert lawful.http.get("/v1/plans/small").json()["forbids"] == []


def test_what_the_plan_forbids_is_on_the_plan_and_can_be_named(lawful: Live) -> None:
    assert lawful.http.get("/v1/plans/tiny").json()["forbids"] == ["mining", "vpn"]
    lawful.wait(lawful.send("order.paid", "c4", client_id="c", plan="tiny", order_id="o4").json()["job_id"])
    body = {"kind": "abuse", "why": "it was seen", "what": "vpn"}
    assert lawful.http.post("/v1/services/c4/complaints", json=body).status_code == 202
    assert [each["what"] for each in lawful.http.get("/v1/services/c4/complaints").json()["items"]] == ["vpn"]


def test_a_change_to_a_smaller_plan_is_refused_by_the_policy_while_it_owes(lawful: Live) -> None:
    lawful.provisioned("d1")
    lawful.provisioned("d2")
    assert lawful.send("service.change_plan", "d2", version=1, plan="tiny").json()["outcome"] == "accepted"
    lawful.wait(lawful.send("service.suspend", "d1", version=2, reason="nonpayment").json()["job_id"])
    told = lawful.send("service.change_plan", "d1", version=3, plan="tiny").json()
    assert told["detail"] == "downgrade refused while suspended for late payment [default: 7]"


def test_the_coming_limit_of_a_copyright_notice_is_foretold(lawful: Live) -> None:
    lawful.provisioned("c3")
    answer = lawful.http.post("/v1/services/c3/complaints", json={"kind": "copyright", "why": "a notice"}).json()
    assert (answer["job_id"], "limit follows at" in answer["detail"]) == ("", True)
    (deadline,) = lawful.http.get("/v1/services/c3").json()["deadlines"]
    assert (deadline["action"], deadline["clause"]) == ("limit-conduct", "9")
    (told,) = lawful.http.get("/v1/forecast", params={"service_id": "c3"}).json()["items"]
    assert [act["action"] for act in told["acts"]] == ["limit-conduct"]


def test_what_a_customer_may_have_is_told_with_its_rule(lawful: Live) -> None:
    lawful.provisioned("m1")
    none = lawful.http.get("/v1/services/m1/may/restore").json()
    assert (none["allowed"], none["reason"]) == (False, "restore refused: no verified backup of it stands")
    lawful.wait(lawful.http.post("/v1/services/m1/backup", json={}).json()["job_id"])
    assert lawful.http.get("/v1/services/m1/may/restore").json()["allowed"] is True
    lawful.wait(lawful.send("service.suspend", "m1", version=1, reason="nonpayment").json()["job_id"])
    found = lawful.http.get("/v1/services/m1/may/restore").json()
    assert (found["allowed"], found["rule"]) == (False, "default: 7")
    assert found["reason"] == "restore refused while suspended for late payment"
    refused(lawful.http.get("/v1/services/m1/may/fly"), 400, "request-invalid")
    refused(lawful.http.get("/v1/services/nobody/may/restore"), 404, "not-found")


@pytest.mark.parametrize("role", ["readonly", "billing"])
def test_only_operators_set_holds_and_take_complaints(lawful: Live, role: str) -> None:
    http = lawful.tcp(lawful.tokens[role])
    hold = {"reason": "legal", "effect": "none", "why": "x"}
    refused(http.post("/v1/services/nobody/holds", json=hold), 403, "forbidden")
    refused(http.post("/v1/services/nobody/holds/legal/release", json={"why": "x"}), 403, "forbidden")
    refused(http.post("/v1/services/nobody/complaints", json={"kind": "abuse", "why": "x"}), 403, "forbidden")
    answer = {"closed": "ceased", "why": "x"}
    refused(http.post("/v1/services/nobody/complaints/c1/answer", json=answer), 403, "forbidden")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("served")
    abuse_policy(directory)
    controller = Served(directory)
    try:
        controller.enrol("n1")
        yield controller
    finally:
        controller.stop()


def test_the_command_line_does_all_of_it(served: Served, tmp_path: Path) -> None:
    served.run("job", "watch", served.order("s1"))
    file = tmp_path / "evidence.bin"
    file.write_bytes(FILE)
    held = served.run(
        *("service", "hold", "s1", "--reason", "legal", "--effect", "no-erase", "--why", "a court", "--evidence", str(file))
    )
    assert (held.returncode, "the hold is set" in held.stdout) == (0, True), held.stderr
    shown = served.run("service", "show", "s1").stdout
    assert "legal (no-erase) by unix:" in shown
    assert "a court (evidence " in shown
    taken = served.run("service", "report", "s1", "copyright", "--why", "a notice", "--evidence", str(file))
    assert (taken.returncode, "complaint c1" in taken.stdout) == (0, True), taken.stderr
    assert "limit-conduct" in served.run("forecast", "--service", "s1").stdout
    unproven = served.run("service", "answer", "s1", "c1", "--waived", "--why", "a mistake")
    assert (unproven.returncode, "on evidence only" in unproven.stderr) == (4, True)
    waived = served.run("service", "answer", "s1", "c1", "--waived", "--why", "a mistake", "--evidence", str(file))
    assert waived.returncode == 0, waived.stderr
    assert "waived: a mistake" in served.run("service", "complaints", "s1").stdout
    (kept,) = json.loads(served.run("service", "evidence", "s1", "--json").stdout)["items"]
    assert kept["sha256"] in served.run("service", "evidence", "s1").stdout
    output = tmp_path / "back.bin"
    fetched = served.run("service", "evidence", "s1", kept["sha256"], "--output", str(output))
    assert (fetched.returncode, output.read_bytes()) == (0, FILE)
    again = served.run("service", "evidence", "s1", kept["sha256"], "--output", str(output))
    assert (again.returncode, "left alone" in again.stderr) == (2, True)
    assert any(line.split() == ["forbids", "mining,", "vpn"] for line in served.run("plan", "show", "tiny").stdout.splitlines())
    allowed = served.run("service", "may", "s1", "reboot")
    assert (allowed.returncode, allowed.stdout) == (0, "s1: reboot is allowed [policy default]\n")
    assert served.run("service", "release", "s1", "--reason", "legal", "--why", "lifted").returncode == 0
    assert served.run("service", "release", "s1", "--reason", "legal", "--why", "lifted").returncode == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("empty", b"", "is empty"), ("large", FILE + b"x", "larger than"), ("a\x1b[2Jb", b"x", "cannot be shown")],
)
def test_a_file_that_is_no_evidence_is_refused_with_a_sentence(
    served: Served, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    options = ("--reason", "legal", "--effect", "none", "--why", "x", "--evidence", str(file))
    refusal = served.run("service", "hold", "nobody", *options)
    assert (refusal.returncode, words in refusal.stderr, "\x1b" in refusal.stderr) == (2, True, False)
