"""A new master key, in steps that can be broken off anywhere and taken up again: at each moment all that is wrapped opens.

1. ``master.next.key`` is made; nothing is wrapped with it yet.
2. ``master.previous.key`` is made, a copy of ``master.key``.
3. ``master.next.key`` is renamed to ``master.key``. From here on what is wrapped is wrapped with the new one, and what is
   unwrapped is tried with both.
4. All is wrapped anew: ``signing.key`` here, the rest by who keeps it.
5. ``master.previous.key`` is removed. A rotation that finds it goes on with 4 instead of beginning another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.domain.errors import ConfigError
from orchestrator.drivers.local import keys
from orchestrator.drivers.local.files import is_there, make_file, read_secret, replace_file, sync_directory


def rotate_master_key(state_dir: Path, rewrap: Callable[[keys.LocalSecrets], None]) -> bool:
    """``rewrap`` wraps anew all that others keep, and sees that it opens with the new key alone (``only_new``).

    True: a rotation that was broken off was finished, and none begun. No controller may run meanwhile. Raises ConfigError.
    """
    directory = state_dir / "keys"
    master, following, previous = (directory / name for name in (keys.MASTER, keys.MASTER_NEXT, keys.MASTER_PREVIOUS))
    if not is_there(master):
        raise ConfigError(f"there is no master key in {directory}", hint="bring it back from its copy")
    resumed = is_there(following) or is_there(previous)
    if is_there(following) or not is_there(previous):
        make_file(following, keys.new_master_key())
        keys.check_master_key(following)
        make_file(previous, read_secret(master, what="master key"))
        following.replace(master)
        sync_directory(directory)
    secrets = keys.LocalSecrets(state_dir, {})
    signing = directory / keys.SIGNING
    opened = secrets.unwrap(read_secret(signing, what="signing key"), context=keys.SIGNING_CONTEXT)
    replace_file(signing, secrets.wrap(opened, context=keys.SIGNING_CONTEXT))
    rewrap(secrets)
    alone = keys.only_new(state_dir)
    alone.unwrap(read_secret(signing, what="signing key"), context=keys.SIGNING_CONTEXT)
    for left in directory.glob(".*"):  # what was half written when an earlier one was broken off
        left.unlink()
    previous.unlink()
    sync_directory(directory)
    return resumed
