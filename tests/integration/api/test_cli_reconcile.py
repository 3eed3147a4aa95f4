"""``orchestrator reconcile`` against a controller in a process of its own: files, URLs, and being asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.billing_list import LIST_LIMIT
from orchestrator.cli.remote import reconcile
from orchestrator.domain.reconciliation import Kind
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import settings
from tests.integration.api.test_cli import ok, provisioned, read, refused
from tests.live import Live
from tests.served import Served, command
from tests.terminal import on_a_terminal

UNTIL = "2030-01-01T00:00:00Z"


def suspended(served: Served, service: str) -> None:
    provisioned(served, service)
    ok(served.run("service", "suspend", service, "--reason", "late", "--hold", "nonpayment", "--watch"))


def paid(served: Served, service: str) -> bool:
    return read(served, "service", "show", service)["paid_until"] is not None


def listed(tmp_path: Path, *services: str, name: str = "list.csv") -> str:
    path = tmp_path / name
    path.write_text("service,paid_until,state\n" + "".join(f"{s},{UNTIL},active\n" for s in services), encoding="utf-8")
    return str(path)


class Shop(BaseHTTPRequestHandler):
    """Billing's web server: the list, for whoever has the token; and a way elsewhere."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/list")
            self.end_headers()
            return
        if self.headers.get("Authorization") != "Bearer for-the-list":
            self.send_response(401)
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if self.path.startswith("/endless"):
            try:
                for _ in range(LIST_LIMIT // 65536 + 10):
                    self.wfile.write(b" " * 65536)
            except OSError:
                return
        self.wfile.write(json.dumps([{"service": "fetched", "paid_until": UNTIL, "state": "active"}]).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nobody reads its log."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, name="shop")
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "list-token"
    path.write_text("for-the-list\n", encoding="ascii")
    return str(path)


def test_the_limit_and_the_kinds_are_those_of_the_api() -> None:
    assert reconcile.LIST_LIMIT == LIST_LIMIT
    assert set(reconcile._WORDS) == set(Kind)


def test_a_lost_payment_out_of_a_file(served: Served, tmp_path: Path) -> None:
    suspended(served, "filed")
    given = listed(tmp_path, "filed")
    looked = ok(served.run("reconcile", given, "--dry-run"))
    assert "a payment was lost" in looked
    assert "2030-01-01 00:00:00Z" in looked
    assert not paid(served, "filed")
    done = ok(served.run("reconcile", given, "--yes"))
    job = next(line for line in done.splitlines() if line.startswith("filed")).split("job ")[1].split()[0]
    ok(served.run("job", "watch", job))
    assert not read(served, "service", "show", "filed")["suspended"]
    (row,) = [row for row in read(served, "audit", "list", "--service", "filed")["items"] if row["what"] == "reconciled"]
    assert row["facts"]["list"] == "list.csv"


def test_a_script_must_say_yes(served: Served, tmp_path: Path) -> None:
    provisioned(served, "unasked")
    refused(served.run("reconcile", listed(tmp_path, "unasked")), 2, "--yes")
    said = on_a_terminal(["--socket", str(served.socket), "reconcile", listed(tmp_path, "unasked"), "--json"], answer="y\n")
    assert "--yes" in said
    assert not paid(served, "unasked")


@pytest.mark.parametrize(("answer", "counts"), [("n\n", False), ("y\n", True)])
def test_a_person_is_shown_it_and_asked(served: Served, tmp_path: Path, answer: str, counts: bool) -> None:
    service = f"asked-{counts}".lower()
    provisioned(served, service)
    said = on_a_terminal(["--socket", str(served.socket), "reconcile", listed(tmp_path, service)], answer=answer)
    assert "Count 1 payment?" in said
    assert ("nothing was done" in said) is not counts
    assert paid(served, service) == counts


def test_where_there_is_nothing_to_do_nobody_is_asked(served: Served, tmp_path: Path) -> None:
    given = tmp_path / "closed.jsonl"
    given.write_text('{"service": "closed", "paid_until": null, "state": "terminated"}\n', encoding="utf-8")
    said = on_a_terminal(["--socket", str(served.socket), "reconcile", str(given)])
    assert "services in the list: 1" in said
    assert "?" not in said


def test_after_a_downtime_it_says_what_becomes_of_the_terminations(own: Live, tmp_path: Path) -> None:
    own.provisioned("s1")
    now = SystemClock().now()
    with own.db.write() as conn:
        settings.put(conn, settings.TERMINATIONS_WAIT, {"why": "away", "since": now.isoformat()}, now=now)
    arguments = ["--socket", str(own.socket), "reconcile", listed(tmp_path, "s1"), "--yes"]
    waits = ok(command(*arguments, "--keep-waiting"))
    assert "terminations go on waiting: as was asked (away)" in waits
    assert "orchestrator terminations release" in waits
    goes_on = ok(command(*arguments))
    assert "terminations are released (away)" in goes_on
    assert "orchestrator terminations release" not in goes_on


def test_every_bad_row_is_said_with_its_line(served: Served, tmp_path: Path) -> None:
    provisioned(served, "good")
    path = tmp_path / "bad.csv"
    path.write_text(f"service,paid_until,state\ngood,{UNTIL},active\nb,soon,active\nc,,gone\n", encoding="utf-8")
    refused(served.run("reconcile", str(path), "--yes"), 2, "line 3: paid_until", "line 4: state: 'gone'", "nothing was changed")
    assert not paid(served, "good")


def test_a_payment_for_what_cannot_be_made_is_exit_code_3(served: Served, tmp_path: Path) -> None:
    served.send("order.created", "unmade", client_id="c1", plan="no-such-plan")
    refused(served.run("reconcile", listed(tmp_path, "unmade"), "--yes"), 3, "1 of the payments count", "event list --dead")
    assert paid(served, "unmade")


def test_files_that_are_none(served: Served, tmp_path: Path) -> None:
    refused(served.run("reconcile", str(tmp_path / "none"), "--yes"), 2, "none cannot be read")
    refused(served.run("reconcile", "/dev/zero", "--yes"), 2, "far too large")


def test_a_list_from_a_url(served: Served, shop: str, token: str) -> None:
    provisioned(served, "fetched")
    ok(served.run("reconcile", f"{shop}/list?key=secret", "--list-token-file", token, "--yes"))
    (row,) = [row for row in read(served, "audit", "list", "--service", "fetched")["items"] if row["what"] == "reconciled"]
    assert row["facts"]["list"] == f"{shop}/list", "a query may be a secret"


@pytest.mark.parametrize(
    ("path", "exit_code", "words"),
    [("/moved", 5, "answered 302"), ("/endless", 2, "far too large")],
)
def test_what_a_url_must_not_do(served: Served, shop: str, token: str, path: str, exit_code: int, words: str) -> None:
    refused(served.run("reconcile", shop + path, "--list-token-file", token, "--yes"), exit_code, words)


@pytest.mark.parametrize(
    ("url", "exit_code", "words"),
    [
        ("http://billing.example/list", 2, "https is, and http on this machine only"),
        ("ftp://127.0.0.1/list", 2, "is not fetched"),
        ("https://", 2, "is not fetched"),
        ("https://anna:secret@billing.example/list", 2, "no place for a password"),
        ("http://[::1/list", 2, "is no URL"),
        ("http://127.0.0.1:9/list", 5, "cannot be fetched"),
    ],
)
def test_urls_that_are_not_fetched(served: Served, url: str, exit_code: int, words: str) -> None:
    done = served.run("reconcile", url, "--yes")
    refused(done, exit_code, words)
    assert "secret" not in done.stderr


def test_without_its_token_the_list_is_not_given(served: Served, shop: str) -> None:
    refused(served.run("reconcile", f"{shop}/list", "--yes"), 5, "answered 401")
