"""Certificates that nginx was given for a site by hand: whether they are good for its domains, and their texts."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agents.node.hosting import certificates, fields
from agents.node.hosting.run import run

if TYPE_CHECKING:
    from agents.node.hosting.adoptlook import Web

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----\n(?:[A-Za-z0-9+/=]{1,80}\n)+-----END \1-----")
_LARGEST = 64 << 10
_NAME = re.compile(r"DNS:([^,\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """``fits``: it can be the site's. ``says``: where it is, and why not. The key is shown by nothing."""

    site: str
    says: str
    until: str = ""
    fits: bool = False
    certificate: str = ""
    key: str = ""


def look(web: Web, sites: Sequence[str], *, domains: Mapping[str, Sequence[str]] | None = None) -> list[Old]:
    """The best of each site; none where nginx has none. ``domains``: those that the sites have by now."""
    found = []
    for site in sites:
        wanted = (domains or {}).get(site) or web.domains(site)
        tried = [_old(site, certificate, key, wanted) for certificate, key in web.certificates(site)]
        found += [next((each for each in tried if each.fits), tried[0])] if tried else []
    return found


def _old(site: str, certificate: str, key: str, domains: Sequence[str]) -> Old:
    pem, secret = text_of(certificate), text_of(key)
    until = certificates.valid_until(pem)
    if not pem or not secret or until is None:
        return Old(site=site, says=f"{certificate} and {key} are no certificate and its key")
    told = until.isoformat()
    if until <= datetime.now(UTC):
        return Old(site=site, until=told, says=f"{certificate} has expired")
    names = names_of(pem)
    lacking = [domain for domain in domains if not _covered(names, domain)]
    if lacking:
        return Old(site=site, until=told, says=f"{certificate} is not for {', '.join(lacking)[:200]}")
    if _public(["x509", "-noout", "-pubkey"], pem) != _public(["pkey", "-pubout"], secret):
        return Old(site=site, until=told, says=f"{key} is not the key of {certificate}, or has a passphrase")
    return Old(site=site, until=told, fits=True, says=certificate, certificate=pem, key=secret)


def text_of(path: str) -> str:
    """The PEM in a file that nginx is given, and nothing else of it; '' where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return ""
    with os.fdopen(fd, "rb") as stream:
        text = stream.read(_LARGEST).decode("ascii", errors="replace").replace("\r\n", "\n")
    pem = "".join(f"{block[0]}\n" for block in _BLOCK.finditer(text))
    try:
        return str(fields.pem(pem))
    except ValueError:
        return ""


def names_of(pem: str) -> list[str]:
    done = run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], given=pem)
    return [name.lower() for name in _NAME.findall(done.out)] if done.status == 0 else []


def _covered(names: Sequence[str], domain: str) -> bool:
    """``*`` stands for one whole label, the first (RFC 6125, 6.4.3)."""
    return domain in names or f"*.{domain.partition('.')[2]}" in names


def _public(words: Sequence[str], pem: str) -> str:
    done = run(["openssl", *words, *(["-passin", "pass:"] if words[0] == "pkey" else [])], given=pem)
    return done.out if done.status == 0 else f"{words[0]} ended with {done.status}"
