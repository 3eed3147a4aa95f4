"""Checks of what a request on accounts may hold. Every message names the place in the request and what is wrong with it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from agents.node import arguments as a
from agents.node.arguments import Check, Field
from agents.node.hosting.spec import Adoption, Database, Limits, Site, Spec

LOWEST_UID, HIGHEST_UID = 100_001, 999_999_999
USER = re.compile(r"h[1-9][0-9]{5,8}")

BACKUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_SITE = re.compile(r"[a-z0-9-]{1,32}")
_DATABASE = re.compile(r"[a-z0-9_]{1,16}")
_PHP = re.compile(r"[5-9]\.[0-9]{1,2}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
# crypt(5): sha512crypt and yescrypt, the two that Debian's passwd makes.
_CRYPT = re.compile(
    r"\$6\$(rounds=[0-9]{4,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}|\$y\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
)
NATIVE = re.compile(r"\*[0-9A-F]{40}")
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_PEM = re.compile(r"(-----BEGIN ([A-Z0-9 ]{1,40})-----\n([A-Za-z0-9+/=]{1,80}\n)+-----END \2-----\n?)+")
_KEY_BYTES = 3600
_CRON_NUMBERS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@reboot")
_CRON_PART = re.compile(r"(\*|[0-9]{1,2}(?:-[0-9]{1,2})?)(?:/([1-9][0-9]?))?")

MANY = 1000
"""Users in one request."""


def _text(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"is not {what}")
        if not value.isascii():
            raise ValueError(f"is not {what}: it holds characters that are not ASCII, {ascii(value)[:80]}")
        if not pattern.fullmatch(value):
            raise ValueError(f"is not {what}")
        return value

    return check


def _or_empty(check: Check) -> Check:
    return lambda value: value if value == "" and isinstance(value, str) else check(value)


def _many(check: Check, most: int) -> Check:
    def every(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"is not a list of at most {most}")
        return tuple(_at(f"[{number}]", check, each) for number, each in enumerate(value))

    return every


def _at(where: str, check: Check, value: Any) -> Any:
    """The place is put before what is wrong there: ``sites[0].domains[1] is not …``"""
    try:
        return check(value)
    except ValueError as exc:
        said = str(exc)
        deeper = said[:1] in (".", "[")
        raise ValueError(f"{where}{said}" if deeper else f"{where} {said}") from None


def _object(fields: Mapping[str, Field]) -> Callable[[Any], dict[str, Any]]:
    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("is not an object")
        unknown = sorted(str(name) for name in set(value) - set(fields))
        if unknown:
            raise ValueError(f"has unknown fields: {', '.join(map(ascii, unknown))[:200]}")
        found: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                found[name] = _at(f".{name}", field.check, value[name])
            elif field.default is None:
                raise ValueError(f"has no '{name}'")
            else:
                found[name] = field.default
        return found

    return check


def domain(value: Any) -> str:
    """A host name of at least two labels, lower-case ASCII or punycode."""
    if not isinstance(value, str) or not value:
        raise ValueError("is not a domain name")
    if not value.isascii():
        raise ValueError(
            f"is not a domain name: {ascii(value)[:80]} holds characters that are not ASCII; write it in punycode (xn--…)"
        )
    labels = value.split(".")
    if len(value) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(each) for each in labels):
        raise ValueError("is not a domain name in lower case, without a port, a wildcard or a final dot")
    if labels[-1].isdigit():
        raise ValueError("is an address and not a domain name")
    for label in labels:
        if label[2:4] == "--" and not _punycode(label):
            raise ValueError(f"is not a domain name: {label} is no punycode")
    return value


def _punycode(label: str) -> bool:
    if not label.startswith("xn--"):
        return False
    try:
        return not label[4:].encode("ascii").decode("punycode").isascii()
    except (UnicodeError, ValueError):
        return False


def ssh_key(value: Any) -> str:
    """``TYPE BASE64 [COMMENT]``: no options before it, one line, and the blob is of the type that is named."""
    if not isinstance(value, str) or len(value) > 16_384 or not value.isascii() or not value.isprintable():
        raise ValueError("is not one line of a public SSH key")
    words = value.split(" ", 2)
    if len(words) < 2 or words[0] not in _KEY_TYPES:
        raise ValueError(f"is not a public SSH key without options, of one of the types {', '.join(_KEY_TYPES)}")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        blob = b""
    named = len(words[0]).to_bytes(4, "big") + words[0].encode()
    if not blob.startswith(named) or len(blob) < len(named) + 36:
        raise ValueError("is not a public SSH key: its body is not of its type")
    return value


def pem(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 32_768 or not _PEM.fullmatch(value):
        raise ValueError("is not PEM text")
    return value if value.endswith("\n") else value + "\n"


def key(value: Any) -> str:
    """A private key. One that is longer than RSA of 4096 bits would hold up nginx, and with it every site of the node, for the
    better part of a second at each handshake that anybody asks for."""
    found = pem(value)
    if len(found) > _KEY_BYTES:
        raise ValueError(f"is longer than {_KEY_BYTES} bytes: a key of RSA may have 4096 bits at most")
    return found


def schedule(value: Any) -> str:
    """Five fields of numbers, or one of cron's own words (crontab(5)); names of days and months are not taken."""
    if isinstance(value, str) and value in _CRON_WORDS:
        return value
    parts = value.split(" ") if isinstance(value, str) and value.isascii() else []
    if len(parts) != len(_CRON_NUMBERS) or not all(map(_cron_field, parts, _CRON_NUMBERS)):
        raise ValueError("is not a schedule: five fields of numbers, such as '*/5 * * * *', or @daily and the like")
    return str(value)


