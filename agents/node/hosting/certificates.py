"""Certificates of sites: the one that was given, or one that signs itself until then."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.node.hosting import tree
from agents.node.hosting.layout import Home
from agents.node.hosting.run import must
from agents.node.hosting.spec import Site
from agents.node.protocol import AgentError

_DAYS = 3650
_OURS = "self-signed"
"""Who signs until a certificate is given."""

_SEQUENCE, _UTC_TIME, _TIME = 0x30, 0x17, 0x18


def settle(home: Home, site: Site, now: datetime) -> bool:
    """The site has a certificate; whether another than before. Where none is given, one that is there is left:
    a client of an ACME authority may have put it there."""
    home.tls.mkdir(mode=0o700, exist_ok=True)
    certificate, key = home.tls / f"{site.name}.crt", home.tls / f"{site.name}.key"
    if site.certificate:
        return tree.write(key, site.key) | tree.write(certificate, site.certificate)
    until = valid_until(tree.read(certificate) or "")
    if until is not None and until > now and key.exists():
        return False
    new_key, new = home.tls / f".{site.name}.key.new", home.tls / f".{site.name}.crt.new"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        str(_DAYS),
    ]
    words += ["-subj", f"/O={_OURS}/CN={home.user} {site.name}", "-addext", f"subjectAltName={_names(site)}"]
    must([*words, "-keyout", str(new_key), "-out", str(new)], doing=f"making a certificate for {site.domains[0]}")
    new_key.chmod(0o600)
    new.chmod(0o600)
    new_key.replace(key)
    new.replace(certificate)
    return True


def signs_itself(pem: str) -> bool:
    """Whether it is one of those that are made here until another is given."""
    try:
        return _OURS.encode() in _first(pem)
    except ValueError:
        return False


def bring_back(home: Home, site: Mapping[str, Any], domains: Collection[str], now: datetime) -> dict[Path, str | None]:
    """The certificate of a site as it was packed, in place of one that signs itself; what was there before ({} = no change).

    Only one that is still valid, and of all the domains that the site has now.
    """
    certificate, key = str(site.get("certificate", "")), str(site.get("key", ""))
    paths = {home.tls / f"{site['name']}.crt": certificate, home.tls / f"{site['name']}.key": key}
    until = valid_until(certificate)
    of_all = set(domains) <= set(site.get("domains", ()))
    if not key or until is None or until <= now or not of_all or signs_itself(certificate):
        return {}
    before = {path: tree.read(path) for path in paths}
    if before == paths or not all(signs_itself(text or "") for path, text in before.items() if path.suffix == ".crt"):
        return {}
    for path, text in reversed(paths.items()):
        tree.write(path, text)
    return before


def _names(site: Site) -> str:
    return ",".join(f"DNS:{domain}" for domain in site.domains)


def forget(home: Home, sites: set[str]) -> None:
    """Remove those of sites that are no more."""
    for name in tree.names(home.tls):
        if name.rpartition(".")[0] not in sites:
            tree.remove(home.tls / name)


def put_back(before: dict[Path, str | None]) -> None:
    for path, text in before.items():
        if text is None:
            tree.remove(path)
        else:
            tree.write(path, text)


def kept(home: Home, sites: tuple[Site, ...]) -> dict[Path, str | None]:
    """What is there now, to be put back."""
    return {path: tree.read(path) for site in sites for path in (home.tls / f"{site.name}.crt", home.tls / f"{site.name}.key")}


def valid_until(pem: str) -> datetime | None:
    """The end of the first certificate's validity (RFC 5280 section 4.1); None where the text is none."""
    try:
        certificate = next(_parts(_first(pem)))[1]
        fields = list(_parts(next(_parts(certificate))[1]))
        # version [0] may be left out; then come serial, algorithm, issuer, validity
        validity = fields[4 if fields[0][0] == 0xA0 else 3][1]
        kind, text = list(_parts(validity))[1]
        return _time(kind, text.decode("ascii"))
    except (ValueError, IndexError, StopIteration, AgentError):
        return None


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate's DER; '' where the text is none."""
    try:
        data = _first(pem)
    except ValueError:
        return ""
    return hashlib.sha256(data).hexdigest() if data else ""


def _first(pem: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END CERTIFICATE-----")[0])


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values one after another in DER: (tag, content)."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("the value is longer than what is there")
        yield tag, data[at : at + length]
        at += length


def _time(kind: int, text: str) -> datetime:
    if kind == _UTC_TIME:
        year = int(text[:2])
        text = f"{'19' if year >= 50 else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
