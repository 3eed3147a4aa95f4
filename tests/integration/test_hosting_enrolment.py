"""A Debian server becomes a hosting node: what it lacks is named, and what all accounts share is made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.drivers.ssh.enrolment import CONFIG, HOOK, LAUNCHER
from tests.hosting_server import HostingServer
from tests.lab.hosting import NodeFailed

pytestmark = pytest.mark.guest


def test_a_plain_server_becomes_a_hosting_node_without_a_hypervisor_s_hook(hosting_node: HostingServer) -> None:
    report = hosting_node.report
    assert report.complete, [row for row in report.requirements if not row.ok]
    assert report.hook_refuses is None
    named = {row.name for row in report.requirements}
    assert {"php-fpm", "cgroup v2", "quota", "MariaDB answers", "MariaDB tables", "prepared"} <= named
    assert hosting_node.run("stat", "-c", "%a %U", LAUNCHER, CONFIG).split() == ["755", "root", "600", "root"]
    with pytest.raises(NodeFailed):
        hosting_node.run("stat", HOOK)


def test_what_all_accounts_share_is_there_and_is_read_by_the_services(hosting_node: HostingServer) -> None:
    assert "orch-sftp" in hosting_node.run("getent", "group", "orch-sftp")
    said = hosting_node.run("sshd", "-T", "-C", "user=root,host=localhost,addr=127.0.0.1")
    assert "authorizedkeysfile" in said
    assert "/etc/nginx/orchestrator" in hosting_node.run("nginx", "-T", "-q")


def test_enrolling_again_changes_nothing_and_reloads_nothing(hosting_node: HostingServer) -> None:
    def workers() -> str:
        return hosting_node.run("pgrep", "nginx", "-u", "www-data")

    before, said = workers(), list[str]()
    assert hosting_node.controller.enrol(host_key=hosting_node.report.host_key, said=said).complete
    assert {"everything was in place already", "it was prepared already"} <= set(said)
    assert workers() == before


def test_what_a_newer_agent_makes_is_missed_by_the_doctor_and_made_when_the_node_is_enrolled_again(
    hosting_node: HostingServer,
) -> None:
    imports = "/var/lib/orchestrator-agent/imports"
    hosting_node.run("rm", "-r", imports)
    needs = {row["name"]: row for row in hosting_node.call("hosting-doctor", {})["needs"]}
    assert (needs["prepared"]["ok"], needs["prepared"]["says"]) == (False, f"missing: {imports}")
    said = list[str]()
    assert hosting_node.controller.enrol(host_key=hosting_node.report.host_key, said=said).complete
    assert "prepared: directories" in said
    assert hosting_node.run("stat", "-c", "%a %U", imports).split() == ["700", "root"]


def test_a_log_that_grows_too_large_is_put_aside_before_its_day_is_over(hosting_node: HostingServer) -> None:
    logs = "/var/log/orchestrator/h1"
    hosting_node.server.shell(
        f"systemctl --quiet is-active orchestrator-logs.timer; mkdir -p {logs}; truncate -s 101M {logs}/large.access.log;"
        f" echo a line >{logs}/small.access.log; systemctl start orchestrator-logs.service"
    )
    assert hosting_node.run("ls", logs).split() == ["large.access.log", "large.access.log.1", "small.access.log"]
    assert hosting_node.run("stat", "--format=%s %U %G %a", f"{logs}/large.access.log").split() == [
        "0",
        "root",
        "www-data",
        "640",
    ]
    hosting_node.run("rm", "-r", logs)


@pytest.fixture
def without_mariadb(hosting_node: HostingServer) -> Iterator[HostingServer]:
    hosting_node.run("systemctl", "stop", "mariadb.service", "mariadb.socket")
    yield hosting_node
    hosting_node.run("systemctl", "start", "mariadb.service")


def test_what_is_missing_is_named_and_then_nothing_is_changed(without_mariadb: HostingServer) -> None:
    vhosts = "/etc/nginx/orchestrator"
    without_mariadb.run("mv", vhosts, f"{vhosts}.away")
    try:
        report = without_mariadb.controller.enrol(host_key=without_mariadb.report.host_key)
        missing = {row.name: row for row in report.requirements if not row.ok}
        assert set(missing) == {"MariaDB answers", "prepared"}
        assert all(row.mend for row in missing.values())
        assert not report.complete
        with pytest.raises(NodeFailed):
            without_mariadb.run("stat", vhosts)
    finally:
        without_mariadb.run("mv", f"{vhosts}.away", vhosts)


# No network leads out of the lab: the package is made anew of what it put there, and offered by a repository on the node itself.
TAKEN_AWAY = """
mkdir -p /var/tmp/repository/tree/DEBIAN
cd /var/tmp/repository
dpkg -L at | tail -n +2 | tar -c -h --no-recursion -T - 2>/dev/null | tar -x -p -C tree
for path in /var/lib/dpkg/info/at.p* /var/lib/dpkg/info/at.conffiles; do cp "$path" "tree/DEBIAN/${path##*/at.}"; done
dpkg -s at | grep -v -e '^Status' -e '^Conffiles' -e '^ /' >tree/DEBIAN/control
dpkg-deb --build -Znone tree at.deb >/dev/null
{ cat tree/DEBIAN/control; echo Filename: ./at.deb
  echo Size: $(stat -c %s at.deb); echo SHA256: $(sha256sum at.deb | cut -d' ' -f1); } >Packages
find /etc/apt -name '*.list' -o -name '*.sources' | while read -r path; do mv "$path" "$path.away"; done
echo 'deb [trusted=yes] file:/var/tmp/repository ./' >/etc/apt/sources.list.d/lab.list
dpkg --purge at
"""
PUT_BACK = """
command -v at || dpkg -i /var/tmp/repository/at.deb
rm /etc/apt/sources.list.d/lab.list
find /etc/apt -name '*.away' | while read -r path; do mv "$path" "${path%.away}"; done
rm -r /var/tmp/repository
"""


@pytest.fixture
def without_at(hosting_node: HostingServer) -> Iterator[HostingServer]:
    hosting_node.server.shell(TAKEN_AWAY)
    yield hosting_node
    hosting_node.server.shell(PUT_BACK)


@pytest.mark.rare
def test_a_package_that_is_missing_is_named_and_installed_where_the_operator_says_so(without_at: HostingServer) -> None:
    made, key, said = without_at.controller, without_at.report.host_key, list[str]()
    report = made.enrol(host_key=key, said=said)
    assert [(row.name, row.package) for row in report.requirements if not row.ok] == [("at", "at")]
    assert any("apt-get update && apt-get install --no-install-recommends at " in line for line in said)
    with pytest.raises(NodeFailed):
        without_at.run("dpkg", "-s", "at")

    assert made.enrol(host_key=key, said=said, install=True).complete
    assert "installing at" in said
    assert "Status: install ok installed" in without_at.run("dpkg", "-s", "at")
    assert without_at.run("systemctl", "is-active", "atd").strip() == "active"
