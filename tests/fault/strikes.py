"""Strikes at the agent of a hosting node, each when it begins one of the node's programs or has ended it.

The agent looks for programs in ``/usr/local/sbin`` first, which is the administrator's own place. While a test strikes there is a
wrapper for each of them, which runs the real program; it counts those that the agent calls, and does at a given number what it
was told to. A call that is struck at every number is struck between any two of its acts on the node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.lab.hosting import HostingNode

DIRECTORY = "/run/strikes"
WRAPPERS = "/usr/local/sbin"
BY_HAND = "/etc/nginx/conf.d/zz-by-hand.conf"
PROGRAMS = (
    *("groupadd", "useradd", "usermod", "userdel", "groupdel", "chpasswd", "chage", "loginctl", "crontab", "at", "atrm"),
    *("systemctl", "php-fpm8.2", "nginx", "openssl", "mariadb", "mariadb-dump", "ssh-keygen", "sshd", "ssh", "sftp", "ipcrm"),
)
AGENT, CONNECTION = "agent", "connection"
FULL, NO_MARIADB = "full", "no-mariadb"
BEFORE, DURING, AFTER = "before", "during", "after"

# What is struck: the agent ($PPID); the sshd that holds the connection its call came over; or the node itself, by a script.
_WRAPPER = """#!/bin/bash
# A test's: see tests/fault/strikes.py.
name=${{0##*/}}
real=/usr/sbin/$name; [ -x "$real" ] || real=/usr/bin/$name
call=$(tr '\\0' '\\n' 2>/dev/null </proc/$PPID/cmdline | tail -n 1)
[ -f "{directory}/on/$call" ] || exec "$real" "$@"  # it is '' for a script whose last line is empty
cd {directory}; exec 8<>lock; flock 8
number=$(( $(cat "count/$call" 2>/dev/null || echo 0) + 1 ))
echo $number >"count/$call"
echo "$call $number $name $*" >>log
what= moment=
[ ! -e "orders/$call.$number" ] || read -r what moment <"orders/$call.$number"
flock -u 8; exec 8<&-
strike() {{
    echo "$call $number $name: $what $moment" >>{directory}/struck
    pid=$PPID
    case "$what" in
        agent) kill -KILL $pid ;;
        connection)
            until [ "$(cat /proc/$pid/comm)" = sshd ]; do pid=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' /proc/$pid/stat); done
            kill -KILL $pid ;;
        *) sh {directory}/acts/$what >/dev/null 2>&1 ;;
    esac
}}
cd /
case "$moment" in
    before) strike; [ "$what" = agent ] || exec "$real" "$@" ;;
    during) (sleep 0.1; strike) >/dev/null 2>&1 & exec "$real" "$@" ;;
    after) "$real" "$@"; code=$?; strike; exit $code ;;
    *) exec "$real" "$@" ;;
esac
"""
# Not a byte is left, nor for what root may write beyond the others' share.
_FULL = """
fallocate -l $(stat -f -c '%f %S' / | { read -r blocks size; echo $((blocks * size)); }) /full.0
dd if=/dev/zero of=/full.1 bs=64k; dd if=/dev/zero of=/full.2 bs=1k
"""
_ROOM = "rm -f /full.0 /full.1 /full.2; systemctl start mariadb.service"
_NO_MARIADB = "systemctl stop mariadb.service mariadb.socket"


@dataclass(frozen=True)
class Order:
    """Strike at the program of this number, counted over all calls of the command."""

    number: int
    what: str = AGENT
    moment: str = BEFORE


@dataclass(frozen=True)
class Strikes:
    """What is to strike the agent on a node."""

    server: HostingNode

    def prepare(self) -> None:
        first, *others = PROGRAMS
        self.server.write(f"{WRAPPERS}/{first}", _WRAPPER.format(directory=DIRECTORY), mode=0o755)
        for name, script in ((FULL, _FULL), (NO_MARIADB, _NO_MARIADB)):
            self.server.write(f"{DIRECTORY}/acts/{name}", script)
        links = "".join(f"ln -f {first} {name}\n" for name in others)
        self.server.shell(f"cd {DIRECTORY}; mkdir -p on count orders; cd {WRAPPERS}\n{links}")

    def remove(self) -> None:
        self.server.attempt("sh", "-c", f"cd {WRAPPERS} && rm -f {' '.join(PROGRAMS)}; rm -rf {DIRECTORY}")

    def arm(self, orders: Mapping[str, Sequence[Order]]) -> None:
        """From now on the programs of these commands are counted, and at those that are ordered it strikes, once. None = nothing
        is counted any more."""
        lines = [f"cd {DIRECTORY}", "rm -f on/* count/* orders/* log struck"]
        for command, given in orders.items():
            lines += [f"echo {each.what} {each.moment} >orders/{command}.{each.number}" for each in given]
            lines.append(f": >on/{command}")
        self.server.shell("\n".join(lines))

    def log(self) -> list[str]:
        """The programs since then: ``command number program arguments``."""
        return self.server.attempt("cat", f"{DIRECTORY}/log").stdout.decode().splitlines()

    def struck(self) -> list[str]:
        return self.server.attempt("cat", f"{DIRECTORY}/struck").stdout.decode().splitlines()

    # -- what an operator breaks and mends ---------------------------------------------

    def break_nginx(self) -> None:
        self.server.write(BY_HAND, "server { listen 80; server_name by-hand.example; no_such_word on; }\n")

    def mend_nginx(self) -> None:
        self.server.run("rm", "-f", BY_HAND)

    def stop_mariadb(self) -> None:
        self.server.shell(_NO_MARIADB)

    def start_mariadb(self) -> None:
        self.server.run("systemctl", "start", "mariadb.service")

    def fill(self) -> None:
        self.server.attempt("sh", "-c", _FULL)

    def make_room(self) -> None:
        """MariaDB may have ended itself where nothing could be written."""
        self.server.shell(_ROOM)
