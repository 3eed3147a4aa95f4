"""What the texts promise of backups, told by their clauses: of those that are not made yet, what people keep by hand."""

from __future__ import annotations

import pytest

from orchestrator.domain.policies import rules
from orchestrator.domain.policy_words import sentences
from tests.scenarios.story import shipped

BACKUP = "Bantuan Teknis, Backup Data"
CAPS = "No more than 10 GB or 250,000 inodes are backed up; with more, the last backup stays."
ONE = "1 backup kept: a new one that is whole deletes what is older."
UNCHECKED = "Backups are not checked by the provider, as the text says."


def told(provider: str) -> dict[str, tuple[str, str]]:
    """By rule: its sentence and its clause, of those that the text has."""
    policy = shipped()[provider]
    every = zip(rules(policy), sentences(policy), strict=True)
    return {path: (sentence, clause) for (path, rule), (_, sentence, clause) in every if rule is not None}


@pytest.mark.parametrize(
    ("provider", "wanted"),
    [
        ("enterpage", {"backup.caps": (CAPS, BACKUP), "backup.kept": (ONE, BACKUP)}),
        (
            "tnet",
            {
                "backup.on_request": ("A customer may ask for a backup, at most once in 7 days.", BACKUP),
                "backup.caps": (CAPS, BACKUP),
                "backup.kept": (ONE, BACKUP),
            },
        ),
        ("masternet", {}),
        (
            "herza",
            {
                "backup.schedule": ("Backups are made every: vps 7 days; every 1 day can be bought.", "Perjanjian Layanan VPS 5"),
                "backup.kept": (ONE, "Perjanjian Layanan VPS 5"),
                "backup.verified": (UNCHECKED, "Perjanjian Layanan VPS 5"),
            },
        ),
        (
            "zettagrid",
            {
                "backup.only_bought": ("Only a service that has bought backups gets them.", "5.6.2"),
                "backup.verified": (UNCHECKED, "5.6.4"),
            },
        ),
    ],
)
def test_each_text_s_own_promise_and_no_other(provider: str, wanted: dict[str, tuple[str, str]]) -> None:
    assert {path: words for path, words in told(provider).items() if path.startswith("backup.")} == wanted


@pytest.mark.parametrize(
    ("provider", "sentence"),
    [
        ("enterpage", "1 restore in a calendar month; beyond that refused."),
        ("tnet", "1 restore in a calendar month; beyond that Rp 100,000 for each started GB."),
    ],
)
def test_bantuan_teknis_restore_data_one_a_month(provider: str, sentence: str) -> None:
    assert told(provider)["restore"] == (sentence, "Bantuan Teknis, Restore Data")


@pytest.mark.parametrize("provider", ["masternet", "herza", "zettagrid"])
def test_who_says_nothing_of_restores_counts_none(provider: str) -> None:
    assert "restore" not in told(provider)
