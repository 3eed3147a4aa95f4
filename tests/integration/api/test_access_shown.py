"""Tokens that expire, TLS, and that looks at customers' data are written down."""

from __future__ import annotations

import json
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from orchestrator.api import looked
from orchestrator.api.app import RESOURCES
from orchestrator.store import tokens
from tests.certificates import SINCE, certificate_for
from tests.integration.api.answers import refused
from tests.live import Live, write_config
from tests.served import Served, command, free_port, process

# Routes that answer with nothing that belongs to one customer.
NONE = {
    *("/v1/services/{service_id}/explain", "/v1/services/{service_id}/may/{act}", "/v1/jobs", "/v1/events", "/v1/messages"),
    *("/v1/nodes", "/v1/nodes/{name}", "/v1/nodes/{name}/host-keys", "/v1/plans", "/v1/plans/{name}", "/v1/templates"),
    *("/v1/templates/{name}", "/v1/policies", "/v1/policies/{name}", "/v1/forecast", "/v1/ips/ranges", "/v1/audit"),
    *("/v1/audit/verify", "/v1/backups/plan", "/v1/backups/drills", "/v1/certificates", "/v1/certificates/public-key"),
    *("/v1/terminations", "/v1/freeze", "/v1/controllers", "/healthz", "/readyz", "/metrics", "/metrics/services"),
    "/v1/nodes/{name}/statements",
    *("/v1/machines", "/v1/machines/{name}", "/v1/machines/{name}/certificate", "/v1/machines/{name}/log"),
}


def test_a_token_opens_nothing_after_its_end(live: Live) -> None:
    now = live.clock.now()
    for name, end in (("soon", now + timedelta(hours=1)), ("over", now - timedelta(seconds=1))):
        with live.db.write() as conn:
            tokens.add(conn, name=name, role="admin", token=name * 10, now=now, expires_at=end)
    assert live.tcp("soon" * 10).get("/v1/plans").status_code == 200
    refused(live.tcp("over" * 10).get("/v1/plans"), 401, "unauthenticated")


def test_a_token_is_made_with_an_end_and_listed_with_it(live: Live) -> None:
    words = ("--config", str(live.config.directory), "token")
    made = command(*words, "create", "brief", "--role", "readonly", "--expires", "2h", "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)
    (listed,) = [row for row in json.loads(command(*words, "list", "--json").stdout)["items"] if row["name"] == "brief"]
    assert listed["expires_at"] == token["expires_at"]
    assert live.tcp(token["token"]).get("/v1/plans").status_code == 200
    for wrong in ("soon", "0s", "20s", "40000d"):
        answer = command(*words, "create", "wrong", "--role", "readonly", "--expires", wrong)
        assert (answer.returncode, "--expires" in answer.stderr) == (2, True)
    assert command(*words, "revoke", "brief").returncode == 0
    refused(live.tcp(token["token"]).get("/v1/plans"), 401, "unauthenticated")


def rows(live: Live, **wanted: Any) -> list[dict[str, Any]]:
    found = live.http.get("/v1/audit", params={"limit": 500}).json()["items"]
    told = [row for row in found if row["what"] == looked.WHAT]
    return [row for row in told if all(row.get(name) == value for name, value in wanted.items())]


def test_every_route_that_reads_says_whether_it_has_customers_data() -> None:
    routes = {
        route.path
        for resource in RESOURCES
        for route in resource.router.routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ())
    }
    assert routes - set(looked.DATA) - NONE == set()
    assert set(looked.DATA) & NONE == set()
    assert set(looked.DATA) | NONE == routes


def test_who_looks_at_a_customers_data_is_written_down_once_an_hour(live: Live) -> None:
    live.provisioned("seen")
    reader = live.tcp(live.tokens["readonly"])
    for _ in range(3):
        assert reader.get("/v1/services/seen").status_code == 200
    assert reader.get("/v1/services/seen/restores").status_code == 200
    assert live.http.get("/v1/services/seen").status_code == 200
    mine = rows(live, service_id="seen", who="token:of-readonly")
    assert sorted(row["facts"]["data"] for row in mine) == ["restores", "service"]
    assert len([row for row in rows(live, service_id="seen") if row["who"].startswith("unix:")]) == 1
    trail = "/v1/audit?service_id=seen&limit=500"
    every, acts = (live.http.get(path).json()["items"] for path in (trail, f"{trail}&acts=true"))
    assert acts == [row for row in every if row["what"] != looked.WHAT]
    assert acts
    assert looked.WHAT not in command("--socket", str(live.socket), "audit", "list", "--service", "seen", "--acts").stdout
    assert live.http.get("/v1/audit/verify").json()["ok"]


def test_who_may_not_look_is_not_written_down_and_is_told_nothing(live: Live) -> None:
    refused(live.tcp("x" * 43).get("/v1/services/nobody-there"), 401, "unauthenticated")
    assert rows(live, service_id="nobody-there") == []


