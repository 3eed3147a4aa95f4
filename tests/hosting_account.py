"""One hosting account of the tests on a real hosting node, and what is asked of the node's agent about it."""

from __future__ import annotations

import http.client
import subprocess
from typing import Any

from tests.hosting_server import HostingServer

PAGE = """<?php
$d = new mysqli('localhost', get_current_user(), '', get_current_user().'_shop');
$d->query('create table if not exists t (i int)');
$d->query('insert into t values (1)');
echo 'rows ', $d->query('select count(*) from t')->fetch_row()[0], ' as ', posix_getuid();
"""


class Account:
    """One account and its service, and what is asked of the agent about it."""

    def __init__(self, ground: HostingServer, uid: int, key: str) -> None:
        self.ground, self.uid, self.user, self.service_id = ground, uid, f"h{uid}", f"web-{uid}"
        self.spec: dict[str, Any] = {
            "service_id": self.service_id,
            "user": self.user,
            "uid": uid,
            "limits": {"disk_bytes": 20 << 20, "inodes": 200, "cpu_percent": 50, "memory_bytes": 128 << 20, "tasks": 30},
            "access": {
                "password_hash": subprocess.run(
                    ["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True
                ).stdout.strip(),
                "ssh_keys": [key],
            },
            "sites": [
                {"name": "shop", "domains": [f"shop{uid}.example"], "php": "8.2"},
                {"name": "plain", "domains": [f"plain{uid}.example"]},
            ],
            "databases": [{"name": "shop", "password_hash": "*2470C0C06DEE42FD1618BBB99005ADCA2EC9D1E1"}],
            "cron": [{"schedule": "0 4 * * *", "command": "true"}],
        }

    @property
    def home(self) -> str:
        return f"/srv/h/{self.user}/home"

    def apply(self) -> dict[str, Any]:
        return self.ground.call("account-apply", {"account": self.spec, "job_id": "j1"}, deadline=300)

    def act(self, command: str, **more: object) -> dict[str, Any]:
        return self.ground.call(command, {"user": self.user, "service_id": self.service_id, **more}, deadline=300)

    def ways(self, *, cron_seconds: int = 70) -> dict[str, dict[str, Any]]:
        return {way["way"]: way for way in self.act("account-probe", cron_seconds=cron_seconds)["ways"]}

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ground.call("account-facts", {"users": [self.user]})["accounts"][0]
        return found

    def page(self) -> str:
        server = self.ground.server
        server.write(f"{self.home}/sites/shop/public/index.php", PAGE)
        server.run("chown", self.user, f"{self.home}/sites/shop/public/index.php")
        return self.get("shop")

    def get(self, site: str) -> str:
        client = http.client.HTTPConnection(self.ground.address, 80, timeout=60)
        try:
            client.request("GET", "/", headers={"Host": f"{site}{self.uid}.example"})
            return client.getresponse().read().decode()
        finally:
            client.close()

    def residue(self, *, clean: bool = False) -> list[str]:
        found: list[str] = self.act("account-residue", uid=self.uid, clean=clean)["found"]
        return found
