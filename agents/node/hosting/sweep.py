"""Taking back what a probe or the loading of a dump was lent for a moment, also where that call was killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from agents.node.hosting import closing, databases, people, sql, tree
from agents.node.hosting.layout import Home
from agents.node.hosting.run import run
from agents.node.protocol import AgentError

TAG = "orchestrator-probe"


def record(home: Home) -> Path:
    """What a probe must put back: written before it changes anything."""
    return home.node.records / f"{home.user}.probe.json"


def note(home: Home, **put_back: object) -> None:
    home.node.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    tree.write(record(home), json.dumps(put_back) + "\n", sync=True)


def probes(home: Home) -> None:
    """Everything as it was before. Called at the end of each, and first by every other call on the account."""
    text = tree.read(record(home))
    if text is None:
        return
    held = json.loads(text or "{}")
    without_tag(home.keys)
    if without_tag(home.crontab):
        closing.touch_crontabs(home)
    present = people.shadow(home.node).get(home.user)
    if "hash" in held and present is not None and present.hash != held["hash"]:
        people.set_hash(home.user, held["hash"])
    for path in closing.at_jobs(home):
        if TAG in (tree.read(path) or ""):
            run(["atrm", str(int(path.name[1:6], 16))])
            tree.remove(path)
    for name in (home.user, f"{home.user}.own"):
        shutil.rmtree(home.node.probes / name, ignore_errors=True)
    tree.remove(home.node.records / f"{home.user}.askpass")
    lent = {key: held[key] for key in ("logins", "lock", "full") if held.get(key)}
    words = "".join(
        sql.create_user(name, password_hash=secret).splitlines(keepends=True)[1]
        for name, secret in lent.get("logins", {}).items()
    )
    words += sql.lock(lent.get("lock", ())) + "".join(sql.grant(home.user, name, full=True) for name in lent.get("full", ()))
    try:
        if words:
            databases.ask(words, doing="taking back what was lent")
    except AgentError as exc:
        if exc.code != "driver-transient":
            raise
        # MariaDB is away: the rest of the call is not held up by that, and the next one takes it away.
        note(home, **lent)
        return
    tree.remove(record(home))


def without_tag(path: Path) -> bool:
    """Remove a probe's lines; a file that was made for it goes. Whether there was one."""
    text = tree.read(path)
    if text is None or TAG not in text:
        return False
    status = path.stat(follow_symlinks=False)
    left = "".join(f"{line}\n" for line in tree.lines(text) if TAG not in line)
    if left:
        tree.write(path, left, mode=status.st_mode & 0o777, owner=(status.st_uid, status.st_gid))
    else:
        tree.remove(path)
    return True
