"""A hosting node's own files with an account, in a directory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from agents.node.hosting import facts, people, web
from agents.node.hosting.databases import Login, Seen
from agents.node.hosting.facts import Look
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.marks import Mark
from agents.node.hosting.spec import Site
from agents.node.place import Place

MINE = Mark(service_id="web-1", uid=100001, job_id="j1")
SITES = (
    Site(name="shop", domains=("shop.example", "www.shop.example"), php="8.2"),
    Site(name="plain", domains=("plain.example",)),
)
PASSWD = "root:x:0:0:root:/root:/bin/bash\nh100001:x:100001:100001::/srv/h/h100001/home:/usr/sbin/nologin\n"


def put(root: Path, name: str, text: str = "x") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def account(root: Path) -> Home:
    """An account as it is when all is well."""
    put(root, "etc/passwd", PASSWD)
    put(root, "etc/group", "orch-sftp:x:997:h100001,h100002\nh100001:x:100001:\n")
    put(root, "etc/shadow", "root:*:1:0:99999:7:::\nh100001:$6$a$b:1:0:99999:7:::\n")
    put(root, "etc/orchestrator/accounts/h100001.json", MINE.text())
    put(root, "etc/orchestrator/keys/h100001", "ssh-ed25519 AAAA\n")
    put(root, "etc/orchestrator/fpm/h100001-8.2.conf", "[global]\n\n[h100001-shop]\nuser = h100001\n")
    put(root, "etc/systemd/system/orch-fpm-h100001-8.2.service")
    put(root, "etc/nginx/orchestrator/h100001.conf", web.vhosts("h100001", SITES))
    put(root, "var/spool/cron/crontabs/h100001", "* * * * * true\n")
    group = "sys/fs/cgroup/orch.slice/orch-h100001.slice"
    put(root, f"{group}/cpu.max", "50000 100000\n")
    put(root, f"{group}/memory.max", "268435456\n")
    put(root, f"{group}/pids.max", "40\n")
    put(root, f"{group}/io.max", "254:0 rbps=1048576 wbps=1048576 riops=max wiops=max\n")
    put(root, f"{group}/orch-fpm-h100001-8.2.service/cgroup.procs", "12\n")
    return Home(Node(Place(root)), "h100001")


def look(home: Home, *, seen: Seen | None = None) -> Look:
    return Look(
        node=home.node,
        users=people.passwd(home.node),
        secrets=people.shadow(home.node),
        processes=Counter({100001: 3}),
        databases=seen or Seen(),
        today=20_000,
        masters=facts.masters(home.node),
    )


def login(name: str, *, locked: bool) -> Login:
    return Login(name=name, host="localhost", locked=locked, plugin="unix_socket", secret="", doubled=False)
