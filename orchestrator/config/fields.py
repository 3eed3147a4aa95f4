"""The kinds of values that configuration files hold: checked while read, turned to base units, described for editors.

Every check raises ValueError with a sentence that a person can act on; nothing else about it reaches them.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import timedelta
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema

from orchestrator.config.units import DURATION_PATTERN, RATE_PATTERN, SIZE_PATTERN, parse_duration, parse_rate, parse_size

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_HOST = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?"
_URI = re.compile(r"[a-z][a-z0-9+]*://[!-~]*")


def _text(pattern: str, what: str, *, longest: int = 255) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be a text: put {value} in quotes" if isinstance(value, (int, float)) else "must be a text")
        if len(value) > longest or not compiled.fullmatch(value):
            raise ValueError(f"'{value[:60]}' is not {what}")
        return value

    return check


def _within(low: timedelta, high: timedelta, words: str) -> Callable[[object], timedelta]:
    def check(value: object) -> timedelta:
        duration = parse_duration(value)
        if not low <= duration <= high:
            raise ValueError(f"'{value}' is out of range: {words}")
        return duration

    return check


def _size_within(low: int, high: int, words: str, *, unit: int = 1) -> Callable[[object], int]:
    def check(value: object) -> int:
        size = parse_size(value)
        if not low <= size <= high:
            raise ValueError(f"'{value}' is out of range: {words}")
        if size % unit:
            raise ValueError(f"'{value}' is not a multiple of {unit} bytes: it would be rounded behind your back")
        return size

    return check


def _limited_rate(value: object) -> int:
    """Hypervisors count whole kilobytes, and a rate of none would be no limit at all."""
    rate = parse_rate(value)
    if rate < 1000:
        raise ValueError(f"'{value}' is too little: a limited service keeps at least 1 kB/s of its network")
    return rate


def _network(value: object) -> Network:
    if not isinstance(value, str) or "/" not in value:
        raise ValueError("must be a network with its prefix length, such as '192.0.2.0/24' or '2001:db8:1::/64'")
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}: write a network such as '192.0.2.0/24' or '2001:db8:1::/64'") from None


def _address(value: object) -> Address:
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_address(value)
    except ValueError:
        raise ValueError(f"'{value}' is no IPv4 or IPv6 address") from None


def _host(value: object) -> str:
    text = _text(rf"{_HOST}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", "a host name or an address")(value)
    if ":" in text or re.fullmatch(r"[0-9.]+", text):
        _address(text)
    return text


def _listen(value: object) -> str:
    text = _text(rf"|(({_HOST})|\[[0-9A-Fa-f:.]+\]):[0-9]{{1,5}}", "'host:port', such as '127.0.0.1:8080' or '[::1]:8080'")(value)
    if text and not 0 < int(text.rpartition(":")[2]) < 65536:
        raise ValueError(f"'{text}' has no port between 1 and 65535")
    return text


def _web_address(value: object) -> str:
    text = _text(r"|https?://[!-~]+", "an http:// or https:// address", longest=2000)(value)
    _no_password(text)
    return text


def _secure_address(value: object) -> str:
    text = _text(r"https://[!-~]+", "an https:// address of at most 128 letters", longest=128)(value)
    _no_password(text)
    return text


def _libvirt_uri(value: object) -> str:
    text = _text(_URI.pattern + "|[a-z][a-z0-9+]*:///[!-~]*|", "a libvirt URI, such as 'qemu:///system'", longest=2000)(value)
    _no_password(text)
    return text


def _database_url(value: object) -> str:
    form = "'sqlite:////absolute/path' or 'postgresql://user@host/name'"
    text = _text(r"|sqlite:////[!-~]+|postgresql(\+psycopg)?://[!-~]+", form, longest=2000)(value)
    _no_password(text)
    return text.replace("postgresql://", "postgresql+psycopg://", 1)


def _no_password(url: str) -> None:
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or re.search(r"(^|&)(password|passwd)=", parts.query, re.IGNORECASE)
    except ValueError:
        raise ValueError("this is no valid address") from None
    if secret:
        raise ValueError("a password must not stand in the configuration: keep it in a file of its own")


def _timezone(value: object) -> str:
    text = _text(r"[A-Za-z0-9_+/-]+", "a time zone")(value)
    if text not in zoneinfo.available_timezones():
        raise ValueError(f"'{text}' is no time zone: write an IANA name, such as 'Asia/Jakarta' or 'UTC'")
    return text


def _country(value: object) -> str:
    if value == "":
        return ""
    return _text(r"[A-Z]{2}", "a country: write its two capital letters, such as 'ID',")(value)


def _kind(check: Callable[[object], Any], schema: dict[str, Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(check), WithJsonSchema(schema)


_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,46}[A-Za-z0-9])?"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}"
_NAME_WORDS = "a name: up to 48 letters, digits, dots, dashes or underscores, beginning and ending with a letter or digit"

Name = Annotated[str, *_kind(_text(_NAME, _NAME_WORDS), {"type": "string", "pattern": f"^{_NAME}$"})]
FileName = Annotated[
    str,
    *_kind(
        _text(f"({_FILE})?", "a file name inside the storage pool, without directories"),
        {"type": "string", "pattern": f"^({_FILE})?$"},
    ),
]
Line = Annotated[
    str, *_kind(_text(r"[^\n\r]*", "one line of at most 1000 characters", longest=1000), {"type": "string", "maxLength": 1000})
]
PathText = Annotated[str, *_kind(_text(r"[^\n\r]+", "a path", longest=1000), {"type": "string", "minLength": 1})]
Sha256 = Annotated[
    str,
    *_kind(_text(r"[0-9a-f]{64}", "a SHA-256: 64 small hexadecimal digits"), {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]
PhpVersion = Annotated[
    str,
    *_kind(_text(r"[5-9]\.[0-9]{1,2}", "a version of PHP, such as '8.2'"), {"type": "string", "pattern": r"^[5-9]\.[0-9]{1,2}$"}),
]
Host = Annotated[str, *_kind(_host, {"type": "string", "minLength": 1})]
Country = Annotated[str, *_kind(_country, {"type": "string", "pattern": "^([A-Z]{2})?$"})]
Listen = Annotated[str, *_kind(_listen, {"type": "string"})]
User = Annotated[
    str, *_kind(_text(r"[a-z_][a-z0-9_-]{0,31}", "a user name"), {"type": "string", "pattern": "^[a-z_][a-z0-9_-]{0,31}$"})
]
Bridge = Annotated[
    str,
    *_kind(
        _text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}", "a network interface's name (at most 15 characters)"),
        {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$"},
    ),
]
WebAddress = Annotated[str, *_kind(_web_address, {"type": "string"})]
SecureAddress = Annotated[str, *_kind(_secure_address, {"type": "string", "pattern": "^https://[!-~]+$", "maxLength": 128})]
LibvirtUri = Annotated[str, *_kind(_libvirt_uri, {"type": "string"})]
DatabaseUrl = Annotated[str, *_kind(_database_url, {"type": "string"})]
TimeZone = Annotated[str, *_kind(_timezone, {"type": "string"})]
IpNetwork = Annotated[Network, *_kind(_network, {"type": "string"})]
IpAddress = Annotated[Address, *_kind(_address, {"type": "string"})]

_SIZE_SCHEMA = {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 0}]}
_RATE_SCHEMA = {"anyOf": [{"type": "string", "pattern": RATE_PATTERN}, {"const": 0}]}
_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN}

# libvirt counts a guest's memory in whole MiB, and disks are made of sectors of 512 bytes: what is read back from a guest
# has to be what the plan says.
Size = Annotated[int, *_kind(parse_size, _SIZE_SCHEMA)]
MemorySize = Annotated[
    int, *_kind(_size_within(16 * 2**20, 64 * 2**40, "a guest has between 16 MiB and 64 TiB of memory", unit=2**20), _SIZE_SCHEMA)
]
DiskSize = Annotated[int, *_kind(_size_within(2**20, 2**50, "a disk has between 1 MiB and 1024 TiB", unit=512), _SIZE_SCHEMA)]
Traffic = Annotated[int, *_kind(_size_within(10**9, 10**18, "a month's traffic is between 1 GB and 1,000,000 TB"), _SIZE_SCHEMA)]
BackupCap = Annotated[int, *_kind(_size_within(10**6, 2**50, "a backup's cap is between 1 MB and 1024 TiB"), _SIZE_SCHEMA)]
BodyLimit = Annotated[int, *_kind(_size_within(1024, 16 * 2**20, "between 1 KiB and 16 MiB"), _SIZE_SCHEMA)]
Rate = Annotated[int, *_kind(parse_rate, _RATE_SCHEMA)]
LimitedRate = Annotated[int, *_kind(_limited_rate, {"type": "string", "pattern": RATE_PATTERN})]
Tolerance = Annotated[timedelta, *_kind(_within(timedelta(seconds=1), timedelta(hours=1), "between 1s and 1h"), _DURATION_SCHEMA)]
EventsKept = Annotated[
    timedelta,
    *_kind(
        _within(timedelta(days=7), timedelta(days=3660), "at least 7d, as long as billing systems repeat an event"),
        _DURATION_SCHEMA,
    ),
]
Kept = Annotated[timedelta, *_kind(_within(timedelta(days=1), timedelta(days=3660), "at least 1d"), _DURATION_SCHEMA)]
ConfirmWait = Annotated[
    timedelta, *_kind(_within(timedelta(minutes=1), timedelta(days=366), "between 1m and 366d"), _DURATION_SCHEMA)
]
NodeWait = Annotated[timedelta, *_kind(_within(timedelta(0), timedelta(days=7), "between 0s and 7d"), _DURATION_SCHEMA)]
GivenUp = Annotated[timedelta, *_kind(_within(timedelta(hours=1), timedelta(days=366), "between 1h and 366d"), _DURATION_SCHEMA)]
StateInterval = Annotated[
    timedelta, *_kind(_within(timedelta(hours=1), timedelta(days=31), "between 1h and 31d"), _DURATION_SCHEMA)
]
ConsoleIdle = Annotated[
    timedelta, *_kind(_within(timedelta(minutes=1), timedelta(days=1), "between 1m and 24h"), _DURATION_SCHEMA)
]
RestartNotice = Annotated[timedelta, *_kind(_within(timedelta(0), timedelta(days=60), "between 0s and 60d"), _DURATION_SCHEMA)]
RestartTakes = Annotated[
    timedelta, *_kind(_within(timedelta(minutes=5), timedelta(hours=12), "between 5m and 12h"), _DURATION_SCHEMA)
]
CoolDown = Annotated[timedelta, *_kind(_within(timedelta(0), timedelta(days=366), "between 0s and 366d"), _DURATION_SCHEMA)]
Ratio = Annotated[float, Field(ge=0.1, le=100, allow_inf_nan=False)]
