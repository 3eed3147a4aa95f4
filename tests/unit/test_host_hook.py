"""libvirt's hook: a held guest stays down, everybody else's guest is none of its business, and no running guest dies of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

AGENTS = Path(__file__).parents[2] / "agents/libvirt-hook"
NS = "xmlns:orch='https://orchestrator.example/xmlns/guest/1'"


def guest(metadata: str = "", *, name: str = "orch.vps-1") -> str:
    return f"<domain type='kvm'><name>{name}</name><metadata>{metadata}</metadata><devices/></domain>"


HELD = guest(f"<orch:guest {NS} service='vps-1' job='j1'><orch:hold reason='nonpayment'/></orch:guest>")
HOLDS = "<orch:hold reason='nonpayment'/><orch:token value='t'/><orch:hold reason='abuse'/>"
HELD_TWICE = guest(f"<orch:guest {NS} service='vps-1'>{HOLDS}</orch:guest>")
FREE = guest(f"<orch:guest {NS} service='vps-1' job='j1'><orch:token value='t'/></orch:guest>")
OTHER_PREFIX = guest(f"<x:guest {NS.replace('orch', 'x', 1)} service='vps-1'><x:hold reason='abuse'/></x:guest>")
OTHER_NAMESPACE = guest("<orch:guest xmlns:orch='https://elsewhere.example/'><orch:hold reason='x'/></orch:guest>")
LOOSE_HOLD = guest(f"<orch:hold {NS} reason='x'/>")
IN_TEXT = guest(f"<d:note xmlns:d='urn:d'>&lt;orch:guest {NS}&gt;&lt;orch:hold/&gt;</d:note><!-- <orch:hold/> -->")
NO_REASON = guest(f"<orch:guest {NS} service='vps-1'><orch:hold/></orch:guest>")
BOMB = (
    "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
    f"<domain><name>n</name><title>&b;</title><metadata><orch:guest {NS}><orch:hold/></orch:guest></metadata></domain>"
)
BAD_ENCODING = f"<?xml version='1.0' encoding='koi9'?>{HELD}"
ODD_ENCODING = f"<?xml version='1.0' encoding='cp932'?>{HELD}"  # one that Python has and its parser cannot take


class Case(NamedTuple):
    what: str
    name: str
    operation: str
    xml: str
    refused: bool
    says: tuple[str, ...] = ()


CASES = (
    Case("held at prepare", "orch.vps-1", "prepare", HELD, refused=True, says=("vps-1", "nonpayment")),
    Case("held at start", "orch.vps-1", "start", HELD, refused=True, says=("vps-1", "nonpayment")),
    Case("every hold is named", "orch.vps-1", "start", HELD_TWICE, refused=True, says=("nonpayment, abuse",)),
    Case("another prefix of our namespace", "orch.vps-1", "prepare", OTHER_PREFIX, refused=True, says=("abuse",)),
    Case("a hold without a reason", "orch.vps-1", "prepare", NO_REASON, refused=True, says=("without a reason",)),
    Case("renamed by somebody", "web01", "prepare", HELD, refused=True, says=("web01", "vps-1")),
    Case("ours, not held", "orch.vps-1", "prepare", FREE, refused=False),
    Case("no metadata", "web01", "prepare", guest(name="web01"), refused=False),
    Case("ours without our metadata", "orch.vps-1", "prepare", guest(), refused=True, says=("no metadata of ours",)),
    Case("ours with others' metadata", "orch.vps-1", "start", OTHER_NAMESPACE, refused=True, says=("no metadata of ours",)),
    Case("ours with a hold outside of our element", "orch.vps-1", "start", LOOSE_HOLD, refused=True, says=("no metadata",)),
    Case("ours without a service", "orch.vps-1", "start", guest(f"<orch:guest {NS}/>"), refused=False),
    *(Case("no service's name", name, "start", guest(name=name), refused=False) for name in ("orchid", "orch-test", "ORCH.a")),
    Case("our XML in an unknown encoding", "orch.vps-1", "start", BAD_ENCODING, refused=True, says=("cannot be read", "koi9")),
    Case("our XML in an odd encoding", "orch.vps-1", "prepare", ODD_ENCODING, refused=True, says=("cannot be read",)),
    Case("others' XML in an unknown encoding", "web01", "start", BAD_ENCODING, refused=False),
    Case("another namespace", "web01", "start", OTHER_NAMESPACE, refused=False),
    Case("a hold outside of our element", "web01", "start", LOOSE_HOLD, refused=False),
    Case("only text that looks like a hold", "web01", "start", IN_TEXT, refused=False),
    Case("others' malformed XML", "web01", "prepare", "<domain><name>", refused=False),
    Case("others' empty XML", "web01", "start", "", refused=False),
    Case("others' XML with entities", "web01", "start", BOMB, refused=False),
    Case("our malformed XML", "orch.vps-1", "prepare", HELD[:-20], refused=True, says=("cannot be read",)),
    Case("our empty XML", "orch.vps-1", "start", "", refused=True, says=("cannot be read",)),
    Case("our XML with entities", "orch.vps-1", "start", BOMB, refused=True, says=("entities",)),
    *(
        Case(f"held at {operation}", "orch.vps-1", operation, xml, refused=False)
        for operation in ("reconnect", "started", "stopped", "release", "migrate", "restore", "attach", "")
        for xml in (HELD, "", "<broken")
    ),
)


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """The hook as enrolment installs it, but with its check under ``tmp_path``."""
    check = tmp_path / "hold-check"
    check.write_bytes((AGENTS / "hold_check.py").read_bytes())
    return _installed(tmp_path, check)


def _installed(directory: Path, check: Path) -> Path:
    text = (AGENTS / "orchestrator-hold").read_text()
    assert "check=/usr/local/lib/orchestrator/hold-check\n" in text
    hook = directory / "orchestrator-hold"
    hook.write_text(text.replace("check=/usr/local/lib/orchestrator/hold-check\n", f"check='{check}'\n"))
    hook.chmod(0o755)
    return hook


def _call(hook: Path, name: str, operation: str, xml: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [hook, name, operation, "begin", "-"], input=xml, capture_output=True, text=True, timeout=30, check=False, env={}
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.what}-{c.operation}-{len(c.xml)}")
def test_the_hook_refuses_what_a_hold_stops_and_nothing_else(case: Case, hook: Path) -> None:
    done = _call(hook, case.name, case.operation, case.xml)
    assert (done.returncode != 0) is case.refused, done
    assert (done.stderr != "") is case.refused
    for words in case.says:
        assert words in done.stderr


@pytest.mark.parametrize("broken", ["missing", "crashing"])
@pytest.mark.parametrize(
    ("name", "operation", "refused"),
    [
        ("orch.vps-1", "prepare", True),
        ("orch-hook-proof-1", "start", True),
        ("web01", "prepare", False),
        ("orchid", "start", False),
        ("orch.vps-1", "reconnect", False),
        ("web01", "reconnect", False),
    ],
)
def test_a_check_that_cannot_run_stops_our_guests_and_no_other(
    broken: str, name: str, operation: str, refused: bool, tmp_path: Path
) -> None:
    check = tmp_path / "hold-check"
    if broken == "crashing":
        check.write_text("import nothing_of_that_name\n")
    done = _call(_installed(tmp_path, check), name, operation, HELD)
    assert (done.returncode != 0) is refused
    assert "Traceback" not in done.stderr
