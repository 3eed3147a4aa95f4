"""``python -m tests.pages`` writes what the pages of docs/ draw from the code; a test says when that is due."""

from __future__ import annotations

from pathlib import Path

from tests.pages.generated import generated

for name, content in generated().items():
    Path(name).write_text(content, encoding="utf-8")
    print(f"wrote {name}")
