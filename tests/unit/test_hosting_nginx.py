"""Whose file nginx refuses, and which of its former workers is ended."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from agents.node.hosting import nginx
from agents.node.hosting.layout import Home, Node
from agents.node.place import Place
from tests.unit.account_files import account, put


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


@pytest.mark.parametrize(
    ("said", "whose"),
    [
        ('nginx: [emerg] unknown directive "serv" in /etc/nginx/orchestrator/h100001.conf:3\n', "h100001"),
        (
            '[warn] h100002 is odd\n[emerg] open() "/var/log/orchestrator/h100001/a.access.log" failed (2: No such file)',
            "h100001",
        ),
        (
            '[emerg] cannot load certificate "/etc/orchestrator/tls/h100001/h100002.crt": PEM_read_bio_X509_AUX() failed',
            "h100001",
        ),
        ('[emerg] open() "/var/log/orchestrator/h100001/h100002.error.log" failed (2: No such file)', "h100001"),
        ('[emerg] "server_name" h100002.example is odd in /etc/nginx/orchestrator/h100001.conf:3', "h100001"),
        ('[emerg] unknown directive "serv" in /etc/nginx/sites-enabled/shop:3', None),
        ('[emerg] unknown directive "serv" in /etc/nginx/orchestrator/h100009.conf:3', None),
    ],
)
def test_what_nginx_refuses_is_the_accounts_whose_file_it_names(tmp_path: Path, said: str, whose: str | None) -> None:
    put(tmp_path, "etc/nginx/orchestrator/h100001.conf")
    put(tmp_path, "etc/nginx/orchestrator/h100002.conf")
    found = nginx.culprit(Node(Place(tmp_path)), said)
    assert (found.user if found else None) == whose


def test_only_a_former_worker_that_still_sends_a_file_of_the_account_is_ended(home: Home) -> None:
    root = home.node.place.root
    workers = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    titles = ("nginx: worker process is shutting down", "nginx: worker process is shutting down", "nginx: worker process")
    files = (home.chroot / "home/a (deleted)", home.chroot.with_name("h1000010") / "home/a", home.chroot / "home/a")
    put(root, "run/nginx.pid", "1\n")
    put(root, "proc/1/task/1/children", " ".join(str(each.pid) for each in workers))
    for worker, title, file in zip(workers, titles, files, strict=True):
        put(root, f"proc/{worker.pid}/cmdline", title)
        (root / f"proc/{worker.pid}/fd").mkdir()
        (root / f"proc/{worker.pid}/fd/7").symlink_to(file)
    try:
        nginx.let_go(home)
        assert workers[0].wait(10) == -signal.SIGTERM
        assert [each.poll() for each in workers[1:]] == [None, None]
    finally:
        for each in workers:
            each.kill()
            each.wait()
