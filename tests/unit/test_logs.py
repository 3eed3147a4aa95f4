"""Logs: one JSON object a line, and nothing secret in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.calls import logged
from orchestrator.observe import logs

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBzaG9wLCBuZXZlciB0b2xk"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level
    handler = logs.setup(level="info", stream=stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_is_one_line_of_json_with_its_extra_fields(lines: io.StringIO) -> None:
    logging.getLogger("orchestrator.engine").info("job %s\nends", "j1", extra={"job_id": "j1", "seconds": 1.5, "step": None})
    found = only(lines)
    assert datetime.fromisoformat(found.pop("at")).tzinfo == UTC
    assert found == {
        "level": "info",
        "logger": "orchestrator.engine",
        "message": "job j1\nends",
        "job_id": "j1",
        "seconds": 1.5,
        "step": None,
    }


def test_what_a_job_is_about_stands_on_every_line_below_it_and_on_none_after(lines: io.StringIO) -> None:
    log = logging.getLogger("orchestrator.anything")
    with logs.about(job_id="j1"):
        with logs.about(step="define", password="hunter2"):
            log.info("inside", extra={"node": "n1"})
        log.info("between", extra={"job_id": "another's"})
    log.info("after")
    inside, between, after = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (inside["job_id"], inside["step"], inside["node"], inside["password"]) == ("j1", "define", "n1", logs.REDACTED)
    assert (between["job_id"], "step" in between, "job_id" in after) == ("another's", False, False)


def test_a_call_to_a_node_is_told_where_a_job_makes_it_and_else_at_debug_only(lines: io.StringIO) -> None:
    def call() -> None:
        with pytest.raises(TransientDriverError), logged("list", by="fake", node="n1"):
            raise TransientDriverError("it does not answer")

    call()
    assert lines.getvalue() == ""
    with logs.about(job_id="j1"):
        call()
    found = only(lines)
    assert (found["call"], found["node"], found["by"], found["code"], found["job_id"]) == (
        "list",
        "n1",
        "fake",
        "driver-transient",
        "j1",
    )
    logging.getLogger().setLevel("DEBUG")
    call()
    assert len(lines.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    "key", ["password", "password_hash", "webhook_secret", "secrets", "Authorization", "api_key", "private-key", "token", "body"]
)
def test_a_value_is_redacted_by_the_name_of_its_key(lines: io.StringIO, key: str) -> None:
    logging.getLogger("x").info("said", extra={"given": {"deep": [{key: "geheim"}]}})
    assert "geheim" not in lines.getvalue()
    assert only(lines)["given"] == {"deep": [{key: logs.REDACTED}]}


@pytest.mark.parametrize("key", ["secret_uuid", "body_sha256", "host_key", "ssh_keys", "idempotency_key", "password_set"])
def test_what_only_sounds_secret_can_be_read(lines: io.StringIO, key: str) -> None:
    logging.getLogger("x").info("said", extra={key: "readable"})
    assert only(lines)[key] == "readable"


@pytest.mark.parametrize(
    "text",
    [
        f"the secret {SECRET} was used",
        "Authorization: Bearer abcdefghijklmnop.qrst",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabcdefghijklmnop\n-----END OPENSSH PRIVATE KEY-----",
        "hash $6$abcdefgh$abcdefghijklmnop",
        "postgresql+psycopg://orchestrator:abcdefghijklmnop@db/orchestrator",
    ],
)
def test_a_secret_is_redacted_by_its_shape_in_sentences_and_tracebacks(lines: io.StringIO, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("x").exception("it said: %s", text, extra={"note": text})
    found = only(lines)
    assert "Traceback" in found["exception"]
    assert "abcdefghijklmnop" not in lines.getvalue()
    assert SECRET not in lines.getvalue()
    assert logs.REDACTED in found["message"]


def test_the_hash_of_a_databases_password_is_redacted_and_a_digest_is_not(lines: io.StringIO) -> None:
    logging.getLogger("x").info("IDENTIFIED BY PASSWORD '*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29' of %s", "*" + "a" * 64)
    assert only(lines)["message"] == f"IDENTIFIED BY PASSWORD '{logs.REDACTED}' of *{'a' * 64}"


def test_what_is_no_json_value_is_written_as_text(lines: io.StringIO) -> None:
    logging.getLogger("x").info("said", extra={"thing": object, "when": datetime(2026, 1, 1, tzinfo=UTC), "many": {1}})
    found = only(lines)
    assert found["thing"] == "<class 'object'>"
    assert found["when"] == "2026-01-01T00:00:00+00:00"
    assert found["many"] == [1]


def test_setting_up_twice_writes_each_record_once(lines: io.StringIO) -> None:
    second = logs.setup(stream=lines)
    logging.getLogger("x").warning("once")
    logging.getLogger().removeHandler(second)
    assert len(lines.getvalue().splitlines()) == 1
