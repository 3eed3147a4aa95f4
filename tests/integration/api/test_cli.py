"""The command line against a controller that runs in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import COMMANDS
from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.wiring.links import WORLD_FILE
from tests.live import PLAN
from tests.served import ORCHESTRATOR, Ran, Served, command, process
from tests.terminal import on_a_terminal


def ok(result: Ran) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def read(served: Served, *arguments: str) -> Any:
    return json.loads(ok(served.run(*arguments, "--json")))


def refused(result: Ran, exit_code: int, *words: str) -> None:
    assert result.returncode == exit_code, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def provisioned(served: Served, service: str) -> None:
    ok(served.run("job", "watch", served.order(service)))


def test_an_order_can_be_followed_to_its_end(served: Served) -> None:
    watched = ok(served.run("job", "watch", served.order("followed")))
    assert "+ define: done" in watched
    assert watched.rstrip().endswith("done")
    assert len([line for line in watched.splitlines() if line.startswith("job ") and line.endswith(": done")]) == 1
    service = read(served, "service", "show", "followed")
    assert (service["state"], service["node"]) == ("active", "n1")
    assert "followed" in ok(served.run("service", "list"))
    shown = ok(served.run("service", "show", "followed"))
    assert "active" in shown
    assert re.search(r"^addresses +10\.9\.\d+\.\d+, .* \(MAC ", shown, re.MULTILINE)
    assert re.search(r"^volumes +/.*orch\.followed\.disk\..*: 10 GiB", shown, re.MULTILINE)
    assert "verdicts" not in shown, "what steps recorded is for scripts, and for whoever asks"
    assert "place.verdicts.0.node: n1" in ok(served.run("service", "show", "followed", "--facts"))


def test_explain_prints_every_nodes_reasons(served: Served) -> None:
    provisioned(served, "explained")
    told = ok(served.run("service", "explain", "explained"))
    assert "explained is on n1" in told
    assert any(line.startswith("n2") and "maintenance" in line for line in told.splitlines())


def test_a_whole_life_by_hand(served: Served) -> None:
    provisioned(served, "life")
    for arguments in (
        ("stop",),
        ("start",),
        ("reboot",),
        ("check",),
        ("suspend", "--reason", "spam", "--hold", "abuse"),
        ("unsuspend", "--hold", "abuse"),
        ("limit", "--reason", "a copyright notice", "--hold", "abuse"),
        ("check",),
        ("unlimit", "--hold", "abuse"),
        ("terminate", "--reason", "asked", "--yes-i-mean", "life"),
    ):
        assert "done" in ok(served.run("service", arguments[0], "life", *arguments[1:], "--watch"))
    assert read(served, "service", "show", "life")["state"] == "erased"


def test_a_limited_service_is_shown_as_one_with_the_reason(served: Served) -> None:
    provisioned(served, "slow")
    ok(served.run("service", "limit", "slow", "--reason", "a notice", "--hold", "abuse", "--watch"))
    assert "active, limited (abuse)" in ok(served.run("service", "show", "slow"))
    listed = ok(served.run("service", "list", "--limited")).splitlines()
    assert [listed[1][:4], listed[1][listed[0].index("STATE") :].partition("  ")[0]] == ["slow", "active, limited (abuse)"]
    ok(served.run("service", "suspend", "slow", "--reason", "more of it", "--watch"))
    assert "active, suspended" in ok(served.run("service", "show", "slow"))
    assert "unlimit: no job was needed: it stays suspended" in ok(served.run("service", "unlimit", "slow", "--hold", "abuse"))
    ok(served.run("service", "unsuspend", "slow", "--watch"))


def test_a_certificate_is_verified_without_a_controller(served: Served, tmp_path: Path) -> None:
    provisioned(served, "wiped")
    ok(served.run("service", "terminate", "wiped", "--reason", "asked", "--yes-i-mean", "wiped", "--watch"))
    certificate, key = tmp_path / "wiped.json", tmp_path / "key"
    certificate.write_text(ok(served.run("certificate", "show", "wiped")), encoding="utf-8")
    key.write_text(ok(served.run("certificate", "public-key")), encoding="ascii")
    assert read(served, "certificate", "public-key")["public_key"] == key.read_text(encoding="ascii").strip()
    assert "holds" in ok(command("certificate", "verify", str(certificate), "--public-key", str(key)))
    certificate.write_text(certificate.read_text(encoding="utf-8").replace("wiped", "other"), encoding="utf-8")
    refused(command("certificate", "verify", str(certificate)), 3, "does not hold")
    refused(command("certificate", "verify", str(tmp_path / "none.json")), 2, "none.json")
    refused(served.run("certificate", "show", "public-key"), 3, "`orchestrator certificate public-key`")
    provisioned(served, "public-key")
    ok(served.run("service", "terminate", "public-key", "--reason", "asked", "--yes-i-mean", "public-key", "--watch"))
    assert '"public-key"' in ok(served.run("certificate", "show", "public-key"))


def test_dry_run_prints_the_workflow_and_changes_nothing(served: Served) -> None:
    provisioned(served, "dry")
    printed = ok(served.run("service", "terminate", "dry", "--dry-run"))
    assert "vps-terminate for dry" in printed
    assert any(line.split()[:3] == ["wipe", "volume.wipe", "asked"] for line in printed.splitlines()), "of the fence"
    assert read(served, "service", "show", "dry")["state"] == "active"


def test_terminate_needs_the_services_id_once_more(served: Served) -> None:
    provisioned(served, "meant")
    refused(served.run("service", "terminate", "meant", "--reason", "x"), 2, "--yes-i-mean meant")
    refused(served.run("service", "terminate", "meant", "--reason", "x", "--yes-i-mean", "other"), 2, "nothing was done")
    assert read(served, "service", "show", "meant")["state"] == "active"


def test_terminate_asks_a_person_to_type_the_id(served: Served) -> None:
    provisioned(served, "typed")
    arguments = ["--socket", str(served.socket), "service", "terminate", "typed", "--reason", "x"]
    assert "nothing was done" in on_a_terminal(arguments, answer="tyepd\n")
    assert read(served, "service", "show", "typed")["state"] == "active"
    assert "typed: terminate: job" in on_a_terminal(arguments, answer="typed\n")


LONG_ID = "a-customer-with-an-id-as-long-as-ids-may-be-0001"


def test_no_id_is_folded_or_cut_on_a_terminal_of_80_columns(served: Served) -> None:
    assert len(LONG_ID) == 48
    provisioned(served, LONG_ID)
    served.send("service.terminate", LONG_ID, event_id="stale-and-with-a-long-id-of-its-own", version=0)
    ok(served.run("service", "terminate", LONG_ID, "--reason", "asked", "--yes-i-mean", LONG_ID, "--watch"))
    (certificate,) = read(served, "certificate", "list", "--service", LONG_ID)["items"]
    job = certificate["job_id"]
    for words, ids in (
        (("service", "list"), (LONG_ID,)),
        (("service", "show", LONG_ID), (LONG_ID,)),
        (("service", "explain", LONG_ID), (LONG_ID,)),
        (("job", "list"), (LONG_ID, job)),
        (("job", "show", job, "--workflow"), (LONG_ID, job, f"orch.{LONG_ID}")),
        (("event", "list"), (LONG_ID,)),
        (("audit", "list"), (LONG_ID,)),
        (("certificate", "list"), (certificate["id"],)),
        (("node", "list"), ("n1", "n2")),
        (("ip", "list"), ("SERVICE", "IPV4")),
        (("plan", "list"), (PLAN, "default")),
        (("template", "list"), ("debian",)),
    ):
        said = on_a_terminal(["--socket", str(served.socket), *words])
        assert set(ids) <= set(re.split(r"[\s,]+", said)), (words, said)


def test_a_job_s_workflow_is_shown_line_by_line(served: Served) -> None:
    provisioned(served, "lines")
    (job,) = read(served, "job", "list", "--service", "lines")["items"]
    shown = ok(served.run("job", "show", job["id"], "--workflow")).splitlines()
    assert "  4 disk: volume.create, on failure: undo" in shown
    assert "      node: <place.node>" in shown
    assert not any("{" in line for line in shown)


def test_services_are_listed_by_hold_and_those_that_are_suspended(served: Served) -> None:
    for name in ("held-free", "held-abuse"):
        provisioned(served, name)
    ok(served.run("service", "suspend", "held-abuse", "--reason", "spam", "--hold", "abuse", "--watch"))
    for words in (("--suspended",), ("--hold", "abuse"), ("--suspended", "--hold", "abuse")):
        found = [item["id"] for item in read(served, "service", "list", "--all", *words)["items"]]
        assert "held-abuse" in found
        assert "held-free" not in found
    assert "held-abuse" not in ok(served.run("service", "list", "--hold", "legal"))


def test_times_are_written_alike_everywhere(served: Served) -> None:
    provisioned(served, "timely")
    ok(served.run("service", "suspend", "timely", "--reason", "late", "--watch"))
    (hold,) = read(served, "service", "show", "timely")["holds"]
    moment = hold["since"][:19].replace("T", " ") + "Z"
    assert f"since {moment}: late" in ok(served.run("service", "show", "timely"))
    since = json.loads(ok(served.run("freeze", "--json")))["since"]
    assert f"since {since[:19].replace('T', ' ')}Z" in ok(served.run("freeze", "show"))
    ok(served.run("freeze", "off"))


def test_the_facts_of_the_audit_are_a_phrase(served: Served) -> None:
    ok(served.run("freeze", "--why", "to be read later"))
    ok(served.run("freeze", "off"))
    row = next(line for line in ok(served.run("audit", "list")).splitlines() if " freeze " in line)
    assert row.endswith("why to be read later")


def test_a_terminal_gets_bars(served: Served) -> None:
    said = on_a_terminal(["--socket", str(served.socket), "job", "watch", served.order("bars")])
    assert "━" in said
    assert "done" in said


def test_long_lists_page_and_all_fetches_everything(served: Served) -> None:
    for number in range(5):
        served.send("order.created", f"page-{number}", client_id="pager", plan=PLAN)
    first = served.run("service", "list", "--client", "pager", "--limit", "2")
    assert "page-1" in ok(first)
    assert "page-2" not in first.stdout
    assert "more: --after page-1" in first.stderr
    second = ok(served.run("service", "list", "--client", "pager", "--limit", "2", "--after", "page-1"))
    assert "page-2" in second
    everything = read(served, "service", "list", "--client", "pager", "--limit", "2", "--all")
    assert [item["id"] for item in everything["items"]] == [f"page-{number}" for number in range(5)]
    assert everything["next"] is None


def test_a_dead_letter_is_listed_shown_and_replayed(served: Served) -> None:
    served.send("order.paid", "dead", client_id="c1", plan="no-such-plan")
    (event,) = read(served, "event", "list", "--dead")["items"]
    assert " msg-order.paid-dead-0 " in ok(served.run("event", "list", "--dead")), "billing's own id"
    assert "there is no plan" in ok(served.run("event", "show", str(event["seq"])))
    refused(served.run("event", "replay", str(event["seq"])), 3, "is dead again", "no-such-plan", f"event show {event['seq']}")
    assert read(served, "event", "show", str(event["seq"]))["replays"] == 1


def test_a_replay_that_is_refused_again_ends_with_the_exit_code_of_a_refusal(served: Served) -> None:
    served.send("service.terminate", "never-heard-of", version=1)
    (event,) = read(served, "event", "list", "--outcome", "refused", "--service", "never-heard-of")["items"]
    refused(served.run("event", "replay", str(event["seq"])), 4, "is refused again", "never-heard-of")
    told = served.run("event", "replay", str(event["seq"]), "--json")
    assert (told.returncode, json.loads(told.stdout)["outcome"]) == (4, "refused")


def test_one_word_freezes(served: Served) -> None:
    provisioned(served, "cold")
    assert "frozen by unix:" in ok(served.run("freeze", "--why", "billing went mad"))
    waiting = served.run("service", "suspend", "cold", "--reason", "x")
    assert waiting.returncode == 4
    assert "waits: frozen" in waiting.stdout
    assert "goes on after `orchestrator freeze off`" in waiting.stdout
    job = read(served, "job", "list", "--service", "cold")["items"][0]["id"]
    refused(served.run("job", "watch", job), 4, "waits: frozen", "goes on after `orchestrator freeze off`", f"job approve {job}")
    refused(served.run("job", "approve", job), 4, "freeze")
    assert "billing went mad" in ok(served.run("freeze", "show"))
    assert "not frozen" in ok(served.run("freeze", "off"))
    ok(served.run("job", "watch", job))


def test_a_second_freeze_says_that_the_first_one_stands(served: Served) -> None:
    ok(served.run("freeze", "--why", "first"))
    for words in (("freeze",), ("freeze", "on")):
        second = served.run(*words, "--why", "second")
        assert "frozen by unix:" in ok(second)
        assert second.stdout.splitlines()[0].endswith("Z: first")
        assert "stood already" in second.stderr
        assert "'second' was not taken" in second.stderr
    assert not served.run("freeze", "--why", "first").stderr
    ok(served.run("freeze", "off"))


def test_every_command_that_leaves_a_waiting_job_ends_with_4(served: Served) -> None:
    provisioned(served, "in-court")
    ok(served.run("service", "suspend", "in-court", "--hold", "legal", "--reason", "a judge", "--watch"))
    served.send("service.terminate", "in-court", version=1)
    (event,) = read(served, "event", "list", "--outcome", "refused", "--service", "in-court")["items"]
    ok(served.run("service", "unsuspend", "in-court", "--hold", "legal", "--watch"))
    provisioned(served, "waits")
    ok(served.run("freeze", "--why", "to wait"))
    replayed = served.run("event", "replay", str(event["seq"]))
    assert (replayed.returncode, "waits: frozen" in replayed.stdout) == (4, True), replayed
    ending = served.run("service", "terminate", "waits", "--reason", "x", "--yes-i-mean", "waits", "--json")
    assert ending.returncode == 4
    job = json.loads(ending.stdout)["job_id"]
    ok(served.run("job", "cancel", job, "--why", "it waited long enough"))
    again = served.run("job", "retry", job)
    assert (again.returncode, f"job {job} waits: frozen" in again.stdout) == (4, True)
    told = served.run("job", "retry", job, "--json")
    assert told.returncode == 3, "it waits already"
    assert "waits because  frozen" in ok(served.run("job", "show", job))
    ok(served.run("job", "cancel", job))
    shown = ok(served.run("job", "show", job))
    assert re.search("^note +cancelled by unix:", shown, re.MULTILINE)
    assert "waits because" not in shown
    assert "was cancelled by unix:" in served.run("job", "watch", job).stderr
    ok(served.run("freeze", "off"))


def test_what_is_promised_is_shown_of_what_may_be_promised(served: Served) -> None:
    node = read(served, "node", "show", "n1")
    assert node["promisable_vcpus"] == node["cpus"] * 4, "the ratio"
    row = next(line for line in ok(served.run("node", "list")).splitlines() if line.startswith("n1 "))
    assert f"{node['promised_vcpus']} of {node['promisable_vcpus']}  " in row
    unseen = read(served, "node", "show", "n2")
    assert (unseen["promisable_vcpus"], unseen["promisable_memory_bytes"], unseen["promisable_disk_bytes"]) == (None, None, None)


def test_nodes_are_listed_enrolled_and_examined(served: Served) -> None:
    assert "maintenance" in ok(served.run("node", "list"))
    assert "SHA256:simulated-n2" in ok(served.run("node", "host-keys", "n2"))
    refused(served.run("node", "enrol", "n2", "--identity", "/nowhere"), 2, "SHA256:simulated-n2", "by a person")
    enrolled = ok(served.run("node", "enrol", "n2", "--identity", "/nowhere", "--fingerprint", "SHA256:simulated-n2"))
    assert "n2 is enrolled" in enrolled
    assert "host key pinned: SHA256:simulated-n2" in enrolled
    assert "hardware virtualisation" in ok(served.run("node", "doctor", "n2"))
    assert read(served, "node", "show", "n2")["enrolled"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "list"),
        ("plan", "show", PLAN),
        ("template", "list"),
        ("template", "show", "debian"),
        ("ip", "ranges"),
        ("ip", "list"),
        ("audit", "list"),
        ("audit", "verify"),
        ("certificate", "list"),
        ("job", "list"),
        ("event", "list"),
        ("node", "show", "n1"),
    ],
)
def test_what_is_shown_is_shown_to_people_and_to_scripts(served: Served, arguments: tuple[str, ...]) -> None:
    assert ok(served.run(*arguments)).strip()
    assert isinstance(read(served, *arguments), dict)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("service", "show", "nobody"), 3, "nobody"),
        (("service", "show", "a b"), 2, "service_id"),
        (("service", "list", "--state", "happy"), 2, "state"),
        (("service", "suspend", "x"), 2, "--reason"),
        (("service", "explode", "x"), 2, "explode"),
        (("job", "show", "none"), 3, "none"),
        (("event", "show", "0"), 2, "0"),
        (("nonsense",), 2, "nonsense"),
        (("service", "list", "--limit", "0"), 2, "limit"),
    ],
)
def test_a_wrong_call_ends_with_a_sentence_and_its_exit_code(
    served: Served, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    refused(served.run(*arguments), exit_code, words)


def test_without_a_controller_it_says_so_and_how_to_start_one(tmp_path: Path) -> None:
    refused(
        command("--socket", str(tmp_path / "none.sock"), "service", "list"), 5, "no controller is running", "orchestrator serve"
    )
    refused(command("--url", "http://127.0.0.1:1", "service", "list"), 5, "no controller answers")
    refused(command("--url", "not a url", "service", "list"), 2, "URL")


def test_over_tcp_a_token_is_needed_and_never_taken_from_the_command_line(served: Served, tmp_path: Path) -> None:
    token = ok(served.run("token", "create", "for-the-cli", "--role", "readonly")).strip()
    path = tmp_path / "token"
    path.write_text(token + "\n", encoding="ascii")
    refused(command("--url", served.url, "service", "list"), 7, "token")
    ok(command("--url", served.url, "--token-file", str(path), "service", "list"))
    ok(process("--url", served.url, "service", "list", ORCHESTRATOR_TOKEN=token))
    refused(command("--url", served.url, "--token-file", str(path), "freeze"), 7, "readonly")
    refused(command("--url", served.url, "--token-file", str(tmp_path / "none"), "service", "list"), 2, "none")
    refused(command("--url", served.url, "--token", token, "service", "list"), 2, "--token")
    ok(served.run("token", "revoke", "for-the-cli"))
    refused(command("--url", served.url, "--token-file", str(path), "service", "list"), 7, "revoked")
    assert token not in ok(served.run("token", "list")) + ok(served.run("audit", "list", "--all")) + served.log


def test_ctrl_c_while_watching_is_quiet_and_leaves_the_job_alone(served: Served) -> None:
    world = FakeWorld(served.directory / "state" / WORLD_FILE)
    world.fault("hypervisor.define", nth=0, error=TransientDriverError("busy", retry_after=5))
    provisioned_job = served.order("interrupted")
    process = subprocess.Popen(
        [*ORCHESTRATOR, "--socket", str(served.socket), "job", "watch", provisioned_job],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith(f"orchestrator: interrupted: job {provisioned_job} goes on\n"), err
    assert "Traceback" not in err
    world.clear_faults()
    ok(served.run("job", "watch", provisioned_job))


def test_a_closed_pipe_is_no_error(served: Served) -> None:
    line = f"{sys.executable} -m orchestrator.cli.main --socket {served.socket} audit list --all --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help_and_imports_nothing_heavy_for_it(name: tuple[str, ...]) -> None:
    script = (
        "import sys; from orchestrator.cli.main import run; code = run(sys.argv[1:]); "
        "heavy = {'dbos', 'sqlalchemy', 'pydantic', 'fastapi', 'paramiko', 'libvirt', 'httpx', 'rich'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *name, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "Usage: orchestrator" in done.stdout
    assert done.stderr == "[]\n"


def test_help_is_there_at_once() -> None:
    clock = SystemClock()
    started = clock.monotonic()
    ok(process("--help"))
    # Ten times what it takes: the bound catches an import of the engine, not a busy machine.
    assert clock.monotonic() - started < 2.0
