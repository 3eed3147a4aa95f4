"""Where the files lie that come with the code and are no code: beside it in a checkout, else where its wheel put them."""

from __future__ import annotations

import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parents[1]
ROOT = _CHECKOUT if (_CHECKOUT / "playbooks").is_dir() else Path(sys.prefix) / "share" / "orchestrator"
PLAYBOOKS = ROOT / "playbooks"
SAMPLES = ROOT / "configs"
