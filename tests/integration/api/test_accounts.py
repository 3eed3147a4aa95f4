"""What is set of hosting accounts over the API, webhooks and the CLI: real engine and store, a simulated node."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli.main import run
from orchestrator.drivers.fake import FakeWorld
from orchestrator.drivers.fake.hosting import use
from orchestrator.drivers.fake.hosting_strangers import settle
from orchestrator.drivers.fake.hosting_tarballs import lay
from orchestrator.drivers.fake.traffic import pass_through
from orchestrator.wiring.links import WORLD_FILE
from tests import live as lives
from tests.certificates import certificate_for
from tests.integration.api.answers import refused
from tests.integration.api.conftest import running
from tests.live import Live

WEB = """
name: web
kind: hosting
disk: 5 GB
inodes: 200000
cpu_percent: 50
memory: 512 MiB
tasks: 100
sites: 2
databases: 2
php: ["8.2"]
"""
HASH = "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"
SITES = [{"name": "main", "domains": ["shop.example"]}, {"name": "blog", "domains": ["blog.example"], "php": ""}]


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """With a hosting node beside the others, and a plan of it."""
    nodes = lives._FILES["nodes.yaml"]
    host = "  - {name: h1, zone: z1, address: 192.0.2.21, driver: fake, kind: hosting}\naddress_ranges:"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lives._FILES, "nodes.yaml", nodes.replace("address_ranges:", host))
        patch.setitem(lives._FILES, "plans/web.yaml", WEB)
        for live in running(tmp_path_factory.mktemp("live")):
            live.enrol("h1")
            yield live


def bought(live: Live, service_id: str) -> str:
    answer = live.send(
        "order.paid", service_id, client_id="c1", plan="web", order_id=f"o-{service_id}", domain=f"{service_id}.example"
    )
    job = live.wait(str(answer.json()["job_id"]))
    assert job.state == "done", job.error
    return service_id


def world(live: Live) -> FakeWorld:
    return FakeWorld(live.config.settings.state_dir / WORLD_FILE)


def cli(live: Live, *words: str) -> int:
    return run(["--socket", str(live.socket), *words])


def shown(live: Live, service_id: str) -> dict[str, Any]:
    return dict(live.http.get(f"/v1/services/{service_id}/account").json())


def settled(live: Live, answer: Any) -> None:
    assert answer.status_code == 202, answer.text
    job = live.wait(answer.json()["job_id"])
    assert (job.state, job.error) == ("done", "")


def test_an_account_as_it_was_ordered_is_shown_before_anything_was_set(hosting: Live) -> None:
    found = shown(hosting, bought(hosting, "fresh"))
    assert found["sites"] == [{"name": "main", "domains": ["fresh.example", "www.fresh.example"], "php": "8.2"}]
    assert found["databases"] == [{"name": "main", "password_set": False}]
    assert (found["cron"], found["certificates"], found["databases_full"]) == ([], [], False)


def test_what_is_set_is_shown_and_a_hash_never(hosting: Live) -> None:
    bought(hosting, "set")
    body = {"sites": SITES, "databases": [{"name": "main", "password_hash": HASH}], "reason": "he asked"}
    answer = hosting.http.post("/v1/services/set/account", json=body)
    settled(hosting, answer)
    found = shown(hosting, "set")
    assert [each["php"] for each in found["sites"]] == ["8.2", ""]
    assert found["databases"] == [{"name": "main", "password_set": True}]
    job = hosting.http.get(f"/v1/jobs/{answer.json()['job_id']}").text
    assert HASH not in job
    assert HASH not in hosting.http.get("/v1/audit").text


def test_a_hash_in_an_event_that_was_refused_and_can_be_replayed_is_shown_by_nothing(hosting: Live) -> None:
    bought(hosting, "refused")
    three = [{"name": name, "password_hash": HASH} for name in ("main", "b", "c")]
    answer = hosting.send("service.set_account", "refused", version=1, account={"databases": three})
    assert answer.json()["outcome"] == "refused"
    event = hosting.http.get("/v1/events", params={"service_id": "refused"}).json()["items"][0]
    shown = hosting.http.get(f"/v1/events/{event['seq']}").text
    assert '\\"main\\"' in shown, "its body"
    assert HASH not in shown


def test_what_the_plan_has_not_and_what_no_account_can_have_is_refused(hosting: Live) -> None:
    bought(hosting, "much")
    path = "/v1/services/much/account"
    three = [{"name": f"s{n}", "domains": [f"s{n}.example"]} for n in range(3)]
    refused(hosting.http.post(path, json={"sites": three}), 409, "refused")
    refused(hosting.http.post(path, json={}), 400, "request-invalid")
    refused(hosting.http.post(path, json={"sites": [{"name": "main", "domains": ["a b"]}]}), 400, "request-invalid")
    refused(hosting.http.post(path, json={"site": []}), 400, "request-invalid")
    dry = hosting.http.post(f"{path}?dry_run=true", json={"sites": SITES}).json()
    assert [call["step"] for call in dry["workflow"]["calls"]] == ["account.set", "account.certificate"]
    assert len(shown(hosting, "much")["sites"]) == 1


def test_a_webhook_with_what_no_account_can_have_is_told_where_it_is_wrong(hosting: Live) -> None:
    bought(hosting, "told")
    answer = hosting.send("service.set_account", "told", version=1, account={"cron": [{"schedule": "x", "command": "y"}]})
    assert answer.status_code == 400
    assert "data.account" in answer.json()["detail"]
    assert "schedule" in answer.json()["detail"]
    none = hosting.send("service.set_account", "told", version=1)
    assert "data.account" in none.json()["detail"]


def test_what_the_command_line_shows_can_be_changed_and_given_back(
    hosting: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(hosting, "edited")
    assert cli(hosting, "service", "account", "edited") == 0
    text = capsys.readouterr().out
    found = yaml.safe_load(text)
    assert found["sites"][0]["domains"] == ["edited.example", "www.edited.example"]
    file = tmp_path / "account.yaml"
    file.write_text(text + "# one more\n")
    assert cli(hosting, "service", "set-account", "edited", str(file), "--watch") == 0
    file.write_text(
        "cron:\n- schedule: '@daily'\n  command: php cron.php\nsites:\n- {name: main, domains: [a.example], php: 8.2}\n"
    )
    assert cli(hosting, "service", "set-account", "edited", str(file), "--why", "he asked", "--watch") == 0
    after = shown(hosting, "edited")
    assert after["cron"] == [{"schedule": "@daily", "command": "php cron.php"}]
    assert after["sites"] == [{"name": "main", "domains": ["a.example"], "php": "8.2"}]


@pytest.mark.parametrize("text", ["", "- a\n", "sites: [\n", "\x00"])
def test_a_file_that_says_nothing_of_an_account_is_refused(hosting: Live, tmp_path: Path, text: str) -> None:
    file = tmp_path / "account.yaml"
    file.write_text(text)
    assert cli(hosting, "service", "set-account", "any", str(file)) == 2
    assert cli(hosting, "service", "set-account", "any", str(tmp_path / "nowhere.yaml")) == 2


def test_what_is_wrong_in_a_file_is_said_of_the_file(hosting: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bought(hosting, "faulty")
    file = tmp_path / "account.yaml"
    wrong = {
        "cron: [\n  - a\n": ":2: this is neither YAML nor JSON: ",
        "sites:\ncron: []\n": ": 'sites' says nothing\n  leave 'sites' out where it is to stay",
        "databses: []\n": ": unknown part 'databses'; did you mean 'databases'?\n",
        "sites:\n- {name: main, domans: [a.example]}\n": ": sites.0.domains: 'domains' is missing\n"
        "  sites.0.domans: unknown field 'domans'; did you mean 'domains'?\n  `orchestrator service account",
    }
    for text, told in wrong.items():
        file.write_text(text)
        assert cli(hosting, "service", "set-account", "faulty", str(file)) == 2
        assert f"orchestrator: {file}{told}" in capsys.readouterr().err


def test_a_file_that_was_taken_by_mistake_is_neither_sent_nor_shown(
    hosting: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.cnf"
    file.write_text("whsec_geheim: x\nsites: []\n")
    assert cli(hosting, "service", "set-account", "any", str(file)) == 2
    said = capsys.readouterr().err
    assert "is it the right file?" in said
    assert "geheim" not in said


def test_a_service_whose_use_is_not_read_says_why(hosting: Live) -> None:
    bought(hosting, "unread")
    answer = hosting.http.get("/v1/services/unread/usage")
    refused(answer, 404, "not-found")
    assert answer.json()["detail"] == "what unread uses was not read yet"


def test_an_account_is_listed_by_its_domain_and_shown_with_its_user(hosting: Live, capsys: pytest.CaptureFixture[str]) -> None:
    bought(hosting, "named")
    assert cli(hosting, "service", "list") == 0
    assert "named.example" in capsys.readouterr().out
    assert cli(hosting, "service", "show", "named") == 0
    user = hosting.http.get("/v1/services/named").json()["facts"]["account"]["user"]
    assert f"{user} (uid {user[1:]}, /srv/h/{user}/home)" in capsys.readouterr().out


def test_a_certificate_goes_in_by_the_command_line_and_its_key_comes_out_nowhere(
    hosting: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(hosting, "safe")
    pair = certificate_for("safe.example", "www.safe.example")
    (tmp_path / "crt").write_text("made by hand\r\n" + pair.certificate)
    (tmp_path / "key").write_text(pair.key)
    words = ("service", "certificate", "safe", "--cert", str(tmp_path / "crt"), "--key", str(tmp_path / "key"))
    assert cli(hosting, *words, "--watch") == 0
    (found,) = shown(hosting, "safe")["certificates"]
    assert (found["site"], found["domains"]) == ("main", ["safe.example", "www.safe.example"])
    assert cli(hosting, "service", "account", "safe") == 0
    told = capsys.readouterr().out
    assert "# main: certificate until" in told
    for route in ("jobs", "audit", "services/safe"):
        assert "PRIVATE KEY" not in hosting.http.get(f"/v1/{route}").text
    other = certificate_for("safe.example", "www.safe.example")
    (tmp_path / "key").write_text(other.key)
    assert cli(hosting, *words) == 2
    assert other.key.splitlines()[1] not in capsys.readouterr().err


def test_a_guest_has_no_account(hosting: Live) -> None:
    hosting.provisioned("guest")
    refused(hosting.http.get("/v1/services/guest/account"), 404, "not-found")
    refused(hosting.http.post("/v1/services/guest/account", json={"cron": []}), 409, "refused")


def test_an_operator_reads_what_an_account_uses_with_units_and_when_and_of_what(
    hosting: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(hosting, "using")
    assert cli(hosting, "service", "usage", "using") == 3
    assert "what using uses was not read yet" in capsys.readouterr().err
    assert cli(hosting, "service", "show", "using") == 0
    found = re.search(r"^account +(h\d+) \(uid (\d+), /srv/h/\1/home\)$", capsys.readouterr().out, re.MULTILINE)
    assert found is not None
    assert found[1] == f"h{found[2]}"
    use(world(hosting), "h1", found[1], bytes=1_500_000_000, inodes=12_345, database_bytes=10**9, traffic={"2026-11": 5 << 20})
    hosting.controller.engine.meter()
    assert cli(hosting, "service", "usage", "using") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"read at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ files 1500 MB in 12,345 inodes \(files, directories", told)
    assert "databases 1 GB cpu time 0 s of one core since it was first read" in told
    assert "traffic 2026-11: 5 MiB in and out, by the node's clock" in told
    assert "disk, files and databases together: 50 % (2.5 GB of 5 GB)" in told
    assert "inodes: 6 % (12,345 of 200,000)" in told


def test_of_a_guest_its_traffic_is_read(hosting: Live, capsys: pytest.CaptureFixture[str]) -> None:
    hosting.provisioned("machine")
    pass_through(world(hosting), "n1", "orch.machine", in_bytes=5 << 20, out_bytes=1 << 20)
    assert hosting.controller.engine.count_traffic() >= 1
    found = hosting.http.get("/v1/services/machine/usage").json()
    assert (list(found["traffic"].values()), found["shares"], found["throttled"]) == ([6 << 20], [], False)
    assert cli(hosting, "service", "usage", "machine") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"read at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ traffic \d{4}-\d\d: 6 MiB in and out", told)
    assert (
        'orchestrator_service_usage_traffic_bytes{service="machine"} 6.291456e+06' in hosting.http.get("/metrics/services").text
    )
    assert cli(hosting, "service", "show", "machine") == 0
    told = capsys.readouterr().out
    assert re.search(r"^payments +1 counted$", told, re.MULTILINE)
    assert "account" not in [line.partition(" ")[0] for line in told.splitlines()]


def test_an_account_moves_in_by_the_command_line_which_says_first_what_is_in_it(
    hosting: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(hosting, "moving")
    sites = [{**site, "domains": [f"moving.{domain}" for domain in site["domains"]]} for site in SITES]
    lay(world(hosting), "h1", "moving.tar.gz", files={"a": "x"}, dumps={"main": "rows"}, settings={"sites": sites})
    words = ("service", "import", "moving", "moving.tar.gz")
    assert cli(hosting, *words, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "moving.tar.gz, 4 KiB in 1 files and directories, databases main: the policy says nothing of moving in" in told
    assert "account.import" in told
    assert len(shown(hosting, "moving")["sites"]) == 1
    assert "tarball stays" not in told, "nothing is done with it"
    assert cli(hosting, *words, "--why", "he moves", "--watch") == 0
    left = "the tarball stays on the node, /var/lib/orchestrator-agent/imports/moving.tar.gz: remove it there when"
    assert left in capsys.readouterr().out
    assert [each["name"] for each in shown(hosting, "moving")["sites"]] == ["main", "blog"]
    assert cli(hosting, "service", "import", "moving", "nothing.tar.gz") == 3
    assert cli(hosting, "service", "import", "moving", "/root/moving.tar.gz") == 2
    assert "give its name alone" in capsys.readouterr().err
    lay(world(hosting), "h1", "evil.tar.gz", hostile="home/a is a device, a pipe or the like")
    assert cli(hosting, "service", "import", "moving", "evil.tar.gz") == 4
    assert "home/a is a device" in capsys.readouterr().err
    refused(hosting.http.post("/v1/services/moving/import", json={"file": "../../etc/passwd"}), 400, "request-invalid")


def test_a_user_made_by_hand_is_adopted_by_the_command_line_which_says_first_what_is_there(
    hosting: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    bought(hosting, "byhand")
    line = {"schedule": "@daily", "command": "php cron.php"}
    said: dict[str, Any] = {"databases": {"Shop-1": "rows"}, "crontab": [line], "not_taken": ["its mail (/var/mail/shop)"]}
    said |= {"vhosts": {"/etc/nginx/sites-enabled/shop": {"/home/shop/public_html": ["made-by-hand.example"]}}}
    settle(world(hosting), "h1", "shop", **said)
    words: tuple[str, ...] = ("service", "adopt", "byhand", "--user", "shop", "--database", "main=Shop-1")
    assert cli(hosting, *words, "--dry-run") == 4
    assert "nginx serves of shop: /home/shop/public_html (--site NAME=DIRECTORY)" in capsys.readouterr().out
    words = (*words, "--site", "main=/home/shop/public_html")
    assert cli(hosting, *words, "--dry-run") == 0
    told = capsys.readouterr().out
    for part in (
        "shop (uid 1001), /home/shop, 4 KiB in 1 files and directories: the policy says nothing of moving in",
        "site main: /home/shop/public_html, for made-by-hand.example",
        "database main: Shop-1, 4 B",
        "cron: @daily php cron.php",
        "its mail (/var/mail/shop)",
        "userdel --remove shop",
        "account.set-aside",
    ):
        assert part in told, part
    assert len(shown(hosting, "byhand")["sites"][0]["domains"]) == 2
    assert cli(hosting, *words, "--dry-run", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["misfits"], answer["found"]["files"]) == ([], ["/etc/nginx/sites-enabled/shop"])
    assert cli(hosting, *words, "--node", "h2") == 3
    assert "is on h1, and shop lives on h2" in capsys.readouterr().err
    assert cli(hosting, *words, "--why", "he moves", "--watch") == 0
    assert "left afterwards, until you remove it:" in capsys.readouterr().out
    found = shown(hosting, "byhand")
    assert ("made-by-hand.example" in found["sites"][0]["domains"], found["cron"]) == (True, [line])
    assert cli(hosting, "service", "adopt", "byhand", "--user", "shop", "--site", "main") == 2
    assert cli(hosting, "service", "adopt", "byhand", "--user", "nobodyhere", "--site", "a=/home/x") == 3
    assert cli(hosting, "service", "adopt", "byhand", "--user", "root", "--site", "a=/home/x") == 4
    refused(hosting.http.post("/v1/services/byhand/adopt", json={"user": "../x"}), 400, "request-invalid")
    refused(
        hosting.http.post("/v1/services/byhand/adopt", json={"user": "x", "sites": [{"name": "a", "root": "x"}]}),
        400,
        "request-invalid",
    )
