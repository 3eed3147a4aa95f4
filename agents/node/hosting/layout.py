"""Where everything of an account lies. All of it carries the account's user name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.node.place import Place

GROUP = "orch-sftp"
"""The group that sshd's block is about; all accounts and nobody else."""

WEB_USER = "www-data"

_OPEN = (
    *("tmp", "var/tmp", "dev/shm", "dev/mqueue", "run/lock", "run/screen", "var/lib/php/sessions"),
    *("var/crash", "var/mail", "var/spool/cron/atspool", "var/spool/cron/crontabs"),
)
"""Where everybody may write, if by a program that is let do so: crontab(1) that is killed leaves a file behind."""


@dataclass(frozen=True, slots=True)
class Node:
    """The directories of a hosting node."""

    place: Place

    def under(self, path: str) -> Path:
        return self.place.root / path

    @property
    def homes(self) -> Path:
        return self.under("srv/h")

    @property
    def wiping(self) -> Path:
        """Where a home goes before it is removed: on the same file system, and root's alone."""
        return self.homes / ".wiping"

    @property
    def marks(self) -> Path:
        return self.under("etc/orchestrator/accounts")

    @property
    def keys(self) -> Path:
        return self.under("etc/orchestrator/keys")

    @property
    def rotation(self) -> Path:
        """What logrotate is told of the accounts' logs."""
        return self.under("etc/orchestrator/logrotate.conf")

    @property
    def fpm(self) -> Path:
        return self.under("etc/orchestrator/fpm")

    @property
    def tls(self) -> Path:
        return self.under("etc/orchestrator/tls")

    @property
    def sockets(self) -> Path:
        return self.under("run/orchestrator/fpm")

    @property
    def pending(self) -> Path:
        """A file here says that something was written which its service has not read yet."""
        return self.under("run/orchestrator/pending")

    @property
    def probes(self) -> Path:
        return self.under("run/orchestrator/probe")

    @property
    def vhosts(self) -> Path:
        return self.under("etc/nginx/orchestrator")

    @property
    def quarantine(self) -> Path:
        return self.under("etc/nginx/orchestrator.bad")

    @property
    def logs(self) -> Path:
        return self.under("var/log/orchestrator")

    @property
    def units(self) -> Path:
        return self.under("etc/systemd/system")

    @property
    def crontabs(self) -> Path:
        return self.under("var/spool/cron/crontabs")

    @property
    def at_jobs(self) -> Path:
        return self.under("var/spool/cron/atjobs")

    @property
    def linger(self) -> Path:
        return self.under("var/lib/systemd/linger")

    @property
    def records(self) -> Path:
        return self.place.state / "accounts"

    @property
    def imports(self) -> Path:
        """Where an operator puts the tarballs by which accounts move in: root's alone."""
        return self.place.state / "imports"

    @property
    def open_places(self) -> tuple[Path, ...]:
        """Directories in which every user of the node may leave something."""
        return tuple(map(self.under, _OPEN))

    @property
    def cgroups(self) -> Path:
        return self.under("sys/fs/cgroup")


def mount(path: Path) -> Path:
    """The top of the file system that it lies on."""
    while path != path.parent and path.parent.stat().st_dev == path.stat().st_dev:
        path = path.parent
    return path


@dataclass(frozen=True, slots=True)
class Home:
    """One account's own places."""

    node: Node
    user: str

    @property
    def uid(self) -> int:
        return int(self.user[1:])

    @property
    def chroot(self) -> Path:
        return self.node.homes / self.user

    @property
    def packed(self) -> Path:
        """All of the account that is not in its files, while it is backed up or made from a backup: root's alone."""
        return self.chroot / "backup"

    @property
    def packing(self) -> Path:
        """The same, until it is whole."""
        return self.chroot / "backup.making"

    @property
    def restored(self) -> Path:
        """What was restored beside the account's files, each backup in a directory of its own."""
        return self.chroot / "restored"

    @property
    def mark(self) -> Path:
        return self.node.marks / f"{self.user}.json"

    @property
    def keys(self) -> Path:
        return self.node.keys / self.user

    @property
    def vhost(self) -> Path:
        return self.node.vhosts / f"{self.user}.conf"

    @property
    def quarantined(self) -> Path:
        return self.node.quarantine / f"{self.user}.conf"

    @property
    def tls(self) -> Path:
        return self.node.tls / self.user

    @property
    def logs(self) -> Path:
        return self.node.logs / self.user

    @property
    def crontab(self) -> Path:
        return self.node.crontabs / self.user

    @property
    def linger(self) -> Path:
        return self.node.linger / self.user

    @property
    def records(self) -> Path:
        """The manifest of a suspension, what it put away, and the counters of the logs."""
        return self.node.records / self.user

    @property
    def gathered(self) -> Path:
        """The tarball of a user who is adopted into the account, among those that are imported."""
        return self.node.imports / f"adopt.{self.user}.tar"

    @property
    def gathering(self) -> Path:
        """The directory in which it is made."""
        return self.gathered.with_name(f".adopt.{self.user}")

    @property
    def wiping(self) -> Path:
        """What there was of it, from the moment in which its wipe began until that is done."""
        return self.node.records / f"{self.user}.wiping.json"

    def owns(self, name: str) -> bool:
        """``h100001-8.2.conf``, ``orch-fpm-h100001-8.2.service``, ``.h100001.conf.new``, ``h100001.1``: never ``h1000010``."""
        bare = name.lstrip(".").removeprefix("orch-fpm-").removeprefix("orch-")
        return bare == self.user or bare.startswith((f"{self.user}-", f"{self.user}."))

    @property
    def slice(self) -> str:
        return f"orch-{self.user}.slice"

    @property
    def slice_file(self) -> Path:
        return self.node.units / self.slice

    @property
    def logins_file(self) -> Path:
        """The limits of what pam_systemd puts beside the account's slice: its logins."""
        return self.node.units / f"user-{self.uid}.slice.d/orchestrator.conf"

    @property
    def cgroup(self) -> Path:
        return self.node.cgroups / "orch.slice" / self.slice

    @property
    def logins_cgroup(self) -> Path:
        return self.node.cgroups / f"user.slice/user-{self.uid}.slice"

    def fpm_unit(self, version: str) -> str:
        return f"orch-fpm-{self.user}-{version}.service"

    def fpm_file(self, version: str) -> Path:
        return self.node.fpm / f"{self.user}-{version}.conf"

    def fpm_units(self) -> tuple[Path, ...]:
        """The unit files that are there."""
        return tuple(sorted(self.node.units.glob(f"orch-fpm-{self.user}-*.service")))
