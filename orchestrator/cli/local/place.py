"""Where the configuration is, and whose the state directory is, for the local commands."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from orchestrator.domain.errors import OrchestratorError


def config_dir(context: click.Context) -> Path:
    """The directory that --config or ORCHESTRATOR_CONFIG named."""
    value = context.meta["orchestrator.config_dir"]
    assert isinstance(value, str)
    return Path(value)


@contextmanager
def as_controllers_user(directory: Path) -> Iterator[None]:
    """Root looks with the eyes of the user that the state directory belongs to: what root may read says nothing of that user."""
    from orchestrator import wiring

    try:
        status = wiring.load_config(directory).settings.state_dir.stat()
    except (OrchestratorError, OSError):
        yield
        return
    if os.geteuid() != 0 or status.st_uid == 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    try:
        user = pwd.getpwuid(status.st_uid)
        its_group, its_groups = user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)
    except KeyError:
        its_group, its_groups = status.st_gid, [status.st_gid]
    os.setgroups(its_groups)
    os.setegid(its_group)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
