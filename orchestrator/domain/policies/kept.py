"""Which rules the controller keeps by itself. The others are shown, and people keep them."""

from __future__ import annotations

KEPT = frozenset(
    {
        "order.cancel_unpaid",
        "overdue.suspend",
        "overdue.terminate",
        "overdue.forbids",
        "overdue.chargeback",
        "notices",
        "reactivation.window",
        "reactivation.fees",
        "reactivation.done_within",
        "archive",
        "erase",
        "late_payment",
        "nothing_returned",
        "billing_period",
        "minimum_term",
        "cancellation",
        "ending_without_cause",
        "hourly",
        "money_back",
        "undeliverable",
        "dispute",
        "traffic",
        *("backup.schedule", "backup.on_request", "backup.only_bought", "backup.kept", "backup.caps", "backup.verified"),
        "restore",
        "migration",
        "quota",
        *("conduct.abuse", "conduct.copyright", "conduct.repeat_offender", "conduct.licence_breach", "conduct.harm"),
        "conduct.domain_expired",
        "location",
        "personal_data.keep",
        "personal_data.delete_on_request",
        "personal_data.metadata_kept",
    }
)
"""By their paths."""
