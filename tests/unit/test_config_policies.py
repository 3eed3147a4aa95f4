"""Policies are read in the style of the configuration: every fault at once, with its line, path and a sentence."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.config.load import load
from orchestrator.config.policies import load_policies
from orchestrator.config.policy_file import PolicyFile
from orchestrator.config.policy_reading import load_policy
from orchestrator.config.policy_shown import shown
from orchestrator.config.policy_stored import from_store, to_store
from orchestrator.config.policy_values import parse_days, parse_hours
from orchestrator.config.schemas import settings
from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.policies import SILENT, Act, Effect, Policy, rules

GOOD = """\
name: acme
provider: Acme Hosting
order:
  cancel_unpaid: {after: 2 days, clause: "1"}
overdue:
  suspend: {after: 3 business days, asks: true, clause: "2"}
  terminate: {after: 15 days, since: due, notice: 1 day, clause: "3"}
  forbids:
    - {acts: [backup, restore], clause: "4"}
    - {acts: [downgrade], clause: "5"}
  chargeback: {effect: suspend, clause: "6"}
reactivation:
  fees: {kinds: {vps: 50000}, clause: "7"}
archive: {keep: {vps: 5 days}, clause: "8"}
erase: {within: 90 days, since: termination, clause: "9"}
late_payment: {what: from-archive, clause: "10"}
minimum_term: {months: {vps: 1}, clause: "11"}
money_back: {within: 30 days, since: activation, kinds: [vps], clause: "12"}
traffic: {clause: "13"}
backup:
  caps: {size: 10 GB, inodes: 250000, clause: "14"}
restore: {per_month: 1, over_per_gb: 100000, clause: "15"}
conduct:
  abuse: {effects: [suspend, terminate], clause: "16"}
  copyright: {cease: 72 h, effect: limit, clause: "17"}
