"""What may reach a guest: names, keys, password hashes; and the spec as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import specs
from orchestrator.domain.errors import RequestError
from orchestrator.domain.plans import GuestPlan, Template
from orchestrator.domain.services import SERVICE_ID, Service

PLAN = GuestPlan(name="small", vcpus=1, memory_bytes=1 << 30, disk_bytes=10 << 30, templates=("debian",))
TEMPLATE = Template(name="debian", volume="debian.qcow2", sha256="1" * 64, size_bytes=2 << 30)
SERVICE = Service(id="s1", client_id="c1", plan="small")


def wire(*fields: bytes) -> str:
    return base64.b64encode(b"".join(len(f).to_bytes(4, "big") + f for f in fields)).decode()


ED25519 = wire(b"ssh-ed25519", bytes(range(32)))
RSA = wire(b"ssh-rsa", b"\1\0\1", b"\0" + b"\xff" * 256)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"ssh-ed25519 {ED25519}", f"ssh-ed25519 {ED25519}"),
        (f"  ssh-ed25519   {ED25519}  anna@laptop of hers ", f"ssh-ed25519 {ED25519} anna@laptop of hers"),
        (f"ssh-rsa {RSA} x", f"ssh-rsa {RSA} x"),
    ],
)
def test_a_public_key_is_taken_in_one_form(line: str, kept: str) -> None:
    assert specs.ssh_key(line) == kept


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        f'command="reboot" ssh-ed25519 {ED25519}',
        f'environment="LD_PRELOAD=/x",no-pty ssh-ed25519 {ED25519}',
        f"ssh-ed25519 {ED25519}\nssh-ed25519 {ED25519}",
        f"ssh-ed25519 {ED25519} a\r",
        f"ssh-ed25519 {ED25519} a\tb",
        f"ssh-rsa {ED25519}",
        f"ssh-ed25519 {RSA}",
        f"ssh-ed25519 {wire(b'ssh-ed25519', bytes(31))}",
        f"ssh-ed25519 {wire(b'ssh-ed25519')}",
        f"ssh-ed25519 {ED25519[:-8]}",
        f"ssh-dss {wire(b'ssh-dss', b'x')}",
        f"ssh-rsa {wire(b'ssh-rsa', b'x' * 9000)}",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_is_no_plain_public_key_is_refused(line: str) -> None:
    with pytest.raises(RequestError):
        specs.ssh_key(line)


@given(st.text())
def test_any_text_is_a_key_or_a_refusal(text: str) -> None:
    try:
        kept = specs.ssh_key(text)
    except RequestError:
        return
    assert specs.ssh_key(kept) == kept


@pytest.mark.parametrize(
    ("name", "kept"),
    [("WWW.Example.COM", "www.example.com"), ("web1", "web1"), ("a-b.c", "a-b.c"), ("example.org.", "example.org"), ("1a", "1a")],
)
def test_a_host_name_is_taken_in_small_letters(name: str, kept: str) -> None:
    assert specs.hostname(name) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "-a",
        "a-",
        "a..b",
        "a_b",
        "a b",
        "a\nb",
        "10.0.0.1",
        "ü.example",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "x; reboot",
        "$(id)",
    ],
)
def test_what_no_host_may_be_called_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        specs.hostname(name)


@given(st.from_regex(SERVICE_ID, fullmatch=True))
def test_every_service_gets_a_host_name_without_one_being_ordered(service_id: str) -> None:
    name = specs.hostname_of(replace(SERVICE, id=service_id))
    assert name.endswith(".guest")
    assert specs.hostname(name) == name


def test_the_ordered_name_comes_before_the_domain() -> None:
    assert specs.hostname_of(replace(SERVICE, hostname="web.example", domain="example.org")) == "web.example"
    assert specs.hostname_of(replace(SERVICE, domain="example.org")) == "example.org"


@pytest.mark.parametrize(
    "text", ["", "$6$saltsalt$" + "a" * 86, "$6$rounds=5000$saltsalt$" + "b" * 86, "$y$j9T$saltsaltsalt$" + "c" * 43]
)
def test_a_password_is_taken_as_a_crypt_hash(text: str) -> None:
    assert specs.password_hash(text) == text


@pytest.mark.parametrize(
    "text",
    ["hunter2", "$1$salt$" + "a" * 22, "$6$salt$short", "$6$salt$" + "a" * 86 + "\n", "$6$sa:lt$" + "a" * 86, "!", "$y$", "*"],
)
def test_anything_else_is_no_password(text: str) -> None:
    with pytest.raises(RequestError) as raised:
        specs.password_hash(text)
    if text == "hunter2":
        assert text not in str(raised.value)


def test_a_plan_is_sold_with_its_templates_only() -> None:
    with pytest.raises(RequestError, match="not sold"):
        specs.guest_spec(SERVICE, PLAN, replace(TEMPLATE, name="windows"))


def test_a_key_given_twice_counts_once() -> None:
    key = f"ssh-ed25519 {ED25519}"
    assert specs.guest_spec(replace(SERVICE, ssh_keys=(key, key + " ")), PLAN, TEMPLATE).ssh_keys == (key,)


def test_the_spec_is_plain_json_and_its_digest_covers_all_of_it() -> None:
    spec = specs.guest_spec(SERVICE, PLAN, TEMPLATE)
    data = specs.to_json(spec)
    assert json.loads(json.dumps(data)) == data
    assert (data["guest"]["name"], data["guest"]["hostname"], data["template"]["sha256"]) == ("orch.s1", "s1.guest", "1" * 64)
    assert data["digest"] == specs.to_json(spec)["digest"]
    others = [
        specs.guest_spec(SERVICE, replace(PLAN, vcpus=2), TEMPLATE),
        specs.guest_spec(SERVICE, PLAN, replace(TEMPLATE, sha256="2" * 64)),
        specs.guest_spec(replace(SERVICE, ssh_keys=(f"ssh-ed25519 {ED25519}",)), PLAN, TEMPLATE),
    ]
    assert len({data["digest"], *(specs.to_json(other)["digest"] for other in others)}) == 4


def test_a_name_in_another_script_is_refused_with_how_it_is_written() -> None:
    with pytest.raises(RequestError, match=r"'bücher\.example' is no host name: .* in punycode"):
        specs.hostname("bücher.example")


ONE, TWO, OWN = (f"ssh-ed25519 {letter * 68} {name}" for letter, name in (("A", "one"), ("B", "two"), ("C", "own")))


@pytest.mark.parametrize(
    ("found", "wanted", "before", "changes"),
    [
        ([], [ONE], [], ([ONE], [])),
        ([ONE, OWN], [TWO], [ONE], ([TWO], [ONE])),
        ([OWN], [ONE], [], ([ONE], [])),
        ([ONE, OWN], [ONE], [ONE], ([], [])),
        ([ONE.replace(" one", " renamed"), OWN], [TWO], [ONE], ([TWO], [ONE.replace(" one", " renamed")])),
        ([f'from="10.0.0.0/8,::1",no-pty {ONE}'], [ONE], [], ([ONE], [])),
        ([f"no-pty {ONE}", OWN], [TWO], [ONE], ([TWO], [f"no-pty {ONE}"])),
        (["nonsense", OWN], [ONE], [TWO], ([ONE], [])),
    ],
    ids=["first", "another", "own-stays", "as-it-is", "renamed", "restricted", "restricted-goes", "nonsense"],
)
def test_of_the_keys_that_are_let_in_only_ours_change(
    found: list[str], wanted: list[str], before: list[str], changes: tuple[list[str], list[str]]
) -> None:
    add, remove = specs.keys_to_change(found, wanted, before)
    assert (list(add), list(remove)) == changes
