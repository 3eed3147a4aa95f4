"""restic restores into accounts of a real hosting node, in place and aside, whatever the customer has put there before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import Refused, WrongState
from tests.hosting_customer import Customer
from tests.hosting_customer import customer as new_customer
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

UID = 100_811
REPOSITORY = {"repository": {"location": "/var/backups/packs", "password": "a key of 20 letters."}, "seconds": 600}
HOME = """
echo page >sites/shop/public/index.html; : >empty; echo same >same; chmod 0600 same; mkdir d; echo f >d/f
ln -s d/f link; mkfifo pipe; printf '#!/bin/sh\\n' >tool; chmod 4755 tool
chown -hR {user}: .
"""
PRECIOUS = "mkdir -p /root/precious; cd /root/precious; echo gold >gold; : >none; chmod 0600 *"
AS_IT_IS = "cd /root/precious; stat -c '%n %U %a %h %s %i' *; cat gold"
PLANTED = """
rm -rf d/f link sites/shop/public; mkfifo d/f; ln -s /root/precious sites/shop/public; ln -s /root/precious/gold link
echo more >more; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
"""
LOOK = "find home -printf '%p %u %m %y %l\\n' | sort; cat home/sites/shop/public/index.html home/same home/d/f"


class Backup:
    """One backup of the account, and its files as they were in it."""

    def __init__(self, customer: Customer) -> None:
        self.customer, self.server = customer, customer.ground.server
        self.server.write("/usr/bin/restic", Path(str(shutil.which("restic"))).read_bytes(), mode=0o755)
        self.server.shell(PRECIOUS)
        self.precious = self.server.shell(AS_IT_IS)
        self.server.shell(f"mkdir -p {customer.chroot}/restored/old; echo x >{customer.chroot}/restored/old/left-out")
        self.inside(HOME.format(user=customer.user))
        customer.pack()
        customer.ground.call("repository-create", REPOSITORY)
        path = {"path": customer.chroot, "host": customer.service_id}
        self.made = customer.ground.call("directory-backup", {**REPOSITORY, **path}, deadline=300)
        self.files = self.look()

    def inside(self, script: str) -> str:
        return self.server.shell(f"cd {self.customer.home}\n{script}")

    def look(self) -> str:
        return self.server.shell(f"cd {self.customer.chroot}\n{LOOK}")

    def restore(self, below: str = "", **more: Any) -> dict[str, Any]:
        request = {**REPOSITORY, "path": self.customer.chroot + below, "snapshot": self.made["snapshot"], **more}
        return self.customer.ground.call("directory-restore", request, deadline=300)

    def outside_is_as_it_was(self) -> bool:
        return self.server.shell(AS_IT_IS) == self.precious


@pytest.fixture(scope="module")
def backup(hosting_node: HostingServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backup]:
    hosting_node.call("hosting-prepare", {})
    for customer in new_customer(hosting_node, UID, tmp_path_factory.mktemp("customer")):
        made = Backup(customer)
        customer.suspend()
        yield made
    hosting_node.run("rm", "-rf", "/var/backups/packs", "/root/precious", "/usr/bin/restic")


def test_a_backup_holds_files_dumps_and_settings_and_not_what_lies_aside(backup: Backup) -> None:
    assert (backup.made["whole"], backup.made["over"]) == (True, False)
    assert {row["path"] for row in backup.made["measured"]["largest"]} >= {"home", "backup", "backup/databases"}
    assert "restored" not in {row["path"] for row in backup.made["measured"]["largest"]}


def test_what_was_planted_before_a_restore_in_place_leads_nowhere(backup: Backup) -> None:
    backup.inside(PLANTED)
    done = backup.restore(delete=True)
    assert done["whole"] is True
    assert backup.look() == backup.files
    assert backup.outside_is_as_it_was()
    assert "old" in backup.server.run("ls", f"{backup.customer.chroot}/restored"), "in place only home and backup are touched"
    backup.inside("rm d/f; echo other >same; echo own >mine")
    backup.restore(only=["/home/d"])
    assert backup.inside("cat d/f same mine").split() == ["f", "other", "own"]
    backup.inside("rm mine")
    backup.restore()
    assert backup.look() == backup.files


def test_another_users_file_under_a_name_of_the_account_is_named_and_nothing_is_written(backup: Backup) -> None:
    # What restic finds as it was it gives to the account's user: an empty file, or one of the same content.
    backup.inside("rm empty; ln /root/precious/none empty; rm d/f")
    with pytest.raises(Refused, match=f"{backup.customer.home}/empty"):
        backup.restore(delete=True)
    assert backup.server.attempt("ls", f"{backup.customer.home}/d/f").returncode != 0
    backup.inside("rm empty")
    assert backup.outside_is_as_it_was()
    backup.restore()


@pytest.mark.rare
def test_a_mount_in_the_account_is_named_and_nothing_is_written(backup: Backup) -> None:
    backup.inside("mkdir m; mount --bind /root/precious m; rm d/f")
    try:
        with pytest.raises(Refused, match=f"{backup.customer.home}/m"):
            backup.restore(delete=True)
    finally:
        backup.inside("umount m; rmdir m")
    assert backup.server.attempt("ls", f"{backup.customer.home}/d/f").returncode != 0
    assert backup.outside_is_as_it_was()
    backup.restore()


@pytest.mark.rare
def test_a_home_that_is_a_link_becomes_a_directory_again(backup: Backup) -> None:
    chroot = backup.customer.chroot
    backup.server.shell(f"mv {chroot}/home /root/home; ln -s /root/precious {chroot}/home")
    try:
        backup.restore(delete=True)
        assert backup.look() == backup.files
        assert backup.outside_is_as_it_was()
    finally:
        backup.server.run("rm", "-rf", "/root/home")


def test_nothing_is_restored_into_an_account_that_is_open_or_runs_something(backup: Backup) -> None:
    customer = backup.customer
    backup.server.shell(
        f"setsid setpriv --reuid {UID} --regid {UID} --clear-groups sleep 300 >/dev/null 2>&1 & echo $! >/tmp/sleeper"
    )
    with pytest.raises(WrongState, match="process"):
        backup.restore()
    assert customer.unsuspend() == []
    try:
        with pytest.raises(WrongState, match="suspend"):
            backup.restore()
    finally:
        customer.suspend()


@pytest.mark.rare
def test_what_is_restored_aside_is_roots_until_it_is_shown_and_then_to_be_read_only(backup: Backup) -> None:
    customer, aside = backup.customer, f"{backup.customer.chroot}/restored/b1"
    usage = customer.facts()["usage"]
    backup.restore("/restored/b1")
    assert customer.as_himself(f"cat {aside}/home/same").returncode != 0
    for _ in range(2):
        assert customer.act("account-restored", keep=["b1", "b2"])["restored"] == ["b1"]
    assert (customer.facts()["restored"], customer.facts()["usage"]) == (["b1"], usage)
    assert backup.server.run("ls", f"{customer.chroot}/restored").split() == ["b1"]
    for path in ("home/same", "home/d/f", "home/sites/shop/public/index.html", "backup/databases/shop.sql"):
        assert customer.as_himself(f"cat {aside}/{path}").returncode == 0
    for act in (f"cat {aside}/backup/account.json", f"touch {aside}/x", f"echo x >{aside}/home/same", f"rm {aside}/home/same"):
        assert customer.as_himself(act).returncode != 0, act
    assert backup.server.run("find", aside, "-perm", "/6022", "-type", "f") == ""
    with pytest.raises(Refused, match="no place"):
        backup.restore("/other")
    assert customer.act("account-restored", keep=[])["restored"] == []
    assert backup.server.attempt("ls", f"{customer.chroot}/restored").returncode != 0
    assert backup.look() == backup.files