location: {country: ID, clause: "18"}
"""


def write(tmp_path: Path, text: str, name: str = "acme.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path


def problems_of(directory: Path) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_policies(directory)
    return [(problem["line"], problem["path"], problem["sentence"]) for problem in caught.value.details["problems"]]


def test_a_policy_is_read_whole(tmp_path: Path) -> None:
    policy = load_policies(write(tmp_path, GOOD))["acme"]
    given = {path: rule.clause for path, rule in rules(policy) if rule is not None}
    assert sorted(given.values(), key=int) == [str(number) for number in range(1, 19) if number != 4]  # 5 is the last of forbids
    assert policy.overdue.suspend is not None
    assert (policy.overdue.suspend.after, policy.overdue.suspend.asks) == (Days(3, DayKind.BUSINESS), True)
    assert [rule.acts for rule in policy.overdue.forbids] == [{Act.BACKUP, Act.RESTORE}, {Act.DOWNGRADE}]
    assert policy.backup.caps is not None
    assert policy.backup.caps.size_bytes == 10**10
    assert policy.conduct.abuse is not None
    assert policy.conduct.abuse.effects == (Effect.SUSPEND, Effect.TERMINATE)
    assert policy.conduct.copyright is not None
    assert policy.conduct.copyright.cease == timedelta(hours=72)
    assert policy.money_back is not None
    assert policy.money_back.kinds == {"vps"}


def test_what_is_left_out_and_what_is_null_is_silence(tmp_path: Path) -> None:
    text = "name: acme\nprovider: Acme Hosting\noverdue: null\nbackup:\n  caps: null\nrestore: null\n"
    policy = load_policies(write(tmp_path, text))["acme"]
    assert list(rules(policy)) == list(rules(SILENT))
    assert all(rule is None for _, rule in rules(policy))


FAULTS = [
    ("after: 2 days", "after: 2", 4, "order.cancel_unpaid.after", "'2' is no number of days: write such as '2 days'"),
    ("after: 2 days", "after: 2 weeks", 4, "order.cancel_unpaid.after", "is no number of days"),
    ("after: 2 days", "after: -2 days", 4, "order.cancel_unpaid.after", "is no number of days"),
    ("after: 2 days", "after: 99999 days", 4, "order.cancel_unpaid.after", "longer than a hundred years"),
    ("after: 2 days, ", "", 4, "order.cancel_unpaid.after", "'after' is missing"),
    (', clause: "2"', "", 6, "overdue.suspend.clause", "'clause' is missing"),
    ('clause: "13"', 'clause: ""', 19, "traffic.clause", "must not be empty"),
    ('clause: "13"', "clause: 13", 19, "traffic.clause", "put 13 in quotes"),
    ("asks: true", "asks: maybe", 6, "overdue.suspend.asks", "must be true or false"),
    ("asks: true", "ask: true", 6, "overdue.suspend.ask", "unknown key 'ask'; did you mean 'asks'?"),
    (
        "since: due",
        "since: dew",
        7,
        "overdue.terminate.since",
        "must be 'due', 'suspension' or 'period-end'; did you mean 'due'?",
    ),
    ("[backup, restore]", "[backup, reboot]", 9, "overdue.forbids[0].acts[1]", "must be 'backup', 'restore'"),
    ("[backup, restore]", "[backup, backup]", 9, "overdue.forbids[0].acts", "names something twice"),
    ("[downgrade]", "[restore]", 10, "overdue.forbids[1].acts", "'restore' is forbidden by an earlier rule already"),
    ("{effect: suspend", "{effect: limit", 11, "overdue.chargeback.effect", "must be 'suspend' or 'terminate'"),
    ("{vps: 50000}", "{vsp: 50000}", 13, "reactivation.fees.kinds", "there is no kind 'vsp'; did you mean 'vps'?"),
    ("{vps: 50000}", "{vps: 500.5}", 13, "reactivation.fees.kinds.vps", "must be a whole number"),
    ("{vps: 50000}", "{vps: -1}", 13, "reactivation.fees.kinds.vps", "must be at least 0"),
    ("{vps: 50000}", "{vps: Rp 50}", 13, "reactivation.fees.kinds.vps", "must be a whole number"),
    ("{vps: 50000}", "{}", 13, "reactivation.fees.kinds", "leave the rule out"),
    ("{vps: 50000}", "vps", 13, "reactivation.fees.kinds", "must name kinds of service: vps, hosting"),
    ("keep: {vps: 5 days}", "keep: {vps: 91 days}", 14, "archive.keep.vps", "is kept for 91 days, and erase.within is 90 days"),
    ("keep: {vps: 5 days}", "keep: {vps: 91 business days}", 14, "archive.keep.vps", "is kept for 91 business days"),
    ('archive: {keep: {vps: 5 days}, clause: "8"}', "archive: null", 16, "late_payment.what", "needs an archive"),
    ("{vps: 1}", "{vps: 0}", 17, "minimum_term.months.vps", "must be at least 1"),
    ("kinds: [vps]", "kinds: [vps, vps]", 18, "money_back.kinds", "names something twice"),
    ("kinds: [vps]", "kinds: [mail]", 18, "money_back.kinds", "there is no kind 'mail'"),
    ("10 GB", "10 gigs", 21, "backup.caps.size", "is no size"),
    ("[suspend, terminate]", "[terminate, suspend]", 24, "conduct.abuse.effects", "the mildest stands first"),
    ("[suspend, terminate]", "[]", 24, "conduct.abuse.effects", "must have at least 1"),
    ("72 h", "72 days", 25, "conduct.copyright.cease", "is no number of hours"),
    ("effect: limit", "effect: terminate", 25, "conduct.copyright.effect", "must be 'suspend', 'limit' or 'read-only'"),
    ("country: ID", "country: Indonesia", 26, "location.country", "two capital letters"),
    ("name: acme", "name: other", 1, "name", "has to stand in other.yaml, not in acme.yaml"),
    ("provider: Acme Hosting\n", "", 1, "provider", "'provider' is missing"),
    ("restore:", "restores:", 22, "restores", "unknown key 'restores'; did you mean 'restore'?"),
    ("traffic: {", "trafic: {", 19, "trafic", "unknown key 'trafic'; did you mean 'traffic'?"),
]


@pytest.mark.parametrize(("old", "new", "line", "path", "words"), FAULTS)
def test_a_fault_is_named_with_line_and_path(tmp_path: Path, old: str, new: str, line: int, path: str, words: str) -> None:
    assert old in GOOD
    found = problems_of(write(tmp_path, GOOD.replace(old, new, 1)))
    assert any(at == line and where == path and words in sentence for at, where, sentence in found), found


def test_faults_of_all_policies_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("2 days", "soon").replace("72 h", "later"))
    write(tmp_path, "name: [", "broken.yaml")
    write(tmp_path, GOOD, "other.yaml")
    write(tmp_path, GOOD, "acme.yml")
    with pytest.raises(ConfigError) as caught:
        load_policies(tmp_path)
    found = [(Path(problem["file"]).name, problem["path"]) for problem in caught.value.details["problems"]]
    assert found[:3] == [("acme.yaml", "order.cancel_unpaid.after"), ("acme.yaml", "conduct.copyright.cease"), ("acme.yml", "")]
    assert [name for name, _ in found[3:]] == ["broken.yaml", "other.yaml"]


def test_an_archive_of_business_days_that_may_end_in_time_is_taken(tmp_path: Path) -> None:
    """5 calendar days are never longer than 5 business days; the other way round it depends on the year."""
    text = GOOD.replace("within: 90 days", "within: 5 business days")
    assert load_policies(write(tmp_path, text))["acme"].archive is not None


def test_one_policy_is_read_from_a_file_anywhere(tmp_path: Path) -> None:
    assert load_policy(write(tmp_path, GOOD) / "acme.yaml").provider == "Acme Hosting"
    with pytest.raises(ConfigError, match="1 problem"):
        load_policy(write(tmp_path, GOOD.replace("72 h", "later")) / "acme.yaml")
    with pytest.raises(ConfigError, match="1 problem"):
        load_policy(tmp_path / "missing.yaml")


def test_days_and_hours_are_read_as_people_write_them() -> None:
    assert parse_days("1 day") == parse_days("1 days") == Days(1)
    assert parse_days("30 business days") == Days(30, DayKind.BUSINESS)
    assert parse_days("1 business day") == Days(1, DayKind.BUSINESS)
    assert parse_days("0 days") == Days(0)
    assert parse_hours("72 h") == parse_hours("72 hours") == timedelta(days=3)
    assert parse_hours("1 hour") == timedelta(hours=1)
    for wrong in ("0 h", "9000 h", "72", 72, None):
        with pytest.raises(ValueError, match="hour"):
            parse_hours(wrong)


@pytest.mark.parametrize("days", ["1 day", "2 days", "1 business day", "30 business days"])
def test_days_are_written_as_they_are_read(days: str) -> None:
    assert str(parse_days(days)) == days


ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SHIPPED = load_policies(CONFIGS / "policies")


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shown_of_a_policy_has_every_key_and_is_read_as_the_same(tmp_path: Path, name: str) -> None:
    content = shown(SHIPPED[name])
    assert list(content) == list(PolicyFile.model_fields)
    (tmp_path / f"{name}.yaml").write_text(json.dumps(content))
    assert load_policies(tmp_path) == {name: SHIPPED[name]}


def test_what_is_shown_is_written_as_people_write_it() -> None:
    assert shown(SHIPPED["zettagrid"])["conduct"]["copyright"]["cease"] == "72 h"
    assert shown(SHIPPED["herza"])["reactivation"]["window"]["kinds"] == {"hosting": "30 business days"}
    assert shown(SHIPPED["tnet"])["backup"]["caps"]["size"] == "10 GB"


def test_the_keys_of_a_list_are_named_as_such() -> None:
    assert {"overdue.forbids", "overdue.forbids[].acts"} <= {setting.path for setting in settings("policy")}


def test_the_manual_names_every_setting_with_its_default() -> None:
    section = (ROOT / "docs" / "policies.md").read_text().partition("\n## Keys\n")[2]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \| .+ \|$", section, re.MULTILINE)
    words = {None: "*required*", "": ""}
    wanted = [(setting.path, words.get(setting.default, f"`{setting.default}`")) for setting in settings("policy")]
    assert [(key, default.strip()) for key, default in rows] == [row for row in wanted if not row[0].endswith(".clause")]


def test_the_example_in_the_manual_is_the_shipped_rule() -> None:
    example = (ROOT / "docs" / "policies.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    lines = [line for line in example.splitlines() if "#" not in line]
    assert "\n".join(lines[1:]) in (CONFIGS / "policies" / "tnet.yaml").read_text()


# ---- as a part of the configuration


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIGS, tmp_path / "configs"))


def faults_of(configs: Path) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(configs)
    problems = caught.value.details["problems"]
    return [(str(Path(problem["file"]).relative_to(configs)), problem["path"], problem["sentence"]) for problem in problems]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_configuration_has_every_policy_and_each_plan_names_one(configs: Path) -> None:
    change(configs / "plans" / "vps-2.yaml", "templates:\n", "policy: tnet\ntemplates:\n")
    config = load(configs)
    assert config.policies == SHIPPED
    assert {name: plan.policy for name, plan in config.plans.items()} == {
        "dedicated-1": "default",
        "hosting-1": "default",
        "hosting-2": "default",
        "vps-1": "default",
        "vps-2": "tnet",
        "vps-plain": "default",
    }


def test_a_plan_with_a_policy_that_is_not_there_is_refused(configs: Path) -> None:
    change(configs / "plans" / "vps-1.yaml", "policy: default", "policy: enterpaige")
    assert faults_of(configs) == [("plans/vps-1.yaml", "policy", "there is no policy 'enterpaige'; did you mean 'enterpage'?")]


def test_a_plan_that_names_none_needs_the_default(configs: Path) -> None:
    (configs / "policies" / "default.yaml").unlink()
    found = faults_of(configs)
    assert [(file, path) for file, path, _ in found] == [
        (f"plans/{name}.yaml", "policy") for name in ("dedicated-1", "hosting-1", "hosting-2", "vps-1", "vps-2", "vps-plain")
    ]


def test_a_faulty_policy_is_told_with_the_other_files_and_does_not_make_its_plans_faulty(configs: Path) -> None:
    change(configs / "plans" / "vps-1.yaml", "policy: default", "policy: tnet")
    change(configs / "policies" / "tnet.yaml", "after: 2 days", "after: soon")
    (configs / "policies" / "default.yaml").write_text("name: [")
    change(configs / "orchestrator.yaml", "provider:", "provideer:")
    found = [(file, path) for file, path, _ in faults_of(configs)]
    assert ("policies/tnet.yaml", "order.cancel_unpaid.after") in found
    assert {file for file, _ in found} == {"orchestrator.yaml", "policies/default.yaml", "policies/tnet.yaml"}


def test_without_the_directory_nothing_is_promised(configs: Path) -> None:
    shutil.rmtree(configs / "policies")
    config = load(configs)
    assert {plan.policy for plan in config.plans.values()} == set(config.policies) == {"default"}
    assert all(rule is None for _, rule in rules(config.policies["default"]))


@pytest.mark.parametrize("made", [*SHIPPED.values(), SILENT], ids=lambda made: str(made.name))
def test_what_is_kept_of_a_policy_is_read_as_the_same(made: Policy) -> None:
    assert from_store(to_store(made)) == made
    assert to_store(made) == to_store(replace(made))


@pytest.mark.parametrize("text", ["", "{}", '{"name": "p", "provider": "P", "late_fee": 5}', "a: ["])
def test_what_this_version_cannot_read_of_an_earlier_one_is_nothing(text: str) -> None:
    assert from_store(text) is None
