"""Where MariaDB puts the files of a customer's table: below its own directory, and not where he says (``DATA DIRECTORY``).

Elsewhere no database counts them, a neighbour's disk or directory fills by them, and a wipe leaves directories behind. What was
made elsewhere before the server was told so stays readable; MariaDB brings it in when the table is next made anew.
"""

from __future__ import annotations

from pathlib import Path

from agents.node.hosting import databases, tree
from agents.node.hosting.layout import Node
from agents.node.hosting.run import must, run
from agents.node.protocol import AgentError

TEXT = """# Written by the node agent: a table lies in the directory of its database, and not where a customer says.
[mariadbd]
symbolic-links = 0
"""
_PENDING = "mariadb"
_SECONDS = 300.0


def keep_inside(node: Node) -> bool:
    """The server is told; whether it was not before. It is restarted for that, which ends every session, and only once: where
    another file says otherwise after ours, the doctor tells."""
    file, pending = node.under("etc/mysql/mariadb.conf.d/99-orchestrator.cnf"), node.pending / _PENDING
    if not file.parent.is_dir():
        return False
    if tree.read(file) != TEXT:
        tree.write(pending, "")
        tree.write(file, TEXT, mode=0o644)
    elif not pending.exists():
        return False
    if not databases.see().inside:
        _restart(file)
    tree.remove(pending)
    return True


def _restart(file: Path) -> None:
    """A server that would not start again with its configuration is left running, and ours is taken back."""
    done = run(["mariadbd", "--verbose", "--help"])
    if done.status != 0:
        tree.remove(file)
        raise AgentError("driver-permanent", f"MariaDB refuses its configuration: {done.said}", hint="mariadbd --verbose --help")
    must(["systemctl", "try-restart", "mariadb.service"], doing="letting MariaDB keep tables in their place", seconds=_SECONDS)
