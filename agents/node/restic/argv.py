"""What restic is told: words and environment, made of a repository and a verb. Pure; no secret ever stands in the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.node.restic.repository import SFTP, Repository

PROGRESS_PER_SECOND = 2
COMPRESSIONS = ("auto", "off", "fastest", "better", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a run may take of its node. 0 = no limit, or restic's own default; ``*_kib`` are KiB a second.

    ``niceness`` 0..19 (nice(1)); ``io_priority`` 0..7 of the best-effort class, 7 the least (ionice(1)), -1 = the idle class.
    """

    upload_kib: int = 0
    download_kib: int = 0
    niceness: int = 10
    io_priority: int = 7
    read_concurrency: int = 0
    pack_size_mib: int = 0
    compression: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of one call: its ``cache`` and ``scratch`` directories, and where key and known hosts were put ('' = none)."""

    cache: str
    scratch: str
    ssh_key: str = ""
    ssh_known_hosts: str = ""


def words(repository: Repository, files: Files, limits: Limits, verb: Sequence[str]) -> list[str]:
    """The whole call, from the program on."""
    transfer: list[str] = []
    if limits.upload_kib:
        transfer += ["--limit-upload", str(limits.upload_kib)]
    if limits.download_kib:
        transfer += ["--limit-download", str(limits.download_kib)]
    if repository.kind == SFTP:
        transfer += ["-o", f"sftp.args={' '.join(ssh_options(files))}"]
    io_class = ["-c", "3"] if limits.io_priority < 0 else ["-c", "2", "-n", str(limits.io_priority)]
    lighter = ["nice", "-n", str(limits.niceness), "ionice", "-t", *io_class]
    return [*lighter, "restic", "--repo", repository.location, "--json", *transfer, *verb]


def ssh_options(files: Files) -> list[str]:
    """For ssh and sftp alike: nobody is asked, no host is trusted but the given, a dead connection is noticed within a minute."""
    given = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none"]
    given += ["-o", f"UserKnownHostsFile={files.ssh_known_hosts or 'none'}", "-o", "ConnectTimeout=20"]
    given += [
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "ServerAliveCountMax=3",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
    ]
    return [*given, "-o", f"IdentityFile={files.ssh_key or 'none'}"]


def environment(repository: Repository, files: Files) -> dict[str, str]:
    """All that restic finds in its environment; the node's own is not passed on."""
    found = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": files.scratch,
        "LC_ALL": "C.UTF-8",
        "TMPDIR": files.scratch,
        "RESTIC_CACHE_DIR": files.cache,
        "RESTIC_PASSWORD": repository.password,
        "RESTIC_PROGRESS_FPS": str(PROGRESS_PER_SECOND),
    }
    if repository.login:
        found |= {"RESTIC_REST_USERNAME": repository.login, "RESTIC_REST_PASSWORD": repository.secret}
    return found


def create() -> list[str]:
    return ["init"]


def opens() -> list[str]:
    """Reads what only the right password can: proves that the repository is there and is ours."""
    return ["cat", "config", "--no-lock"]


def snapshots() -> list[str]:
    return ["snapshots", "--no-lock"]


def backup(
    *,
    host: str,
    tags: Sequence[str],
    limits: Limits,
    without: Sequence[str] = (),
    parent: str = "",
    scan: bool = False,
    full: bool = False,
) -> list[str]:
    """Of the directory in which it runs: its path is the same for every run, wherever the data lies.

    ``without``: paths that are left out.
    ``scan``: let restic count first, so that its progress has an end. ``full``: read every file, whatever its metadata says.
    """
    told = ["backup", "--one-file-system", "--host", host]
    for tag in tags:
        told += ["--tag", tag]
    for path in without:
        told += ["--exclude", pattern(path)]
    if parent:
        told += ["--parent", parent]
    if full:
        told += ["--force"]
    if not scan:
        told += ["--no-scan"]
    if limits.read_concurrency:
        told += ["--read-concurrency", str(limits.read_concurrency)]
    if limits.pack_size_mib:
        told += ["--pack-size", str(limits.pack_size_mib)]
    return [*told, "--compression", limits.compression, "."]


def restore(snapshot: str, *, only: Sequence[str], delete: bool, verify: bool, target: str = ".") -> list[str]:
    """Into ``target``; "." = the directory in which it runs. ``only``: paths inside the snapshot, from its root."""
    told = ["restore", snapshot, "--target", target, "--sparse"]
    for path in only:
        told += ["--include", pattern(path)]
    if delete:
        told += ["--delete"]
    if verify:
        told += ["--verify"]
    return told


def pattern(path: str) -> str:
    """The pattern that matches this one path and what lies below it (restic's filter: filepath.Match of Go)."""
    return "".join(f"\\{letter}" if letter in "\\*?[" else letter for letter in path)


def listing(snapshot: str) -> list[str]:
    """Every file of the snapshot with its metadata, one JSON object a line."""
    return ["ls", "--no-lock", snapshot]


def holding(snapshot: str, paths: Sequence[str]) -> list[str]:
    """These paths of the snapshot, where they are there, and what lies right below them; likewise."""
    return [*listing(snapshot), *paths]


def archive(snapshot: str) -> list[str]:
    """The content of all files of the snapshot as one tar archive on standard output."""
    return ["dump", "--no-lock", "--archive", "tar", snapshot, "/"]


def check(*, part: int, of: int) -> list[str]:
    """Structure and index, and the data of the packs of one part of ``of``; part 0 = no data."""
    return ["check", *([f"--read-data-subset={part}/{of}"] if part else [])]


def forget(ids: Sequence[str], *, prune: bool) -> list[str]:
    return ["forget", *ids, *(["--prune"] if prune else [])]


def prune() -> list[str]:
    return ["prune"]


def locks() -> list[str]:
    return ["list", "locks", "--no-lock"]


def lock(lock_id: str) -> list[str]:
    return ["cat", "lock", lock_id, "--no-lock"]
