"""What the boot menu's seed says: on the kernel's command line, put there by the controller as it served the image."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, fields

from agents.deploy.failure import Failed

ARGUMENT = "deploy.seed="


@dataclass(frozen=True)
class Seed:
    """``sha256``: of the controller's certificate (DER), in hex. ``address`` '' = DHCP; ``mac`` '' = the first card with a
    link."""

    url: str
    sha256: str
    token: str
    machine: str
    mac: str = ""
    address: str = ""
    gateway: str = ""


def of_command_line(text: str) -> Seed:
    """Raises Failed where there is none, as in an image that the controller did not serve."""
    words = [word.removeprefix(ARGUMENT) for word in text.split() if word.startswith(ARGUMENT)]
    try:
        values = json.loads(base64.b64decode(words[-1], altchars=b"-_", validate=True))
        known = {field.name for field in fields(Seed)}
        seed = Seed(**{key: str(value) for key, value in values.items() if key in known})
    except (IndexError, binascii.Error, ValueError, TypeError, AttributeError) as exc:
        raise Failed("there is no seed on the kernel's command line: this image was not served by a controller") from exc
    if not seed.url.startswith("https://"):
        raise Failed("the seed names no controller by https")
    return seed
