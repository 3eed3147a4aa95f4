"""The users of the node: read from its own files, changed by its own programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agents.node.hosting import tree
from agents.node.hosting.layout import GROUP, Home, Node
from agents.node.hosting.run import must
from agents.node.protocol import AgentError

SHELL = "/usr/sbin/nologin"
_EXPIRED = 1
"""Day 1 after 1970-01-01: an account that expired then lets nobody in, by whatever way (shadow(5))."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Secret:
    """Of shadow(5). ``expires``: days since 1970-01-01, -1 = never."""

    hash: str
    expires: int

    @property
    def locked(self) -> bool:
        """No password can be right. An account that never had one is locked so from the beginning."""
        return self.hash.startswith(("!", "*"))

    @property
    def usable(self) -> bool:
        """Whether there is a password at all, locked or not."""
        return len(self.hash.lstrip("!")) > 1

    def expired(self, today: int) -> bool:
        return 0 <= self.expires <= today


def passwd(node: Node) -> dict[str, User]:
    found = {}
    for row in _rows(node, "etc/passwd", 7):
        if row[2].isdigit() and row[3].isdigit():
            found[row[0]] = User(row[0], int(row[2]), int(row[3]), row[5], row[6])
    return found


def shadow(node: Node) -> dict[str, Secret]:
    return {row[0]: Secret(row[1], int(row[7]) if row[7].isdigit() else -1) for row in _rows(node, "etc/shadow", 9)}


def groups(node: Node) -> dict[str, tuple[int, tuple[str, ...]]]:
    """The number and the members of each."""
    return {
        row[0]: (int(row[2]), tuple(filter(None, row[3].split(",")))) for row in _rows(node, "etc/group", 4) if row[2].isdigit()
    }


def _rows(node: Node, path: str, fields: int) -> Iterator[list[str]]:
    for line in tree.lines(tree.read(node.under(path)) or ""):
        row = line.split(":")
        if len(row) == fields:
            yield row


def making(user: str, uid: int, home: str) -> list[list[str]]:
    """The words that make the user: with its own group, no shell, no ids of its own for containers, no place in lastlog."""
    return [
        ["groupadd", "--gid", str(uid), user],
        [
            "useradd",
            "--uid",
            str(uid),
            "--gid",
            user,
            "--groups",
            GROUP,
            "--home-dir",
            home,
            "--no-create-home",
            "--shell",
            SHELL,
            "--no-log-init",
            "--key",
            "SUB_UID_COUNT=0",
            "--key",
            "SUB_GID_COUNT=0",
            user,
        ],
    ]


def mending(user: str, present: User, members: tuple[str, ...], home: str) -> list[list[str]]:
    """The words by which a user that is there becomes as it was made."""
    words = []
    if present.home != home:
        words += ["--home", home]
    if present.shell != SHELL:
        words += ["--shell", SHELL]
    if user not in members:
        words += ["--append", "--groups", GROUP]
    return [["usermod", *words, user]] if words else []


def settle(home: Home) -> bool:
    """The user is there; whether anything was changed. Raises AgentError (wrong-state) where the name has another uid."""
    node, user = home.node, home.user
    directory = f"/srv/h/{user}/home"
    present, known = passwd(node).get(user), groups(node)
    if present is None:
        acts = making(user, home.uid, directory)
        if user in known:
            if known[user][0] != home.uid:
                raise AgentError("wrong-state", f"the group {user} has the number {known[user][0]} and not {home.uid}")
            acts = acts[1:]
    else:
        if (present.uid, present.gid) != (home.uid, home.uid):
            raise AgentError("wrong-state", f"the user {user} has uid {present.uid} and gid {present.gid} and not {home.uid}")
        acts = mending(user, present, known.get(GROUP, (0, ()))[1], directory)
    for words in acts:
        must(words, doing=f"making the user {user}")
    return bool(acts)


def forget_copies(home: Home) -> None:
    """Take the account out of the copies that the programs above leave of what was before (``/etc/shadow-``)."""
    for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid"):
        path = home.node.under(f"etc/{name}-")
        text = tree.read(path)
        if text is not None and home.user in text:
            status = path.stat(follow_symlinks=False)
            tree.write(path, without(home.user, text), mode=status.st_mode & 0o777, owner=(status.st_uid, status.st_gid))


def without(user: str, text: str) -> str:
    """Lines of passwd(5), group(5) and the like, without that user's own and without it as a member of others."""
    kept = []
    for line in tree.lines(text):
        fields = line.split(":")
        if fields[0] != user:
            members = [each for each in fields[-1].split(",") if each != user]
            kept.append(line if user not in fields[-1].split(",") else ":".join([*fields[:-1], ",".join(members)]))
    return "".join(f"{line}\n" for line in kept)


def set_hash(user: str, value: str) -> None:
    """A hash is no argument of a program: everybody could read it there."""
    must(["chpasswd", "--encrypted"], given=f"{user}:{value}\n", doing=f"setting the password of {user}")


def expire(user: str, *, on: bool) -> None:
    must(["chage", "--expiredate", str(_EXPIRED) if on else "-1", user], doing=f"setting when {user} expires")


def set_expiry(user: str, days: int) -> None:
    must(["chage", "--expiredate", str(days), user], doing=f"setting when {user} expires")


def wanted_hash(ordered: str, present: Secret | None, *, suspended: bool) -> str | None:
    """What shadow shall hold, None where it holds it. A suspended account stays locked, with the new password behind the lock."""
    value = ordered or "!"
    if suspended and not value.startswith("!"):
        value = f"!{value}"
    return None if present is not None and present.hash == value else value
