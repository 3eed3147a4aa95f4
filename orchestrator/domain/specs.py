"""The wanted guest of a service (GuestSpec), checked, and its plain JSON: what ``$spec`` means in a playbook.

``$spec.guest`` holds what is sold and how it is named, ``$spec.access`` who may log in (the one part that is not to be shown
around), ``$spec.template`` what it is installed from, ``$spec.digest`` the SHA-256 of them all. Everything that reaches a guest
or its definition from outside passes the checks here, whichever way it came in.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.domain.canonical import canonical_json, digest
from orchestrator.domain.errors import RequestError
from orchestrator.domain.plans import LIMITED_NETWORK, GuestPlan, GuestSpec, InstalledPlan, Template, guest_name
from orchestrator.domain.services import Service

# RFC 1123 section 2.1, each label; the whole name is at most 253 characters, and Linux takes 64 for a host's own name.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
HOSTNAME_LENGTH = 253

# crypt(5): SHA-512 ($6$) and yescrypt ($y$), the two that Debian's login programs make and take.
_SHA512 = re.compile(r"\$6\$(rounds=[0-9]{4,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}")
_YESCRYPT = re.compile(r"\$y\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}")

SSH_KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
SSH_KEY_LENGTH = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWanted:
    """``$spec.guest``. Bytes, bytes per second; ``cpu_percent`` per vCPU; 0 = not limited.

    ``limited_network_bytes_per_second``: what is left of the network while a hold limits the service. ``mail_out``: it may send
    to port 25 of others; None = nothing was said of that, in what was written down by an older version.
    """

    name: str
    hostname: str
    zone: str
    zones: tuple[str, ...]
    vcpus: int
    memory_bytes: int
    disk_bytes: int
    cpu_percent: int
    disk_bytes_per_second: int
    disk_iops: int
    network_bytes_per_second: int
    encrypted: bool
    full_copy: bool
    ipv4: int
    ipv6: int
    limited_network_bytes_per_second: int = LIMITED_NETWORK
    vcpus_most: int = 0
    mail_out: bool | None = None


def hostname(name: str) -> str:
    """The name in small letters, where it is one that a host may have; raises RequestError (RFC 1123 section 2.1)."""
    if not name.isascii():
        raise RequestError(f"{name!r} is no host name: letters of other scripts are written in punycode (xn--…)")
    lowered = name.strip().lower().removesuffix(".")
    labels = lowered.split(".")
    if not lowered or len(lowered) > HOSTNAME_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise RequestError(f"{name!r} is no host name", hint="labels of letters, digits and inner hyphens, joined by dots")
    if labels[-1].isdecimal():
        raise RequestError(f"{name!r} looks like an address, not like a host name", hint="its last label needs a letter")
    return lowered


def hostname_of(service: Service, *, suffix: str = "guest") -> str:
    """The host name of a guest or a machine: as ordered, else the service's domain, else ``<service>.<suffix>``."""
    given = service.hostname or service.domain
    if given:
        return hostname(given)
    # A service's id may hold what a host name may not: '_' and a hyphen at the end.
    return hostname(f"{service.id.replace('_', '-').strip('-')}.{suffix}")


def ssh_key(line: str) -> str:
    """The public key ``type base64 [comment]`` as it goes into authorized_keys; raises RequestError.

    Options before the type are refused: ``command=`` or ``environment=`` are not for a customer's order to set. The type inside
    the base64 must be the one in front of it (RFC 4253 section 6.6).
    """
    hint = "one line as in id_ed25519.pub: type, base64, comment"
    if len(line) > SSH_KEY_LENGTH or any(ord(c) < 32 or ord(c) == 127 for c in line):
        raise RequestError("an SSH key is too long or holds control characters", hint=hint)
    kind, _, rest = line.strip().partition(" ")
    if kind not in SSH_KEY_TYPES:
        raise RequestError(f"an SSH key begins with {kind[:40]!r}, which is no key type that is taken", hint=hint)
    blob, _, comment = rest.strip().partition(" ")
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("an SSH key is not base64", hint=hint) from None
    fields = _wire_strings(raw)
    if len(fields) < 2 or fields[0] != kind.encode():
        raise RequestError(f"an SSH key's content is no {kind} key", hint=hint)
    if kind == "ssh-ed25519" and len(fields[1]) != 32:
        raise RequestError("an SSH key of type ssh-ed25519 does not hold 32 bytes", hint=hint)
    return " ".join(part for part in (kind, blob, comment.strip()) if part)


