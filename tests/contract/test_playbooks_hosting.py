"""The playbooks of hosting accounts, on the simulated node: carried out, and at each step broken off and undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain import accounts, outcomes
from orchestrator.domain.account_parts import AccountSettings, CronLine, Database, Site, SiteCertificate
from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom
from orchestrator.domain.backups import parts
from orchestrator.domain.errors import FenceClosed, OrchestratorError, PermanentDriverError, PreconditionError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.playbooks import OnFailure
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.drivers.fake.hosting_copies import break_database, write_database
from orchestrator.drivers.fake.hosting_strangers import settle
from orchestrator.drivers.fake.hosting_tarballs import lay
from orchestrator.steps.arguments import dump
from orchestrator.store import fence, site_certificates
from tests.certificates import certificate_for
from tests.contract.account_stage import USER, AccountStage
from tests.contract.stage import NOW
from tests.contract.test_playbooks import BOOKS, UNTIL, BrokenOff, Play
from tests.hosting_ground import HOST, LARGE, SMALL

SETTING = ("set-account", "import", "adopt")
ACCOUNTS = {name: book for name, book in BOOKS.items() if book.for_ == PlanKind.HOSTING}
CARRIED_OUT = (
    *("provision", "check", "suspend", "unsuspend", "limit", "unlimit", "change-plan", "set-account", "terminate"),
    *("import", "adopt", "backup", "restore", "drill", "tidy", "reactivate", "erase"),
)
LIMITED = Hold(reason=HoldReason.ABUSE, effect=HoldEffect.LIMIT, by="anna", why="too much", since=NOW)
IRREVOCABLE = {
    ("hosting-terminate", "wipe"),
    ("hosting-erase", "destroy"),
    ("hosting-tidy", "discard"),
    ("hosting-set-account", "certificate"),
    *(("hosting-adopt", step) for step in ("drop", "reopen")),
}
MORE = AccountSettings(
    sites=(
        Site(name="main", domains=("shop.example", "www.shop.example"), php="8.2"),
        Site(name="blog", domains=("blog.example",)),
    ),
    databases=(Database(name="main"),),
    cron=(CronLine(schedule="@daily", command="php cron.php"),),
)

SHOP = Adoption(
    stranger="shop",
    sites=(SiteFrom(name="main", root="/home/shop/public_html"),),
    databases=(DatabaseFrom(name="main", source="shop"),),
)
CRONTAB = [{"schedule": "@daily", "command": "php cron.php"}]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[AccountStage]:
    built = AccountStage(tmp_path)
    yield built
    built.close()


def provisioned(stage: AccountStage) -> dict[str, Any]:
    facts = Play(stage, "hosting-provision", "j1", facts={}).run()
    return {"node": HOST.name, "nodes_ever": [HOST.name], **facts}


def archived(stage: AccountStage, facts: Mapping[str, Any]) -> dict[str, Any]:
    """End the account by its playbook, keeping its archive; the service's facts."""
    stage.job(IntentKind.TERMINATE, "j2")
    made = Play(stage, "hosting-terminate", "j2", facts=facts, until=UNTIL).run()
    stage.put(outcomes.finish(stage.service(), IntentKind.TERMINATE, JobState.DONE, "", now=NOW, kept=True))
    with stage.db.write() as conn:
        fence.begin_anew(conn, "s1")
    return {"node": "", "nodes_ever": [HOST.name], "archive": made["archive"]}


def restoring(made: Mapping[str, Any], *, beside: bool = False, **named: Any) -> dict[str, Any]:
    """The arguments of a job that restores the backup that was made."""
    wanted = parts.arguments(replace(parts.ALL, **named), kind="hosting", beside=beside)
    return {"backup": made["make"]["backup"], **wanted}


def written(stage: AccountStage) -> dict[str, Any]:
    """An account with something in its home and its database; the service's facts."""
    facts = provisioned(stage)
    stage.write("letters", "the customer's letters")
    write_database(stage.world, HOST.name, USER, "main", "the customer's rows")
    return facts


