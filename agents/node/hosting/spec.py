"""What an account shall be, as the controller asks for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard limits. ``cpu_percent``: 100 is one core; ``io_bytes_per_second`` and ``iops``, each way: 0 = none."""

    disk_bytes: int
    inodes: int
    cpu_percent: int
    memory_bytes: int
    tasks: int
    io_bytes_per_second: int = 0
    iops: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """``php``: a version, '' = files only. ``certificate`` and ``key`` are PEM; '' = one that signs itself."""

    name: str
    domains: tuple[str, ...]
    php: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """``password_hash``: of mysql_native_password, '' = no login by password. ``full``: INSERT and CREATE are taken away."""

    name: str
    password_hash: str = ""
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Checked (see ``fields``). ``cron``: whole lines of a crontab."""

    service_id: str
    user: str
    uid: int
    limits: Limits
    password_hash: str = ""
    ssh_keys: tuple[str, ...] = ()
    sites: tuple[Site, ...] = ()
    databases: tuple[Database, ...] = ()
    cron: tuple[str, ...] = ()

    def digest(self) -> str:
        """The same for the same spec."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def php_versions(self) -> tuple[str, ...]:
        return tuple(sorted({site.php for site in self.sites if site.php}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Checked (see ``fields``). ``sites``: name and directory; ``databases``: the name in the account, and the one it has now."""

    stranger: str
    sites: tuple[tuple[str, str], ...] = ()
    databases: tuple[tuple[str, str], ...] = ()
    cron: bool = True
