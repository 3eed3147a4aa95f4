"""The controller as a process: init, config check, doctor, serve, its socket and its end."""

from __future__ import annotations

import getpass
import json
import os
import resource
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator.api import server
from orchestrator.api.callers import Role, by_uid
from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.store import settings
from orchestrator.store.database import Database
from tests.live import PLAN, write_config
from tests.served import Served, command, process


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Served]:
    """A controller that the test ends as it likes."""
    controller = Served(tmp_path)
    yield controller
    controller.stop()


def test_the_socket_is_for_owner_and_group_only(served: Served) -> None:
    mode = served.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_the_peer_on_the_socket_is_known_by_its_uid_and_headers_cannot_change_that(served: Served) -> None:
    served.http.put("/v1/freeze", json={"why": "who"}, headers={"X-Forwarded-For": "unix:mallory", "peer_uid": "1"})
    served.http.delete("/v1/freeze")
    row = served.http.get("/v1/audit", params={"limit": 1}).json()["items"][0]
    assert row["who"] == by_uid(os.getuid(), server_uid=0).name


@pytest.mark.parametrize(
    ("uid", "server_uid", "role"), [(0, 990, Role.ADMIN), (990, 990, Role.ADMIN), (1, 990, Role.OPERATOR), (1, 0, Role.OPERATOR)]
)
def test_root_and_the_controllers_own_user_administer_and_the_sockets_group_operates(
    uid: int, server_uid: int, role: Role
) -> None:
    assert by_uid(uid, server_uid=server_uid).role is role


def test_an_unknown_uid_is_named_by_its_number() -> None:
    assert by_uid(4_000_000, server_uid=0).name == "unix:4000000"


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_gracefully(alone: Served, name: signal.Signals) -> None:
    alone.process.send_signal(name)
    assert alone.process.wait(30) == 0
    assert not alone.socket.exists()
    assert "Traceback" not in alone.log


def test_killed_it_starts_again_over_its_stale_socket(alone: Served) -> None:
    alone.process.kill()
    alone.process.wait(30)
    assert alone.socket.exists()
    alone.start()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(alone.socket)), base_url="http://c") as client:
        assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(("words", "why"), [(("--frozen",), "--frozen"), (("--frozen-why", "a copy"), "a copy")])
def test_it_can_be_started_frozen(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    controller = Served(tmp_path, words=words)
    try:
        found = controller.http.get("/v1/freeze").json()
        rows = controller.http.get("/v1/audit").json()["items"]
    finally:
        controller.stop()
    assert found["frozen"]
    assert found["why"].endswith(why)
    assert [row["who"] for row in rows if row["what"] == "freeze"] == [f"unix:{getpass.getuser()}"]


def test_a_second_controller_is_refused_with_a_sentence_and_the_first_goes_on(alone: Served) -> None:
    second = process("--config", str(alone.directory), "serve")
    assert second.returncode == 2
    assert "already listens" in second.stderr
    assert "Traceback" not in second.stderr
    assert alone.http.get("/healthz").status_code == 200


def test_the_log_is_json_a_line(alone: Served) -> None:
    alone.http.get("/v1/services")
    alone.stop()
    lines = [json.loads(line) for line in alone.log.splitlines()]
    (request,) = [line for line in lines if line.get("path") == "/v1/services"]
    assert (request["message"], request["method"], request["status"], request["level"]) == ("request", "GET", 200, "info")


def test_init_can_be_repeated_and_leaves_nothing_open_to_others(tmp_path: Path) -> None:
    write_config(tmp_path)
    for _ in range(2):
        made = command("--config", str(tmp_path), "init")
        assert made.returncode == 0, made.stderr
        assert "orchestrator serve" in made.stdout
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    private = [path for path in state.rglob("*") if path.is_file() and path.suffix != ".pub"]
    assert private
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in private)


def test_config_check_tells_every_problem_with_its_place(tmp_path: Path) -> None:
    write_config(tmp_path, timezone="Mars/Olympus")
    plan = tmp_path / "plans" / "small.yaml"
    plan.write_text(plan.read_text(encoding="utf-8").replace("vcpus: 1", "vcpus: none\ncolour: red"), encoding="utf-8")
    checked = command("--config", str(tmp_path), "config", "check")
    assert checked.returncode == 2
    lines = [line.strip() for line in checked.stderr.splitlines()]
    assert any("orchestrator.yaml:" in line and "timezone" in line for line in lines)
    assert any("small.yaml:" in line and "vcpus" in line for line in lines)
    assert any("small.yaml:" in line and "colour" in line for line in lines)
    assert "Traceback" not in checked.stderr
    told = command("--config", str(tmp_path), "config", "check", "--json")
    assert told.returncode == 2
    assert {Path(problem["file"]).name for problem in json.loads(told.stdout)["problems"]} == {"orchestrator.yaml", "small.yaml"}


def test_config_check_and_show_of_a_sound_configuration(tmp_path: Path) -> None:
    write_config(tmp_path)
    assert command("config", "check", str(tmp_path)).returncode == 0
    shown = json.loads(command("--config", str(tmp_path), "config", "show").stdout)
    assert shown["orchestrator.yaml"]["webhooks"]["body_limit"] == "16 KiB"
    assert shown["plans/small.yaml"]["memory"] == "1 GiB"


