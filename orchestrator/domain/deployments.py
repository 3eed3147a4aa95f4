"""What is decided about deployments: the seed on the kernel's command line, and whether the machine that came is the one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

from orchestrator.domain.errors import ConfigError

# Letters of base64url that the boot menus have room for, and the bytes that fill them without a remainder.
SEED_LENGTH = 640
_SEED_BYTES = SEED_LENGTH // 4 * 3


def seed(values: Mapping[str, str]) -> str:
    """The values as JSON, filled with blanks to the one length, in base64url: exactly SEED_LENGTH letters.

    Raises ConfigError where they do not fit, for which only the controller's URL can be to blame.
    """
    text = json.dumps({key: value for key, value in values.items() if value}, separators=(",", ":")).encode("ascii")
    if len(text) > _SEED_BYTES:
        raise ConfigError("the seed of the deploy image does not fit into its place", hint="choose a shorter deploy.url")
    return base64.urlsafe_b64encode(text.ljust(_SEED_BYTES)).decode("ascii")


def swapped(uuid: str) -> str:
    """The same UUID as firmware writes it that has the bytes of its first three groups turned round (SMBIOS 2.6, 7.2.1)."""
    groups = uuid.split("-")
    turned = ["".join(reversed([group[at : at + 2] for at in range(0, len(group), 2)])) for group in groups[:3]]
    return "-".join((*turned, *groups[3:]))


def differences(*, uuid: str, serials: Iterable[str], found_uuid: str, found_serials: Iterable[str]) -> tuple[str, ...]:
    """What keeps the machine that came from being the one that is expected, in sentences; () = it is.

    ``uuid`` '' and no ``serials``: nothing is known of it yet, and whatever comes is believed. BMC and firmware may write the
    same UUID in two ways. A machine may have more disks than are expected.
    """
    wrong = []
    wanted, came = uuid.lower(), found_uuid.lower()
    if wanted and came not in (wanted, swapped(wanted)):
        wrong.append(f"its UUID is {came or 'none'}, and not {wanted}")
    missing = sorted(set(serials) - set(found_serials))
    if missing:
        wrong.append(f"it has no disk with the serial number {', '.join(missing)}")
    return tuple(wrong)
