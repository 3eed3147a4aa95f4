"""Whatever a page tells its reader to type exists: nouns, verbs, options and their values."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.shell import Typed, commands, wrong

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TYPED = [typed for page in PAGES for typed in commands(page)]


@pytest.mark.parametrize("typed", TYPED, ids=str)
def test_a_command_of_the_pages_exists(typed: Typed) -> None:
    assert wrong(typed) == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("job", "watch", "j1"), ""),
        (("--socket", "/tmp/s", "service", "suspend", "s1", "--reason", "late"), ""),
        (("freeze", "--why", "nonsense"), ""),
        (("job", "applaud", "j1"), "no command applaud"),
        (("service", "suspend", "s1"), "--reason"),
        (("service", "list", "--colour"), "--colour"),
        (("event", "replay", "first"), "first"),
        (("service",), "verb is missing"),
        (("job", "watch", "j1", "j2"), "j2"),
    ],
)
def test_a_command_that_does_not_exist_is_found(words: tuple[str, ...], problem: str) -> None:
    found = wrong(Typed(Path("page.md"), words, True))
    assert (problem in found) if problem else (found == "")


PAGE = """
Say `orchestrator freeze [--why TEXT]`.

```console
$ orchestrator job list \\
    --all | head
orchestrator: no
```

```sh
which orchestrator; orchestrator
sudo -u ops A=b /opt/bin/orchestrator init  # once
```

```yaml
orchestrator nothing
```
"""


def test_commands_are_found_in_blocks_and_in_running_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert [typed.words for typed in commands(page)] == [("job", "list", "--all"), ("init",), ("freeze", "--why", "TEXT")]
