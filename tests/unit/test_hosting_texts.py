"""What is written for nginx, systemd, PHP, cron and sshd: read back as it was meant, whatever the names are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agents.node.hosting import units, web
from agents.node.hosting.prepare import default_server
from agents.node.hosting.spec import Limits, Site

LIMITS = Limits(
    disk_bytes=1 << 30, inodes=1000, cpu_percent=50, memory_bytes=256 << 20, tasks=40, io_bytes_per_second=1 << 20, iops=100
)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DOMAIN = st.builds(lambda a, b: f"{a}.{b}", LABEL, LABEL)
SITE = st.builds(
    Site,
    name=st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True),
    domains=st.lists(DOMAIN, min_size=1, max_size=3, unique=True).map(tuple),
    php=st.sampled_from(["", "8.2", "8.4"]),
)
SITES = st.lists(SITE, max_size=4, unique_by=lambda site: site.name)


@given(SITES, st.booleans())
def test_vhosts_say_when_they_are_read_what_was_asked_for(sites: list[Site], ipv6: bool) -> None:
    found = web.read(web.vhosts("h100001", sites, ipv6=ipv6))
    assert [(v.name, v.domains, v.serving) for v in found] == [(s.name, s.domains, "php" if s.php else "static") for s in sites]


@given(SITES)
def test_suspended_sites_have_their_names_and_serve_nothing(sites: list[Site]) -> None:
    text = web.suspended("h100001", web.vhosts("h100001", sites))
    assert text == web.vhosts("h100001", sites, suspended=True) == web.suspended("h100001", text)
    assert {v.serving for v in web.read(text)} <= {"suspended"}
    assert not re.search(r"^\s*(root|fastcgi_pass|try_files|alias|proxy_pass)\b", text, re.MULTILINE)
    assert text.count("return 503;") == text.count("add_header Retry-After 3600 always;") == len(sites)


@given(SITES)
def test_no_name_opens_or_closes_anything_in_nginx(sites: list[Site]) -> None:
    text = web.vhosts("h100001", sites)
    plain = web.vhosts("h100001", [Site(name="a", domains=("b.c",), php=s.php) for s in sites])
    for mark in "{};#$\"'\\\n":
        assert text.count(mark) == plain.count(mark)


def test_links_are_followed_only_to_what_belongs_to_their_owner() -> None:
    text = web.vhosts("h100001", [Site(name="shop", domains=("shop.example",), php="8.2")])
    assert "disable_symlinks if_not_owner from=/srv/h/h100001/home;" in text
    assert "fastcgi_max_temp_file_size 0;" in text  # an answer of PHP's that nobody reads fills no disk of all
    assert "fastcgi_pass unix:/run/orchestrator/fpm/h100001-shop-8.2.sock;" in text


def test_a_slice_holds_every_limit_and_no_swap() -> None:
    lines = units.limits(LIMITS).splitlines()
    for line in ("CPUQuota=50%", f"MemoryMax={256 << 20}", "MemorySwapMax=0", "TasksMax=40", "IOReadBandwidthMax=/srv/h 1048576"):
        assert line in lines
    assert "IOWriteIOPSMax=/srv/h 100" in lines


def test_a_rate_of_0_is_no_limit_and_takes_back_the_one_that_was() -> None:
    free = Limits(disk_bytes=1 << 30, inodes=1000, cpu_percent=50, memory_bytes=256 << 20, tasks=40)
    rates = [line for line in units.limits(free).splitlines() if line.startswith(("IORead", "IOWrite"))]
    assert rates == [f"IO{way}{kind}Max=/srv/h infinity" for kind in ("Bandwidth", "IOPS") for way in ("Read", "Write")]


def test_php_of_an_account_is_its_own_and_its_sockets_are_the_web_servers() -> None:
    sites = [Site(name="shop", domains=("a.b",), php="8.2"), Site(name="old", domains=("c.d",), php="7.4")]
    text = units.fpm_config("h100001", "8.2", sites, LIMITS)
    assert "[h100001-shop]" in text
    assert "[h100001-old]" not in text
    assert "listen.owner = www-data" in text
    assert "listen.mode = 0600" in text
    assert "user = h100001" in text
    assert "Slice=orch-h100001.slice" in units.fpm_unit("h100001", "8.2")


@given(st.integers(16 << 20, 1 << 40), st.integers(4, 10_000))
def test_workers_of_php_stay_below_the_tasks_of_the_account(memory: int, tasks: int) -> None:
    limits = Limits(disk_bytes=1 << 30, inodes=10, cpu_percent=1, memory_bytes=memory, tasks=tasks)
    found = re.search(
        r"max_children = (\d+)", units.fpm_config("h1", "8.2", [Site(name="a", domains=("b.c",), php="8.2")], limits)
    )
    assert found is not None
    assert 2 <= int(found[1]) <= min(50, tasks - 1)


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20).filter(
    lambda line: line not in (units.CRON_BEGIN, units.CRON_END)
)


@given(st.lists(LINE, max_size=5), st.lists(LINE, max_size=3), st.lists(LINE, max_size=3))
def test_a_crontab_keeps_what_the_customer_wrote_and_changes_what_was_ordered(
    own: list[str], first: list[str], second: list[str]
) -> None:
    text = units.crontab("".join(f"{line}\n" for line in own), first)
    assert units.own_lines(text) == own
    again = units.crontab(text, second)
    assert units.own_lines(again) == own
    assert units.crontab(again, second) == again
    assert units.crontab(again, []) == "".join(f"{line}\n" for line in own)


@given(st.lists(st.sampled_from(["* * * * * a", "@daily b", "# note", "X=1"]), max_size=4), st.booleans(), st.booleans())
def test_a_restored_crontab_has_the_customer_s_lines_as_packed_and_the_ordered_ones_as_ordered_now(
    own: list[str], ordered_then: bool, ordered_now: bool
) -> None:
    lines = "".join(f"{line}\n" for line in own)
    packed = units.crontab(lines, ["1 1 1 1 1 then"] if ordered_then else [])
    present = units.crontab("2 2 2 2 2 later\n", ["3 3 3 3 3 now"] if ordered_now else [])
    found = units.brought_back(present, packed)
    assert units.own_lines(found) == own
    assert units.ordered_lines(found) == (["3 3 3 3 3 now"] if ordered_now else ["1 1 1 1 1 then"] if ordered_then else [])
    assert units.brought_back(found, packed) == found


def test_only_what_runs_something_is_counted_of_a_crontab() -> None:
    assert units.cron_count("") == 0
    assert units.cron_count(units.crontab('# a\nMAILTO=""\n\n@daily x\n', ["* * * * * y", "5 4 * * * z"])) == 3


def test_sshd_lets_accounts_do_nothing_but_transfer_files() -> None:
    block = units.SSHD.splitlines()
    assert block[1] == "Match Group orch-sftp"
    assert block[-1] == "Match all"
    for line in (
        "ChrootDirectory /srv/h/%u",
        "AuthorizedKeysFile /etc/orchestrator/keys/%u",
        "AllowTcpForwarding no",
        "PermitTTY no",
    ):
        assert f"    {line}" in block
    assert any(line.startswith("    ForceCommand internal-sftp") for line in block)


def test_the_default_server_rejects_the_handshake_where_it_has_a_port_for_it() -> None:
    assert "ssl_reject_handshake on;" in default_server(["80", "443"])
    assert "ssl_reject_handshake" not in default_server(["80"])