def copied(stage: AccountStage, kind: IntentKind, facts: Mapping[str, Any], *, beside: bool) -> dict[str, Any]:
    """The arguments of a job on a backup, which is made."""
    more: dict[str, Any] = {}
    if kind in (IntentKind.RESTORE, IntentKind.TIDY, IntentKind.DRILL):
        more = restoring(Play(stage, "hosting-backup", "j2", facts=facts).run(), beside=beside or kind == IntentKind.TIDY)
    if kind == IntentKind.TIDY:
        aside = Play(stage, "hosting-restore", "j2", facts=facts, more=more).run()
        more = {"names": [aside["aside"]["into"]["name"]], "kept": [aside["aside"]["into"]["name"]]}
    if kind == IntentKind.DRILL:
        more |= {"role": "drill"}
    return more


def changed(stage: AccountStage, kind: IntentKind) -> dict[str, Any]:
    """The arguments of a job that changes what a customer has in his account; the stage's spec is then the new one."""
    before = stage.spec
    stage.spec = accounts.to_json(replace(stage.service(), account=MORE), SMALL)
    if kind == IntentKind.SET_ACCOUNT:
        return {"before": before, "certificate": handed_over(stage, "j3")}
    write_database(stage.world, HOST.name, USER, "main", "")  # over what is there already nothing is loaded
    if kind == IntentKind.ADOPT:
        settle(stage.world, HOST.name, "shop", databases={"shop": "rows"}, crontab=CRONTAB)
        return {"before": before, "adopt": dump(SHOP)}
    lay(stage.world, HOST.name, "old.tar.gz", files={"sites/main/public/index.php": "<?php"}, dumps={"main": "rows"})
    tarball = stage.ports.hosting(HOST.name).look_into("old.tar.gz", most_bytes=1 << 20, most_inodes=9, deadline=5)
    return {"before": before, "import": dump(tarball)}


def play(stage: AccountStage, name: str, facts: Mapping[str, Any], *, beside: bool = False) -> Play:
    """The playbook on a service in the state that its job finds; a termination keeps an archive."""
    kind = IntentKind(name.removeprefix("hosting-"))
    if kind in (IntentKind.ERASE, IntentKind.REACTIVATE):
        facts = archived(stage, facts)
    more = copied(stage, kind, facts, beside=beside)
    service = stage.service()
    if kind == IntentKind.UNSUSPEND:
        stage.job(IntentKind.SUSPEND, "j2")
        Play(stage, "hosting-suspend", "j2", facts=facts).run()
        stage.put(stage.service().without_hold(HoldReason.NONPAYMENT))
    if kind == IntentKind.UNLIMIT:
        stage.spec = accounts.to_json(service.with_hold(LIMITED), SMALL)
        Play(stage, "hosting-limit", "j2", facts=facts).run()
        stage.spec = accounts.to_json(service, SMALL)
    if kind == IntentKind.LIMIT:
        stage.spec = accounts.to_json(service.with_hold(LIMITED), SMALL)
    if kind == IntentKind.CHANGE_PLAN:
        stage.spec = accounts.to_json(replace(service, plan=LARGE.name), LARGE)
    if kind.value in SETTING:
        more = changed(stage, kind)
    stage.job(kind, "j3")
    return Play(stage, name, "j3", facts=facts, until=UNTIL if kind == IntentKind.TERMINATE else "", more=more)


def handed_over(stage: AccountStage, job: str) -> dict[str, Any]:
    """A certificate of the main site that the job is to install."""
    pair = certificate_for("shop.example", "www.shop.example")
    found = stage.ports.certificates.inspect(pair.certificate, pair.key)
    with stage.db.write() as conn:
        site_certificates.keep(conn, stage.ports.secrets, found.pair, job_id=job, service_id="s1")
    return dump(SiteCertificate(site="main", domains=found.names, until=found.until, sha256=found.sha256))


