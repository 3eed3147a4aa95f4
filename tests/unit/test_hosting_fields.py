"""What a spec of an account may hold: closed patterns, and a message that says where it is wrong."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.hosting import fields
from tests.unit.test_agent_protocol import ACCOUNT

KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)).decode()
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LONG = f"-----BEGIN PRIVATE KEY-----\n{('A' * 64 + chr(10)) * 100}-----END PRIVATE KEY-----\n"
SHA512 = "$6$salt$" + "a" * 86
TRICKS = (
    "../x",
    "x/../../etc",
    "a\nb",
    "a\n",
    "$(id)",
    "`id`",
    "a;b",
    "a b",
    "a{b",
    "a'b",
    'a"b',
    "a\\b",
    "a\0b",
    "",
    "-",
    "ａ",
    "а",
    "ß",
    None,
    7,
    ["a"],
)


def spec(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """A good spec with one value put in."""
    found: Any = deepcopy(ACCOUNT)
    whole = found
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = value
    return dict(whole)


def test_a_good_spec_is_taken_whole() -> None:
    wanted = deepcopy(ACCOUNT)
    wanted["access"] = {"password_hash": SHA512, "ssh_keys": [KEY, KEY + " kunde@laptop"]}
    wanted["sites"].append(
        {"name": "plain", "domains": ["xn--bcher-kva.example"], "certificate": CERTIFICATE, "key": CERTIFICATE}
    )
    found = fields.account(wanted)
    assert (found.user, found.uid, found.limits.iops) == ("h100001", 100001, 0)
    assert found.php_versions() == ("8.2",)
    assert found.cron == ("*/5 * * * * true",)
    assert found.digest() == fields.account(deepcopy(wanted)).digest() != fields.account(ACCOUNT).digest()


@pytest.mark.parametrize("trick", TRICKS, ids=repr)
@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("user",), ".user"),
        (("service_id",), ".service_id"),
        (("sites", 0, "name"), ".sites[0].name"),
        (("sites", 0, "domains", 0), ".sites[0].domains[0]"),
        (("sites", 0, "php"), ".sites[0].php"),
        (("databases", 0, "name"), ".databases[0].name"),
        (("databases", 0, "password_hash"), ".databases[0].password_hash"),
        (("access", "password_hash"), ".access.password_hash"),
        (("cron", 0, "schedule"), ".cron[0].schedule"),
        (("sites", 0, "certificate"), ".sites[0].certificate"),
    ],
)
def test_a_trick_is_refused_and_its_place_named(path: tuple[str | int, ...], where: str, trick: object) -> None:
    may_be_empty = path[-1] in ("php", "password_hash", "certificate")
    harmless = (trick == "" and may_be_empty) or (trick == "-" and where == ".sites[0].name")
    if harmless:
        fields.account(spec(path, trick))
        return
    with pytest.raises(ValueError, match="^" + where.replace("[", r"\[").replace("]", r"\]").replace(".", r"\.")):
        fields.account(spec(path, trick))


@pytest.mark.parametrize(
    "domain",
    [
        "shop",
        "shop.example.",
        "*.example.com",
        "Shop.example",
        "shop.example:80",
        "-a.example",
        "a-.example",
        "a..example",
        "10.0.0.1",
        "xn--a.example\n",
        "xn---.example",
        "ab--c.example",
        "ｓhop.example",
        "shоp.example",
        "a" * 64 + ".example",
        ("a" * 60 + ".") * 5 + "example",
        "shop.example;",
        "shop.example default_server",
        "$host.example",
    ],
)
def test_what_is_no_plain_host_name_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match=r"domain name"):
        fields.domain(domain)


def test_a_look_alike_is_named_by_what_it_is() -> None:
    with pytest.raises(ValueError, match=r"'sh\\u043ep.example' holds characters that are not ASCII; write it in punycode"):
        fields.domain("shоp.example")


@pytest.mark.parametrize(
    "key",
    [
        f'command="id" {KEY}',
        f"no-pty {KEY}",
        f"{KEY}\n{KEY}",
        f"{KEY} a\nb",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        KEY.replace("ssh-ed25519", "ssh-rsa", 1),
        KEY.replace("ssh-ed25519", "ssh-dss", 1),
        f" {KEY}",
        f"{KEY} ü",
    ],
)
def test_a_key_with_options_or_of_another_type_than_it_says_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        fields.ssh_key(key)


@pytest.mark.parametrize("schedule", ["* * * * *", "*/5 0-3,5 1 1-12/2 0,7", "@daily", "59 23 31 12 7"])
def test_a_schedule_of_numbers_is_taken(schedule: str) -> None:
    assert fields.schedule(schedule) == schedule


@pytest.mark.parametrize(
    "schedule",
    [
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * * 8",
        "5-3 * * * *",
        "*/0 * * * *",
        "* * * *",
        "* * * * * *",
        "* * * jan *",
        "@often",
    ],
)
def test_a_schedule_that_cron_would_not_run_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match="schedule"):
        fields.schedule(schedule)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user": "h100002"}, "is not h and the uid"),
        ({"sites": [ACCOUNT["sites"][0], {**ACCOUNT["sites"][0], "domains": ["b.example"]}]}, "shop is twice"),
        ({"sites": [ACCOUNT["sites"][0], {**ACCOUNT["sites"][0], "name": "b"}]}, "shop.example is twice"),
        ({"sites": [{"name": "a", "domains": []}]}, "has no domain"),
        ({"sites": [{"name": "a", "domains": ["a.example"], "key": CERTIFICATE}]}, "a key without its certificate"),
        ({"sites": [{"name": "a", "domains": ["a.example"], "certificate": CERTIFICATE, "key": LONG}]}, "4096 bits at most"),
        ({"databases": ACCOUNT["databases"] * 2}, "shop is twice"),
        ({"shell": "/bin/sh"}, "unknown fields: 'shell'"),
        ({"limits": {**ACCOUNT["limits"], "tasks": 0}}, r"\.limits\.tasks is not a whole number"),
        ({"limits": {}}, r"\.limits has no 'disk_bytes'"),
        ({"cron": [{"schedule": "* * * * *", "command": "true\nreboot"}]}, r"\.cron\[0\]\.command"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fields.account({**deepcopy(ACCOUNT), **change})


@given(st.text(max_size=40))
def test_a_domain_that_is_taken_means_nothing_to_nginx(text: str) -> None:
    try:
        found = fields.domain(text)
    except ValueError:
        return
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda each: st.lists(each) | st.dictionaries(st.text(max_size=8), each),
    )
)
def test_anything_else_is_refused_with_a_sentence(value: object) -> None:
    with pytest.raises(ValueError, match=r"(is|has) "):
        fields.account(value)
