"""The examples of docs/webhooks.md, run as they stand there against a controller."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from svix.webhooks import Webhook

from orchestrator.api.signatures import verify
from tests.live import PLAN, SECRET, SOURCE
from tests.served import Served

DOC = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    """The one fenced example in that language."""
    (found,) = re.findall(rf"(?ms)^```{language}\n(.*?)^```", DOC)
    return str(found)


def vector() -> tuple[str, str, int, str, str]:
    """Secret, id, timestamp, body and signature of 'To check your code'."""
    part = DOC[DOC.index("To check your code") : DOC.index("### curl")]
    secret, message_id, stamp = re.findall(r"`(whsec_\S+|msg_\S+|\d{10})`", part)
    body = re.findall(r"(?ms)^```json\n(.*?)\n^```", part)[0]
    signature = re.findall(r"`(v1,\S+)`", part)[-1]
    return secret, message_id, int(stamp), body, signature


def ordered(service_id: str) -> bytes:
    return json.dumps({"type": "order.created", "data": {"service_id": service_id, "client_id": "77", "plan": PLAN}}).encode()


@pytest.mark.parametrize(
    ("name", "language", "interpreter"), [("send.sh", "bash", "bash"), ("send.py", "python", sys.executable)]
)
def test_the_example_is_taken_by_a_controller(served: Served, tmp_path: Path, name: str, language: str, interpreter: str) -> None:
    script, secret = tmp_path / name, tmp_path / "secret"
    script.write_text(example(language), encoding="utf-8")
    secret.write_text(SECRET + "\n", encoding="ascii")
    service = f"by-{language}"
    done = subprocess.run(
        [interpreter, str(script), f"{served.url}/v1/webhooks/{SOURCE}", str(secret), f"evt-{language}"],
        input=ordered(service),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answer, status = done.stdout.decode().strip().rsplit("\n", 1)
    assert (status, json.loads(answer)["outcome"]) == ("200", "nothing")
    assert served.http.get(f"/v1/services/{service}").json()["state"] == "ordered"


def test_the_documented_signature_is_that_of_the_scheme() -> None:
    """By hand, by an independent implementation, and by ours."""
    secret, message_id, stamp, body, signature = vector()
    sent = datetime.fromtimestamp(stamp, tz=UTC)
    key = b64decode(secret.removeprefix("whsec_"))
    by_hand = b64encode(hmac.new(key, f"{message_id}.{stamp}.{body}".encode(), hashlib.sha256).digest()).decode()
    assert signature == f"v1,{by_hand}" == Webhook(secret).sign(message_id, sent, body)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(stamp), "webhook-signature": signature}
    assert verify(body.encode(), headers, secrets=[secret], now=sent, tolerance_seconds=1).id == message_id


def test_the_php_example_signs_what_the_scheme_says(tmp_path: Path) -> None:
    """With an interpreter on the machine it is run; without, its signing line must be the one whose parts are known."""
    secret, message_id, stamp, body, signature = vector()
    script = tmp_path / "send.php"
    script.write_text(example("php"), encoding="utf-8")
    php = shutil.which("php")
    if php is None:
        assert "base64_encode(hash_hmac('sha256', \"$id.$stamp.$body\", $key, true))" in example("php")
        assert "base64_decode(preg_replace('/^whsec_/', ''" in example("php")
        return
    (tmp_path / "secret").write_text(secret, encoding="ascii")
    done = subprocess.run(
        [php, str(script), "-", str(tmp_path / "secret"), message_id],
        input=body.encode(),
        env={**os.environ, "STAMP": str(stamp)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode().strip() == signature
