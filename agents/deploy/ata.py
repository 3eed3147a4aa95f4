"""Erasing an ATA drive by its own security commands (ACS-4, 4.20), through hdparm."""

from __future__ import annotations

import subprocess

from agents.deploy.failure import Failed
from agents.deploy.inspecting import ata_word

_PASSWORD = "orchestrator"  # noqa: S105 - set for the erase and gone with it; it keeps nobody out
_LONGEST = 24 * 3600


def offered(identify: bytes) -> tuple[str, ...]:
    """What the drive offers, the best first, out of IDENTIFY DEVICE: words 82 and 128. () also where firmware has frozen it."""
    security = ata_word(identify, 128)
    supported, locked, frozen, enhanced = (security & bit for bit in (1, 4, 8, 32))
    if not supported or locked or frozen or not ata_word(identify, 82) & 2:
        return ()
    return ("ata-secure-erase-enhanced", "ata-secure-erase") if enhanced else ("ata-secure-erase",)


def why_not(identify: bytes) -> str:
    """Why nothing is offered, for people; '' where there is nothing to say."""
    security = ata_word(identify, 128)
    if security & 4:
        return "the drive is locked with a password"
    return "the drive's security commands are frozen by the firmware" if security & 8 else ""


def erase(device: str, method: str) -> None:
    """Returns when the drive is done. Raises Failed; a password that was set is taken back then as far as that can be."""
    word = "--security-erase-enhanced" if method == "ata-secure-erase-enhanced" else "--security-erase"
    _hdparm(device, "--security-set-pass", seconds=120)
    try:
        _hdparm(device, word, seconds=_LONGEST)
    except Failed as exc:
        try:
            _hdparm(device, "--security-disable", seconds=120)
        except Failed as left:
            raise Failed(f"{exc}; and it is left locked with the password {_PASSWORD}: {left}") from exc
        raise


def _hdparm(device: str, word: str, *, seconds: int) -> None:
    command = ["hdparm", "--user-master", "u", word, _PASSWORD, device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"hdparm {word} was not done after {seconds} s") from exc
    # hdparm ends with 0 also where the drive refused, and says so.
    if done.returncode != 0 or "SG_IO: bad" in done.stderr or "failed" in done.stderr.lower():
        raise Failed(f"hdparm {word}: {(done.stderr or done.stdout).strip()[-300:]}")