def key_in(line: str) -> str:
    """The key itself, base64, in a line of authorized_keys, whatever options and comment it has; '' = there is none."""
    words = line.split()
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in SSH_KEY_TYPES), "")


def plain_key(line: str) -> bool:
    """Whether the line lets its key do everything: no options stand before it."""
    return line.split(" ", 1)[0] in SSH_KEY_TYPES


def keys_to_change(found: Iterable[str], wanted: Iterable[str], before: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines to add and those to remove so that of ours exactly ``wanted`` are let in. ``found``: the lines there; ``before``:
    ours until now. All others are their owner's own, and stay."""
    there, now = tuple(found), tuple(wanted)
    ours = {key_in(line) for line in before} - {key_in(line) for line in now}
    let_in = {key_in(line) for line in there if plain_key(line)}
    return tuple(line for line in now if key_in(line) not in let_in), tuple(line for line in there if key_in(line) in ours)


def _wire_strings(raw: bytes) -> list[bytes]:
    """The length-prefixed strings (RFC 4251 section 5) that ``raw`` is made of; empty where it is not."""
    fields: list[bytes] = []
    while raw:
        length = int.from_bytes(raw[:4], "big")
        if len(raw) < 4 + length or len(raw) < 4:
            return []
        fields.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return fields


def password_hash(text: str) -> str:
    """A crypt(5) hash, SHA-512 or yescrypt, or ''; raises RequestError for anything else, a clear password above all."""
    if text and not (_SHA512.fullmatch(text) or _YESCRYPT.fullmatch(text)):
        raise RequestError(
            "a password is taken only as a crypt hash ($6$… or $y$…)", hint="mkpasswd -m yescrypt, or openssl passwd -6"
        )
    return text


def require_sold_with(plan: InstalledPlan, template: Template) -> None:
    """Raises RequestError where the plan is not sold with it."""
    if plan.templates and template.name not in plan.templates:
        raise RequestError(f"plan {plan.name} is not sold with template {template.name}", hint=", ".join(plan.templates))


def ssh_keys_of(service: Service) -> tuple[str, ...]:
    """Each once, as it goes into authorized_keys. Raises RequestError."""
    return tuple(dict.fromkeys(ssh_key(line) for line in service.ssh_keys))


def guest_spec(service: Service, plan: GuestPlan, template: Template) -> GuestSpec:
    """What the service is to have. Raises RequestError where what was ordered cannot be given to a guest."""
    require_sold_with(plan, template)
    return GuestSpec(
        service_id=service.id,
        name=guest_name(service.id),
        plan=plan,
        template=template,
        hostname=hostname_of(service),
        ssh_keys=ssh_keys_of(service),
        password_hash=password_hash(service.password_hash),
        zone=service.zone,
        mail_out=mail_out(service, plan),
    )


def mail_out(service: Service, plan: GuestPlan) -> bool:
    """Whether its guest may send to port 25 of others: as was said of the service, else as its plan says."""
    return plan.mail_out if service.mail_out is None else service.mail_out


def wanted(spec: GuestSpec) -> GuestWanted:
    plan = spec.plan
    return GuestWanted(
        name=spec.name,
        hostname=spec.hostname,
        zone=spec.zone,
        zones=plan.zones,
        vcpus=plan.vcpus,
        memory_bytes=plan.memory_bytes,
        disk_bytes=plan.disk_bytes,
        cpu_percent=plan.cpu_percent,
        disk_bytes_per_second=plan.disk_bytes_per_second,
        disk_iops=plan.disk_iops,
        network_bytes_per_second=plan.network_bytes_per_second,
        encrypted=plan.encrypted,
        full_copy=plan.full_copy,
        ipv4=plan.ipv4,
        ipv6=plan.ipv6,
        limited_network_bytes_per_second=plan.limited_rate,
        vcpus_most=plan.vcpus_most,
        mail_out=spec.mail_out,
    )


def to_json(spec: GuestSpec) -> dict[str, Any]:
    """Plain JSON: ``service_id``, ``plan`` (its name), ``kind``, ``guest``, ``access``, ``template`` and ``digest``."""
    data: dict[str, Any] = {
        "service_id": spec.service_id,
        "plan": spec.plan.name,
        "kind": spec.plan.kind.value,
        "guest": asdict(wanted(spec)),
        "access": {"ssh_keys": list(spec.ssh_keys), "password_hash": spec.password_hash},
        "template": asdict(spec.template),
    }
    plain: dict[str, Any] = json.loads(canonical_json(data))
    return {**plain, "digest": digest(plain)}