def test_a_look_counts_again_after_an_hour() -> None:
    looks, key = looked.Looks(), ("token:a", "service", "s1")
    now = SINCE
    assert looks.new(key, now)
    assert not looks.new(key, now + timedelta(minutes=59))
    assert looks.new(("token:b", "service", "s1"), now)
    assert looks.new(key, now + timedelta(hours=1))


def test_looks_without_number_cost_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looked, "MOST", 10)
    looks = looked.Looks()
    assert all(looks.new(("token:a", "service", f"s{number}"), SINCE) for number in range(100))
    assert len(looks._last) == 10
    assert not looks.new(("token:a", "service", "s99"), SINCE)
    assert looks.new(("token:a", "service", "s0"), SINCE)


def test_the_trail_is_exported_and_checked_without_a_controller(live: Live, tmp_path: Path) -> None:
    live.provisioned("exported")
    words = ("--config", str(live.config.directory), "audit", "export")
    file = tmp_path / "audit.jsonl"
    made = command(*words, str(file), "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert (file.stat().st_mode & 0o777, told["entries"]) == (0o600, len(file.read_text(encoding="utf-8").splitlines()))
    assert command(*words, str(file)).returncode == 2
    offline = ("--config", "/nowhere", "--socket", "/nowhere", "audit", "verify", "--file")
    assert json.loads(command(*offline, str(file), "--json", "--head", told["head"]).stdout)["ok"]
    assert command(*offline, str(file), "--head", "0" * 64).returncode == 6
    assert command(*words).stdout.startswith(file.read_text(encoding="utf-8"))

    lines = file.read_text(encoding="utf-8").splitlines()
    changed = json.loads(lines[2]) | {"who": "somebody else"}
    broken = {
        "altered": [*lines[:2], json.dumps(changed), *lines[3:]],
        "missing": [*lines[:2], *lines[3:]],
        "moved": [lines[1], lines[0], *lines[2:]],
        "no row": [*lines[:2], '{"seq": 3}', *lines[3:]],
        "no JSON": [*lines, "}"],
    }
    for name, content in broken.items():
        file.write_text("\n".join(content) + "\n", encoding="utf-8")
        found = command(*offline, str(file))
        assert (found.returncode, "Traceback" in found.stderr) == (6, False), (name, found.stderr)


def test_tcp_speaks_tls_where_it_has_a_certificate(tmp_path: Path) -> None:
    pair = certificate_for("localhost", days=3650)
    for name, content in (("cert.pem", pair.certificate), ("key.pem", pair.key)):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content, encoding="ascii")
    served = Served(tmp_path, tls="{certificate_file: cert.pem, key_file: key.pem}")
    try:
        token = json.loads(served.run("token", "create", "far", "--role", "readonly", "--json").stdout)["token"]
        url = served.url.replace("http://127.0.0.1", "https://localhost")
        known = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with httpx.Client(base_url=url, verify=known, headers={"Authorization": f"Bearer {token}"}) as far:
            assert far.get("/v1/plans").status_code == 200
        assert served.http.get("/v1/plans").status_code == 200
        with httpx.Client(base_url=served.url) as plain, pytest.raises(httpx.TransportError):
            plain.get("/healthz")
        environment = {"SSL_CERT_FILE": str(tmp_path / "cert.pem"), "ORCHESTRATOR_TOKEN": token}
        assert process("--url", url, "plan", "list", **environment).returncode == 0
        stranger = process("--url", url, "plan", "list", ORCHESTRATOR_TOKEN=token)
        assert (stranger.returncode, token in stranger.stderr) == (5, False)
        old = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        with httpx.Client(base_url=url, verify=old) as client:
            assert client.get("/healthz").status_code == 200
    finally:
        served.stop()
    assert served.process.returncode == 0


@pytest.mark.parametrize(("mode", "content", "word"), [(0o644, "", "chmod 600"), (0o600, "no key", "no certificate and its key")])
def test_a_controller_does_not_start_with_a_key_that_is_none_or_that_others_read(
    tmp_path: Path, mode: int, content: str, word: str
) -> None:
    pair = certificate_for("localhost")
    (tmp_path / "cert.pem").write_text(pair.certificate, encoding="ascii")
    (tmp_path / "key.pem").touch(mode=0o600)
    (tmp_path / "key.pem").write_text(content or pair.key, encoding="ascii")
    (tmp_path / "key.pem").chmod(mode)
    write_config(tmp_path, listen=f"127.0.0.1:{free_port()}", tls="{certificate_file: cert.pem, key_file: key.pem}")
    words = ("--config", str(tmp_path))
    assert process(*words, "init").returncode == 0
    started = process(*words, "serve")
    assert (started.returncode, word in started.stderr, "PRIVATE KEY" in started.stderr) == (2, True, False), started.stderr
