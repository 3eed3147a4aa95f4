"""What the tests of the API expect of every refusal."""

from __future__ import annotations

from typing import Any

import httpx

from orchestrator.domain.errors import OUTCOMES


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is a problem of this status and code; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"], problem["exit_code"]) == (status, code, OUTCOMES[code].exit_code)
    assert "Traceback" not in answer.text
    return problem
