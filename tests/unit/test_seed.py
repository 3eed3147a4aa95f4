"""The image that cloud-init reads: read back from its bytes."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import pycdlib
import pytest

from orchestrator.domain.plans import Lease
from orchestrator.steps import seed

LEASE = Lease(
    service_id="s1",
    job_id="j1",
    mac="52:54:00:AB:CD:EF",
    ipv4=(IPv4Interface("10.9.0.10/16"),),
    ipv6=(IPv6Interface("fd09::10/64"),),
    gateway4=IPv4Address("10.9.0.1"),
    gateway6=IPv6Address("fd09::1"),
    dns=("10.9.0.1",),
)
SEED = seed.Seed(
    instance_id="s1-j1", hostname="web.example.org", ssh_keys=("ssh-ed25519 AAAA anna",), password_hash="", lease=LEASE
)
HASH = "$6$salt$" + "a" * 86


def read(image: bytes, name: str, *, by: str = "rr_path") -> str:
    """A file out of the image, found by its Rock Ridge (``rr_path``) or Joliet (``joliet_path``) name."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    out = io.BytesIO()
    iso.get_file_from_iso_fp(out, **{by: f"/{name}"})
    iso.close()
    return out.getvalue().decode()


def user_data(values: seed.Seed) -> dict[str, Any]:
    first, _, rest = read(seed.image(values), "user-data").partition("\n")
    assert first == "#cloud-config"
    loaded: dict[str, Any] = json.loads(rest)
    return loaded


def test_the_image_is_labelled_as_cloud_init_looks_for_it() -> None:
    assert seed.image(SEED)[16 * 2048 + 40 : 16 * 2048 + 72].rstrip() == b"CIDATA"


@pytest.mark.parametrize("name", ["meta-data", "user-data", "network-config"])
def test_every_file_is_found_by_both_kinds_of_names(name: str) -> None:
    image = seed.image(SEED)
    assert read(image, name) == read(image, name, by="joliet_path")


def test_the_same_seed_has_the_same_bytes_whenever_it_is_made() -> None:
    """The library writes the present second into the image."""
    first = seed.image(SEED)
    time.sleep(1.1)
    assert seed.image(SEED) == first


def test_a_guest_is_told_who_it_is_and_that_it_is_new() -> None:
    meta = json.loads(read(seed.image(SEED), "meta-data"))
    assert meta == {"instance-id": "s1-j1", "local-hostname": "web.example.org"}


def test_addresses_are_static_and_bound_to_the_mac() -> None:
    config = json.loads(read(seed.image(SEED), "network-config"))
    interface = config["ethernets"]["primary"]
    assert config["version"] == 2
    assert interface["match"] == {"macaddress": "52:54:00:ab:cd:ef"}
    assert interface["addresses"] == ["10.9.0.10/16", "fd09::10/64"]
    assert [r["via"] for r in interface["routes"]] == ["10.9.0.1", "fd09::1"]
    assert (interface["dhcp4"], interface["dhcp6"], interface["accept-ra"]) == (False, False, False)
    assert interface["nameservers"] == {"addresses": ["10.9.0.1"]}


def test_a_guest_without_gateway_or_names_gets_neither() -> None:
    bare = replace(SEED, lease=replace(LEASE, gateway4=None, gateway6=None, dns=()))
    interface = json.loads(read(seed.image(bare), "network-config"))["ethernets"]["primary"]
    assert "routes" not in interface
    assert "nameservers" not in interface


def test_keys_log_in_as_root_and_passwords_do_not_unless_a_hash_was_ordered() -> None:
    data = user_data(SEED)
    assert data["users"] == [{"name": "root", "lock_passwd": True, "ssh_authorized_keys": ["ssh-ed25519 AAAA anna"]}]
    assert data["ssh_deletekeys"] is True
    assert data["ssh_pwauth"] is False
    assert "chpasswd" not in data
    hashed = user_data(replace(SEED, password_hash=HASH))
    assert hashed["chpasswd"] == {"expire": False, "users": [{"name": "root", "password": HASH, "type": "hash"}]}
    assert hashed["users"][0]["lock_passwd"] is False


def test_nothing_that_was_ordered_can_change_the_structure() -> None:
    nasty = 'x"\n  runcmd: [reboot]\n#'
    data = user_data(replace(SEED, ssh_keys=(nasty,)))
    assert data["users"][0]["ssh_authorized_keys"] == [nasty]
    assert "runcmd" not in data
