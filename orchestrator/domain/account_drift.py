"""How an account on its node differs from what was sold: facts against what is wanted, a sentence for each difference. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from orchestrator.domain.account_parts import Database, Site
from orchestrator.domain.accounts import AccountFacts, AccountLimits, AccountWanted
from orchestrator.domain.sizes import compared, rate_words


def differences(account: AccountWanted, facts: AccountFacts, *, suspended: bool = False) -> tuple[str, ...]:
    """What of the account is not as it is to be, a sentence each. While it is suspended its sites answer so."""
    if not facts.exists:
        return (f"the account {facts.user} is not there",)
    found = [*limits_apart(account, facts), *parts_apart(account, facts, suspended=suspended)]
    return (*found, *holds_apart(facts, suspended=suspended))


def limits_apart(account: AccountWanted, facts: AccountFacts) -> tuple[str, ...]:
    """Which limits are not those that it is to have now."""
    return tuple(_limits_apart(account.in_force, facts.limits))


def parts_apart(account: AccountWanted, facts: AccountFacts, *, suspended: bool = False) -> tuple[str, ...]:
    """Which sites and databases are not as they are to be, and what could not be seen."""
    sites = _sites_apart(account.sites, facts, suspended=suspended)
    return (*sites, *_databases_apart(account.databases, facts), *(f"it cannot be seen whole: {said}" for said in facts.unknown))


def holds_apart(facts: AccountFacts, *, suspended: bool) -> tuple[str, ...]:
    """Whether it is suspended as its record says."""
    if suspended and not facts.suspended:
        return ("it is not suspended on its node, and should be",)
    return ("it is suspended on its node, and not in our records",) if facts.suspended and not suspended else ()


_LIMIT_WORDS = {
    "disk_bytes": "of disk",
    "inodes": "inodes",
    "cpu_percent": "per cent of a core",
    "memory_bytes": "of memory",
    "tasks": "processes",
    "io_bytes_per_second": "of disk",
    "iops": "operations per second of disk",
}


def _limits_apart(wanted: AccountLimits, found: AccountLimits | None) -> list[str]:
    if found is None:
        return ["it has no limits"]
    have, want = asdict(found), asdict(wanted)
    return [_apart(key, have[key], want[key]) for key in _LIMIT_WORDS if have[key] != want[key]]


def _apart(key: str, have: int, want: int) -> str:
    said, wanted = (f"{have:,}", f"{want:,}")
    if key.endswith("_bytes"):
        said, wanted = compared(have, want)
    if key.endswith("_per_second"):
        said, wanted = rate_words(have), rate_words(want)
    return f"it has {said} {_LIMIT_WORDS[key]} instead of {wanted}"


def _sites_apart(sites: Sequence[Site], facts: AccountFacts, *, suspended: bool) -> list[str]:
    there = {each.name: each for each in facts.sites}
    apart = []
    for site in sites:
        found = there.get(site.name)
        if found is None:
            apart.append(f"its site {site.name} is not there")
            continue
        serving = "suspended" if suspended else "php" if site.php else "static"
        if found.serving != serving:
            apart.append(f"its site {site.name} answers as '{found.serving}' instead of '{serving}'")
        if set(found.domains) != set(site.domains):
            apart.append(f"its site {site.name} is served for {', '.join(found.domains)} instead of {', '.join(site.domains)}")
        if found.php != site.php:
            apart.append(f"its site {site.name} has PHP '{found.php}' instead of '{site.php}'")
    apart += [f"there is a site {name} that nobody ordered" for name in sorted(set(there) - {site.name for site in sites})]
    return apart


def settings_apart(account: AccountWanted, facts: AccountFacts) -> tuple[str, ...]:
    """What of sites and databases is not as it is to be, whether the account is suspended or not."""
    return parts_apart(account, facts, suspended=facts.suspended)


def _databases_apart(databases: Sequence[Database], facts: AccountFacts) -> list[str]:
    if facts.unknown:
        return []
    there = {each.name: each for each in facts.databases}
    apart = []
    for each in databases:
        found, name = there.get(each.name), f"{facts.user}_{each.name}"
        if found is None:
            apart.append(f"its database {name} is not there")
        elif found.full != each.full:
            apart.append(
                f"its database {name} {'takes more' if each.full else 'takes no more'}, and should {'not' if each.full else 'do'}"
            )
    return apart