def test_every_local_command_refuses_a_missing_configuration_with_a_sentence(tmp_path: Path) -> None:
    for words in (("init",), ("migrate",), ("config", "show"), ("config", "check"), ("token", "list"), ("doctor",)):
        done = command("--config", str(tmp_path / "none"), *words)
        assert done.returncode in (2, 3), (words, done.stderr)
        assert done.stderr.startswith("orchestrator: ") or "orchestrator: " in done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_is_content_with_a_running_controller_and_names_what_is_missing(alone: Served) -> None:
    found = alone.run("doctor")
    assert found.returncode == 3
    assert found.stdout.count("orchestrator node enrol n") == 2
    for node in ("n1", "n2"):
        alone.enrol(node)
    assert alone.run("doctor").returncode == 0
    secret = alone.directory / "secrets" / "old"
    kept = secret.read_text()
    secret.write_text("no secret at all")
    assert "no secret of the form whsec_" in alone.run("doctor").stdout.replace("\n", " ")
    secret.write_text(kept)
    (alone.directory / "secrets" / "old").chmod(0o644)
    alone.stop()
    found = alone.run("doctor")
    assert found.returncode == 3
    assert "can be read by others" in found.stdout
    assert "chmod 0600" in found.stdout
    assert "no controller is running" in found.stdout


def test_doctor_names_what_waits_for_a_person_and_how_to_see_it(alone: Served) -> None:
    def rows() -> dict[str, tuple[bool, str, str]]:
        found = json.loads(alone.run("doctor", "--json").stdout)["findings"]
        return {row["name"]: (row["waits"], row["found"], row["mend"]) for row in found}

    assert {rows()[name] for name in ("freeze", "jobs to approve", "jobs in doubt", "dead letters")} == {(False, "none", "")}
    for node in ("n1", "n2"):
        alone.enrol(node)
    assert alone.run("job", "watch", alone.order("waits")).returncode == 0
    alone.run("freeze", "--why", "to be seen")
    alone.run("service", "suspend", "waits", "--reason", "late")
    assert "active, to be suspended" in alone.run("service", "list").stdout
    alone.send("order.paid", "nowhere", client_id="c1", plan="no-such-plan")
    assert rows()["terminations"] == (False, "go on", "")
    database = Database(f"sqlite:///{alone.directory / 'state' / 'orchestrator.sqlite'}")
    with database.write() as conn:
        now = SystemClock().now()
        settings.put(conn, settings.TERMINATIONS_WAIT, {"why": "it slept", "since": now.isoformat()}, now=now)
    database.close()
    found = rows()
    assert found["terminations"][0]
    assert found["terminations"][1].endswith(": it slept")
    assert "orchestrator terminations release" in found["terminations"][2]
    assert found["freeze"][0]
    assert found["freeze"][1].endswith(": to be seen")
    assert found["freeze"][2] == "orchestrator freeze off"
    assert found["jobs to approve"] == (True, "1", "orchestrator job list --state waiting_approval")
    assert found["dead letters"] == (True, "1", "orchestrator event list --dead")
    assert found["jobs in doubt"] == (False, "none", "")
    told = alone.run("doctor")
    assert told.returncode == 3
    assert len([line for line in told.stdout.splitlines() if line.startswith("WAITS")]) == 4


def test_a_controller_that_cannot_write_is_not_ready_and_doctor_says_so(alone: Served) -> None:
    _soft, hard = resource.prlimit(alone.process.pid, resource.RLIMIT_FSIZE)
    # As on a full disk: no file can be made larger, nor be written at all.
    resource.prlimit(alone.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    assert alone.send("order.paid", "s1", client_id="c1", plan=PLAN).status_code == 503
    assert alone.http.get("/readyz").status_code == 503
    found = alone.run("doctor")
    assert found.returncode == 3
    assert "takes no work" in found.stdout


def test_migrate_says_when_there_is_nothing_to_do(alone: Served) -> None:
    alone.stop()
    done = alone.run("migrate")
    assert done.returncode == 0
    assert "already" in done.stdout


def test_serve_without_init_says_what_to_do(tmp_path: Path) -> None:
    write_config(tmp_path)
    done = process("--config", str(tmp_path), "serve")
    assert done.returncode == 2
    assert "orchestrator init" in done.stderr


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious", encoding="ascii")
    with pytest.raises(ConfigError, match="no socket"):
        server.bind(unix_socket=path)
    assert path.read_text(encoding="ascii") == "precious"


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:none", "127.0.0.1:99999", "203.0.113.1:1"])
def test_an_address_that_cannot_be_listened_on_is_refused_and_leaves_no_socket(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        server.bind(unix_socket=tmp_path / "api.sock", listen=listen)
    assert not (tmp_path / "api.sock").exists()


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            server.bind(unix_socket=tmp_path / "api.sock", listen=f"127.0.0.1:{taken.getsockname()[1]}")


def test_what_a_local_command_did_is_told_to_scripts_too(tmp_path: Path) -> None:
    write_config(tmp_path)

    def told(*words: str) -> dict[str, object]:
        done = command("--config", str(tmp_path), *words, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    assert told("init") == {"state_dir": str(tmp_path / "state")}
    assert told("migrate") == {"changed": False}
    made = told("token", "create", "script", "--role", "readonly")
    assert (made["name"], made["role"], len(str(made["token"]))) == ("script", "readonly", 43)
    revoked = told("token", "revoke", "script")
    (listed,) = json.loads(command("--config", str(tmp_path), "token", "list", "--json").stdout)["items"]
    assert revoked == {"name": "script", "revoked_at": listed["revoked_at"]}
    assert "plans/small.yaml" in told("config", "show")
