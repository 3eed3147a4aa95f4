"""The cap gate: what is larger than was promised is not backed up, and people are told by how much and where it lies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.backups.caps import caps, refuses
from orchestrator.domain.backups.offer import Offer
from orchestrator.domain.backups.words import Measured
from orchestrator.domain.policies import SILENT, Backup, BackupCaps
from orchestrator.domain.terms import Terms

GB = 10**9
POLICY = replace(SILENT, name="tnet", backup=Backup(caps=BackupCaps(clause="Backup Data", size_bytes=10 * GB, inodes=250_000)))
ACCOUNT = Terms(policy=POLICY, kind="hosting")
GUEST = Terms(policy=POLICY, kind="vps")


def offered(terms: Terms, cap_bytes: int | None = None, cap_inodes: int | None = None) -> Terms:
    return replace(terms, backups=Offer(plan="big", cap_bytes=cap_bytes, cap_inodes=cap_inodes))


@pytest.mark.parametrize(
    ("size", "inodes", "passes"),
    [
        (10 * GB, 250_000, True),
        (0, 250_001, False),
        (10 * GB + 1, 1, False),
        (10 * GB + 1, 250_001, False),
    ],
)
def test_an_account_may_have_what_was_promised_and_not_one_more(size: int, inodes: int, passes: bool) -> None:
    assert (refuses(Measured(size_bytes=size, inodes=inodes), caps(ACCOUNT)) is None) is passes


def test_who_is_refused_is_told_the_numbers_the_largest_directories_and_the_rule() -> None:
    largest = (("mail", 9 * GB, 200_000), ("www/cache", 2 * GB, 60_000), ("tmp", GB, 10), ("logs", 1, 1))
    refusal = refuses(Measured(size_bytes=12 * GB, inodes=250_001, largest=largest), caps(ACCOUNT))
    assert refusal is not None
    assert refusal.reason == (
        "backup refused: it has 12 GB (at most 10 GB) and 250,001 inodes (at most 250,000); "
        "the last backup stays; largest: mail (9 GB, 200,000 inodes), www/cache (2 GB, 60,000 inodes), tmp (1 GB, 10 inodes)"
    )
    assert refusal.rule == "tnet: Backup Data"


def test_only_what_is_over_is_told() -> None:
    refusal = refuses(Measured(size_bytes=GB, inodes=300_000), caps(ACCOUNT))
    assert refusal is not None
    assert refusal.reason == "backup refused: it has 300,000 inodes (at most 250,000); the last backup stays"


def test_a_policys_caps_are_for_accounts_and_a_guest_has_its_plans_alone() -> None:
    huge = Measured(size_bytes=500 * GB, inodes=10**7)
    assert refuses(huge, caps(GUEST)) is None
    refusal = refuses(huge, caps(offered(GUEST, cap_bytes=100 * GB)))
    assert refusal is not None
    assert (refusal.rule, "(at most 100 GB)" in refusal.reason, "inodes" in refusal.reason) == ("plan big", True, False)
    assert refuses(huge, caps(offered(GUEST, cap_bytes=500 * GB, cap_inodes=1))) is None


def test_a_plans_own_cap_takes_the_place_of_the_policys_each_by_itself() -> None:
    own = offered(ACCOUNT, cap_bytes=50 * GB)
    assert [(cap.what, cap.most, cap.rule) for cap in caps(own)] == [
        ("bytes", 50 * GB, "plan big"),
        ("inodes", 250_000, "tnet: Backup Data"),
    ]
    refusal = refuses(Measured(size_bytes=51 * GB, inodes=250_001), caps(own))
    assert refusal is not None
    assert refusal.rule == "plan big; tnet: Backup Data"


def test_where_nobody_says_anything_an_account_has_the_usual_caps_and_a_guest_none() -> None:
    usual = caps(Terms(policy=SILENT, kind="hosting"))
    rule = "what holds for accounts by default"
    assert [(cap.what, cap.most, cap.rule) for cap in usual] == [("bytes", 10 * GB, rule), ("inodes", 250_000, rule)]
    assert caps(Terms(policy=SILENT, kind="vps")) == ()
    own = caps(offered(Terms(policy=SILENT, kind="hosting"), cap_bytes=50 * GB))
    assert [(cap.what, cap.most) for cap in own] == [("bytes", 50 * GB), ("inodes", 250_000)]
