"""The lab's hosting node is what the tests of accounts take it for: a Debian server whose limits count."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from tests.hosting_server import HostingServer
from tests.lab.hosting import NodeFailed

pytestmark = pytest.mark.guest
PROBE = "quota-probe"
HOME = f"/srv/{PROBE}"


@pytest.fixture
def somebody(hosting_node: HostingServer) -> Iterator[HostingServer]:
    """The node with a user who may hold 1 MiB and 20 inodes."""
    server = hosting_node.server
    server.shell(f"useradd --home-dir {HOME} --create-home --shell /bin/sh {PROBE}; rm -rf {HOME}/.[a-z]*")
    server.run("setquota", "-u", PROBE, "1024", "1024", "20", "20", "/")
    yield hosting_node
    server.shell(f"setquota -u {PROBE} 0 0 0 0 /; userdel --remove {PROBE} 2>/dev/null")


def as_somebody(node: HostingServer, script: str) -> str:
    return node.run("setpriv", "--reuid", PROBE, "--regid", PROBE, "--clear-groups", "sh", "-c", script)


def test_a_write_beyond_the_quota_s_bytes_is_refused_and_one_below_is_not(somebody: HostingServer) -> None:
    as_somebody(somebody, f"head -c 900000 /dev/zero >{HOME}/below && sync -f {HOME}")
    with pytest.raises(NodeFailed, match="quota exceeded"):
        as_somebody(somebody, f"head -c 900000 /dev/zero >{HOME}/beyond && sync -f {HOME}")
    used = int(somebody.run("du", "-s", "--block-size=1024", HOME).split()[0])
    assert used <= 1024


def test_a_file_beyond_the_quota_s_inodes_is_refused(somebody: HostingServer) -> None:
    with pytest.raises(NodeFailed, match="quota exceeded"):
        as_somebody(somebody, f"cd {HOME} && for n in $(seq 30); do : >file$n || exit 1; done")
    assert len(somebody.run("find", HOME).split()) == 20


def test_the_quota_is_on_again_after_a_power_cut(somebody: HostingServer) -> None:
    somebody.run("sync")
    somebody.server.cut()
    somebody.server.power_on()
    with pytest.raises(NodeFailed, match="quota exceeded"):
        as_somebody(somebody, f"head -c 2000000 /dev/zero >{HOME}/beyond && sync -f {HOME}")


def test_control_groups_are_of_version_2_with_the_controllers_that_limit_an_account(hosting_node: HostingServer) -> None:
    assert hosting_node.run("stat", "-f", "-c", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    assert {"cpu", "io", "memory", "pids"} <= set(hosting_node.run("cat", "/sys/fs/cgroup/cgroup.controllers").split())
    limited = ["-p", "MemoryMax=16M", "-p", "MemorySwapMax=0", "--pipe", "--wait", "--quiet", "--collect"]
    hog = hosting_node.server.attempt("systemd-run", *limited, "python3", "-c", "bytearray(64 << 20)")
    assert hog.returncode != 0


def test_nginx_serves_at_both_addresses(hosting_node: HostingServer) -> None:
    for address in (hosting_node.address, hosting_node.server.address_v6):
        client = http.client.HTTPConnection(address, 80, timeout=30)
        client.request("GET", "/", headers={"Host": "nobody.example"})
        answer = client.getresponse()
        assert (answer.status, "nginx" in (answer.getheader("Server") or "")) == (200, True)
        client.close()


def test_mariadb_answers_its_root_and_php_has_its_client(hosting_node: HostingServer) -> None:
    assert hosting_node.run("mariadb", "-N", "-e", "SELECT 6 * 7").strip() == "42"
    assert "mysqli" in hosting_node.run("php", "-r", 'echo extension_loaded("mysqli") ? "mysqli" : "";')


def test_what_runs_by_itself_is_there_and_nothing_failed(hosting_node: HostingServer) -> None:
    units = ["cron", "atd", "nginx", "mariadb", "ssh", "systemd-logind"]
    assert hosting_node.run("systemctl", "is-active", *units).split() == ["active"] * len(units)
    assert hosting_node.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""


def test_its_agent_answers_over_the_product_s_own_ssh(hosting_node: HostingServer) -> None:
    hello = hosting_node.call("hello", {})
    assert hello["sha256"] == hosting_node.controller.bundle.sha256
    assert hello["hostname"] == hosting_node.server.name != socket.gethostname()


@pytest.mark.rare
def test_a_second_node_is_another_machine(hosting_node: HostingServer, other_hosting_node: HostingServer) -> None:
    names = {node.call("hello", {})["hostname"] for node in (hosting_node, other_hosting_node)}
    assert names == {"hosting-0", "hosting-1"}
    keys = {node.controller.host_key().fingerprint for node in (hosting_node, other_hosting_node)}
    assert len(keys) == 2
    identities = {node.run("cat", "/etc/machine-id").strip() for node in (hosting_node, other_hosting_node)}
    assert len(identities) == 2