def _cron_field(text: str, span: tuple[int, int]) -> bool:
    return all(_cron_part(part, span) for part in text.split(","))


def _cron_part(part: str, span: tuple[int, int]) -> bool:
    found = _CRON_PART.fullmatch(part)
    if not found:
        return False
    numbers = [] if found[1] == "*" else [int(each) for each in found[1].split("-")]
    return all(span[0] <= each <= span[1] for each in numbers) and numbers == sorted(numbers)


def command(value: Any) -> str:
    """One line; what it does runs as the account's user, in its slice."""
    if not isinstance(value, str) or not value.strip() or len(value) > 1000 or not value.isprintable():
        raise ValueError("is not one printable line of at most 1000 characters")
    return value


_LIMITS = _object(
    {
        "disk_bytes": Field(a.count(1 << 20, 1 << 50)),
        "inodes": Field(a.count(10, 1 << 40)),
        "cpu_percent": Field(a.count(1, 102_400)),
        "memory_bytes": Field(a.count(16 << 20, 1 << 45)),
        "tasks": Field(a.count(4, 1 << 22)),
        "io_bytes_per_second": Field(a.count(0, 1 << 50), 0),
        "iops": Field(a.count(0, 1 << 30), 0),
    }
)
_ACCESS = _object(
    {
        "password_hash": Field(_or_empty(_text(_CRYPT, "a hash of crypt(3) that begins with $6$ or $y$")), ""),
        "ssh_keys": Field(_many(ssh_key, 50), ()),
    }
)
_SITE_FIELDS = _object(
    {
        "name": Field(_text(_SITE, "the name of a site: 1 to 32 of a-z, 0-9 and -")),
        "domains": Field(_many(domain, 100)),
        "php": Field(_or_empty(_text(_PHP, "a version of PHP, such as 8.2")), ""),
        "certificate": Field(_or_empty(pem), ""),
        "key": Field(_or_empty(key), ""),
    }
)
_DATABASE_FIELDS = _object(
    {
        "name": Field(_text(_DATABASE, "the name of a database: 1 to 16 of a-z, 0-9 and _")),
        "password_hash": Field(_or_empty(_text(NATIVE, "a hash of mysql_native_password, * and 40 hexadecimal digits")), ""),
        "full": Field(a.flag, False),
    }
)
_CRON_FIELDS = _object({"schedule": Field(schedule), "command": Field(command)})
user = _text(USER, "the name of an account: h and its uid")
job_id = _text(_JOB, "the id of a job")
tarball = _text(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"), "the name of a file, of letters, digits, '.', '_' and '-'")
uid = a.count(LOWEST_UID, HIGHEST_UID)
_ACCOUNT = _object(
    {
        "service_id": Field(a.service_id),
        "user": Field(user),
        "uid": Field(uid),
        "limits": Field(_LIMITS),
        "access": Field(_ACCESS, {"password_hash": "", "ssh_keys": ()}),
        "sites": Field(_many(_SITE_FIELDS, 200), ()),
        "databases": Field(_many(_DATABASE_FIELDS, 200), ()),
        "cron": Field(_many(_CRON_FIELDS, 100), ()),
    }
)


def account(value: Any) -> Spec:
    """The whole spec. Raises ValueError with the place in it."""
    found = _ACCOUNT(value)
    if found["user"] != f"h{found['uid']}":
        raise ValueError(f".user is not h and the uid: {found['user']} and {found['uid']}")
    sites = tuple(_site(each) for each in found["sites"])
    _once("sites", (each.name for each in sites))
    _once("domains", (name for each in sites for name in each.domains))
    databases = tuple(Database(**each) for each in found["databases"])
    _once("databases", (each.name for each in databases))
    return Spec(
        service_id=found["service_id"],
        user=found["user"],
        uid=found["uid"],
        limits=Limits(**found["limits"]),
        **found["access"],
        sites=sites,
        databases=databases,
        cron=tuple(f"{each['schedule']} {each['command']}" for each in found["cron"]),
    )


def _site(found: Mapping[str, Any]) -> Site:
    if not found["domains"]:
        raise ValueError(f": the site {found['name']} has no domain")
    if bool(found["certificate"]) != bool(found["key"]):
        raise ValueError(f": the site {found['name']} has a certificate without its key, or a key without its certificate")
    return Site(**found)


def _once(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f": {name} is twice among its {what}")
        seen.add(name)


stranger = _text(re.compile(r"[a-z_][a-z0-9_.-]{0,31}"), "the name of a user of the node")
_OLD_DATABASE = _text(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_$-]{0,63}"), "the name of a database on the node")
_ADOPTION = _object(
    {
        "stranger": Field(stranger),
        "sites": Field(
            _many(
                _object({"name": Field(_text(_SITE, "the name of a site: 1 to 32 of a-z, 0-9 and -")), "root": Field(a.path)}),
                200,
            ),
            (),
        ),
        "databases": Field(
            _many(
                _object(
                    {
                        "name": Field(_text(_DATABASE, "the name of a database: 1 to 16 of a-z, 0-9 and _")),
                        "from": Field(_OLD_DATABASE),
                    }
                ),
                200,
            ),
            (),
        ),
        "cron": Field(a.flag, True),
    }
)


def adoption(value: Any) -> Adoption:
    """What of a user of the node moves into an account. Raises ValueError with the place in it."""
    found = _ADOPTION(value)
    sites = tuple((each["name"], each["root"]) for each in found["sites"])
    bases = tuple((each["name"], each["from"]) for each in found["databases"])
    for what, names in (("sites", [n for n, _ in sites]), ("databases", [n for n, _ in bases]), ("old", [o for _, o in bases])):
        _once(what, names)
    return Adoption(stranger=found["stranger"], sites=sites, databases=bases, cron=found["cron"])


def databases(value: Any) -> Sequence[str]:
    """By name, without the account's own before it; none = all."""
    found: Sequence[str] = _many(_text(_DATABASE, "the name of a database: 1 to 16 of a-z, 0-9 and _"), 200)(value)
    return found


def backups(value: Any) -> Sequence[str]:
    """Ids of backups, each the name of a directory."""
    found: Sequence[str] = _many(_text(BACKUP, "the id of a backup"), MANY)(value)
    return found


def users(value: Any) -> Sequence[str]:
    """Accounts by name; none = all."""
    found: Sequence[str] = _many(user, MANY)(value)
    return found
