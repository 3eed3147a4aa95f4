"""``account-facts``, the one command that has no module of its own."""

from __future__ import annotations

from typing import Any

from agents.node.call import Call
from agents.node.hosting import facts
from agents.node.hosting.layout import Home, Node


def account_facts(call: Call) -> dict[str, Any]:
    """``accounts``: FACTS of those that are asked for, or of all that there are."""
    node = Node(call.place)
    seen = facts.look(node)
    users = call.arguments["users"] or facts.everybody(seen)
    return {"accounts": [facts.of(Home(node, user), seen) for user in users]}
