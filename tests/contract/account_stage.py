"""Where single steps on accounts are tried: as ``stage``, with a hosting node beside the hypervisors."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.domain import accounts
from orchestrator.domain.plans import HostingPlan
from orchestrator.domain.services import Service
from orchestrator.drivers.fake.directories import put_file, texts
from orchestrator.steps.base import Facts
from orchestrator.store.ledger import StoreLedger
from tests.backup_books import book_of
from tests.contract.stage import NODES, NOW, SSH_KEY, Stage
from tests.hosting_ground import HOST, OTHER, SMALL, account, furnish

USER = "h100001"
DIRECTORY = f"/srv/h/{USER}"


class AccountStage(Stage):
    """The service ``s1`` of the small hosting plan; ``h1`` is where its account is made."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        furnish(self.world, self.db, now=NOW)
        self.ledger = StoreLedger(self.db, (*NODES, HOST, OTHER), self.clock)
        book = book_of(self.db, self.secrets, (*NODES, HOST, OTHER), self.clock)
        self.ports = replace(self.ports, ledger=self.ledger, book=book)
        ordered: Service = replace(self.service(), plan=SMALL.name, domain="shop.example", ssh_keys=(SSH_KEY,))
        self.put(ordered)
        self.spec = accounts.to_json(ordered, SMALL)

    def sold(self, plan: HostingPlan, **changes: Any) -> Facts:
        """The arguments of a step that are what is sold by the plan."""
        spec = accounts.to_json(replace(self.service(), **changes), plan)
        return {"account": spec["account"], "access": spec["access"]}

    def make_account(self) -> None:
        """By job j1, as the playbook does."""
        self.run("account.reserve", {"account": self.spec["account"]})
        self.run("account.identify", {"node": HOST.name})
        self.run("account.create", {"node": HOST.name, **self.sold(SMALL)})

    def write(self, path: str, text: str, *, node: str = HOST.name) -> None:
        """The customer writes a file of his home."""
        put_file(self.world, node, DIRECTORY, f"home/{path}", text)

    def home(self, node: str = HOST.name) -> dict[str, str]:
        """What the files of the home hold, by path."""
        found = texts(self.world, node, DIRECTORY)
        return {path.removeprefix("home/"): text for path, text in found.items() if path.startswith("home/")}

    def packed(self, node: str = HOST.name) -> list[str]:
        """The files that were packed beside the home."""
        return sorted(path for path in texts(self.world, node, DIRECTORY) if not path.startswith("home/"))

    def account(self) -> dict[str, Any]:
        return account(self.world, USER)

    def snapshot(self, *, tokens: bool = False) -> dict[str, Any]:
        """All of the hosting node, and what is promised."""
        node = self.world.node(HOST.name)
        standing = self.ledger.reservation("s1")
        there = {key: node.get(key) or {} for key in ("accounts", "account_wipes", "files", "directories")}
        return {**there, "reservation": standing and {**asdict(standing), "job_id": ""}}