def reversible() -> list[tuple[str, str]]:
    """Every step of every playbook up to the first that cannot be undone."""
    found = []
    for name, book in ACCOUNTS.items():
        for step in book.steps:
            if step.on_failure is OnFailure.HALT:
                break
            found.append((name, step.id))
    return found


def test_every_intent_that_is_carried_out_on_accounts_has_a_playbook() -> None:
    assert set(ACCOUNTS) == {f"hosting-{IntentKind(kind)}" for kind in CARRIED_OUT}


@pytest.mark.parametrize("name", sorted(ACCOUNTS))
def test_each_playbook_runs_to_its_end_and_again_finds_nothing_to_do(stage: AccountStage, name: str) -> None:
    running = play(stage, name, {} if name == "hosting-provision" else written(stage))
    running.run()
    settled = stage.snapshot()
    running.applied.clear()
    running.run()
    assert stage.snapshot() == settled


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("name", "step_id"), [(n, s) for n, s in reversible() if n != "hosting-check" and (n, s) not in IRREVOCABLE]
)
def test_a_run_broken_off_at_any_step_leaves_things_as_they_were(
    stage: AccountStage, name: str, step_id: str, half: bool
) -> None:
    making = name == "hosting-provision"
    running = Play(stage, name, "j1", facts={}) if making else play(stage, name, written(stage), beside=step_id == "aside")
    untouched = stage.snapshot()
    with pytest.raises(BrokenOff):
        running.run(break_off_at=step_id, half=half)
    running.undo()
    assert stage.snapshot() == untouched


@pytest.mark.parametrize("suspended", [False, True])
def test_a_termination_paid_for_before_the_wipe_brings_the_account_back_as_it_was(stage: AccountStage, suspended: bool) -> None:
    facts = provisioned(stage)
    if suspended:
        stage.job(IntentKind.SUSPEND, "j2")
        Play(stage, "hosting-suspend", "j2", facts=facts).run()
    untouched = stage.snapshot()
    running = play(stage, "hosting-terminate", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe")
    stage.pay()
    running.given.clear()
    with pytest.raises(FenceClosed):
        running.run()
    running.undo()
    assert stage.snapshot() == untouched
    assert stage.service().point_of_no_return is None


def test_past_the_point_of_no_return_nothing_is_undone_and_the_run_goes_on(stage: AccountStage) -> None:
    running = play(stage, "hosting-terminate", provisioned(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe", half=True)
    with pytest.raises(OrchestratorError):
        running.undo()
    stage.pay()
    running.given.clear()
    running.run()
    kept = stage.ledger.certificate("s1")
    assert kept is not None
    assert [v["method"] for v in kept["volumes"]] == ["unlink"]
    assert stage.ledger.reservation("s1") is None


def test_an_archive_that_is_promised_is_never_done_without(stage: AccountStage) -> None:
    running = play(stage, "hosting-terminate", written(stage))
    untouched = stage.snapshot()
    break_database(stage.world, HOST.name, USER, "main")
    with pytest.raises(PermanentDriverError, match="h100001_main cannot be dumped"):
        running.run()
    running.undo()
    break_database(stage.world, HOST.name, USER)
    assert stage.snapshot() == untouched


def test_an_account_that_never_was_made_is_ended_without_a_wipe(stage: AccountStage) -> None:
    stage.job(IntentKind.TERMINATE, "j3")
    running = Play(stage, "hosting-terminate", "j3", facts={"node": "", "nodes_ever": []})
    assert [c.id for c in running.workflow.calls if not c.skipped] == ["residue", "capacity"]
    assert "never was on one" in running.run()["residue"]["proof"]


def test_an_account_whose_plan_is_sold_no_more_can_still_be_suspended_and_ended(stage: AccountStage) -> None:
    facts = provisioned(stage)
    stage.spec = {}
    for name in ("hosting-suspend", "hosting-unsuspend", "hosting-terminate"):
        Play(stage, name, "j9", facts=facts)
    for name in ("hosting-check", "hosting-limit", "hosting-unlimit"):
        with pytest.raises(PreconditionError):
            Play(stage, name, "j9", facts=facts)
