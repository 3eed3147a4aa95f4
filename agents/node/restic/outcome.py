"""What the end of a run of restic means, in the controller's codes (restic's manual, "Exit codes"). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agents.node.protocol import AgentError
from agents.node.restic.messages import ExitError, ItemError, Summary

DONE, FATAL, RUNTIME, PARTIAL, NO_REPOSITORY, LOCKED, WRONG_PASSWORD, CANCELLED = 0, 1, 2, 3, 10, 11, 12, 130
TAKES_ITS_LOCK_AWAY = frozenset({DONE, PARTIAL, NO_REPOSITORY, LOCKED, WRONG_PASSWORD, CANCELLED})
"""Where it ends in another way a lock may be left, as where the answer to its making was lost with the server."""

NO_VIEW = 125
"""Not restic's: the child could not get so far as to become restic (``running``)."""

DAMAGED = "damaged"
"""The reason where the repository itself is not what was written to it."""

FULL = "full"

SAID_LIMIT = 500
STDERR_LIMIT = 2000
ITEMS_TOLD = 100

_OWNER = re.compile(r"locked (?:exclusively )?by PID (\d+) on (\S+) by (\S*)")
_FULL = r"no space left on device|disk quota exceeded|insufficient storage|\(507\)|\(413\)"
_NOT_LET_IN = r"\(401\)|401 unauthorized|permission denied \(|host key verification failed"
_APPEND_ONLY = r"\(403\)|403 forbidden"
# What was sent again because the answer to the first time was lost: it has arrived, and is not taken twice.
_SENT_TWICE = r"(?:unable to create lock|save[(<]|unable to save)[^\n]*\(403\)"
_NO_SNAPSHOT = r"(?:failed to find snapshot.*(?:no such file|not exist)|no matching id found)"
# Only what restic says of its own repository; files of a customer that cannot be read sound otherwise.
_DAMAGED = (
    r"ciphertext verification failed|invalid data returned|hash mismatch|not found in repository|packs from index missing"
    r"|<(?:data|tree|index|snapshot)/[0-9a-f]+>[^\n]*(?:no such file|does not exist|\(404\))"
)
_NETWORK = (
    r"connection (?:refused|reset|timed out|closed)|no such host|i/o timeout|network is unreachable|no route to host|broken pipe"
    r"|could not resolve hostname|tls handshake timeout|unexpected eof|timeout awaiting|\(50[0234]\)|bad gateway"
    r"|service unavailable|unable to start the sftp session|connection lost|context deadline exceeded"
)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A run that ended. ``status`` is negative where a signal ended it; ``stopped`` says why we ended it ('' = we did not).

    ``errors`` are the first of ``error_count``; ``plain`` is the output that is no message; ``stderr`` its end. The words about
    failures hold no secret.
    """

    status: int
    summary: Summary | None = None
    exit_error: ExitError | None = None
    errors: tuple[ItemError, ...] = ()
    error_count: int = 0
    plain: str = ""
    stderr: str = ""
    stopped: str = ""

    @property
    def words(self) -> str:
        """restic's own reason, on one line."""
        reason = self.exit_error.message if self.exit_error else ""
        if not reason and self.stderr.strip():
            reason = self.stderr.strip().splitlines()[-1]
        if not reason and self.errors:
            reason = f"{self.errors[0].item}: {self.errors[0].message}"
        return " ".join(reason.split())[:SAID_LIMIT] or "restic gave no reason"

    @property
    def everything(self) -> str:
        """All that it said about its failure, to look for causes in."""
        items = "\n".join(error.message for error in self.errors)
        return f"{self.exit_error.message if self.exit_error else ''}\n{self.stderr}\n{items}"


# By exit status: code, reason, the sentence ('' = restic's own), hint.
_BY_STATUS = {
    NO_VIEW: ("driver-permanent", "no-view", "", "the agent must be root, on Linux 5.10 or newer"),
    NO_REPOSITORY: ("not-found", "no-repository", "there is no repository at this location", ""),
    WRONG_PASSWORD: ("driver-permanent", "wrong-password", "the repository does not open with this key", ""),
    CANCELLED: ("driver-transient", "stopped", "restic was interrupted", ""),
    RUNTIME: ("driver-permanent", "crashed", "", "restic itself failed: see its own words in the details"),
}
# By its words, where the status only says that it failed; the first that is found counts.
_BY_WORDS = (
    (re.compile(_FULL, re.IGNORECASE), "no-capacity", FULL, "make room where the repository lies"),
    (re.compile(_SENT_TWICE, re.IGNORECASE), "driver-transient", "network", ""),
    (
        re.compile(_APPEND_ONLY, re.IGNORECASE),
        "refused",
        "append-only",
        "an append-only endpoint does not delete: ask the keeper's",
    ),
    (re.compile(_NOT_LET_IN, re.IGNORECASE), "driver-permanent", "not-let-in", "check the backup target's user, secret and keys"),
    (re.compile(_NO_SNAPSHOT, re.IGNORECASE), "not-found", "no-snapshot", ""),
    (re.compile(_DAMAGED, re.IGNORECASE), "driver-permanent", DAMAGED, "nothing is added to a damaged repository: begin another"),
    (re.compile(_NETWORK, re.IGNORECASE), "driver-transient", "network", ""),
)


def failure(said: Said, doing: str) -> AgentError:
    """The error for a run that did not do what it was asked for. ``doing`` begins the sentence.

    ``details["reason"]`` is one word for the cause, ``details["stderr"]`` the end of restic's own words.
    """
    if said.status == LOCKED and not said.stopped:
        return locked(said, doing)
    code, reason, sentence, hint = _cause(said)
    if reason == "no-snapshot":
        sentence = "there is no snapshot of that id"
    details: dict[str, Any] = {"reason": reason, "exit_status": said.status}
    if said.stderr.strip():
        details["stderr"] = said.stderr.strip()[-STDERR_LIMIT:]
    message = f"{doing}: {sentence or said.words}"
    if reason == FULL and not any(each.during == "restore" for each in said.errors):
        message = f"the repository has no room: {message}"
    return AgentError(code, message, hint=hint, **details)


def damage(said: Said) -> bool:
    """Whether the run met with damage of its repository, however it ended: a backup whose parent cannot be read calls its own
    source unreadable."""
    return not said.stopped and re.search(_DAMAGED, said.everything, re.IGNORECASE) is not None


def _cause(said: Said) -> tuple[str, str, str, str]:
    if said.stopped:
        return "driver-transient", "stopped", said.stopped, ""
    if said.status < 0:
        return "driver-transient", "killed", f"restic was ended by signal {-said.status}", ""
    if said.status in _BY_STATUS:
        return _BY_STATUS[said.status]
    for pattern, code, reason, hint in _BY_WORDS:
        if pattern.search(said.everything):
            return code, reason, "", hint
    return "driver-permanent", "failed", "", ""


def locked(said: Said, doing: str) -> AgentError:
    """Who holds the lock is told with his words: he may be on another machine."""
    owner = _OWNER.search(said.everything)
    holder = f"process {owner[1]} of {owner[3] or 'somebody'} on {owner[2]}" if owner else "somebody"
    details = {"host": owner[2], "pid": int(owner[1])} if owner else {}
    return AgentError(
        "driver-transient",
        f"{doing}: the repository is locked by {holder}",
        hint="a lock of this node whose owner is dead is removed by repository-unlock",
        reason="locked",
        **details,
    )


def items(said: Said) -> list[dict[str, str]]:
    """The items that failed, as an answer tells them: the first hundred."""
    return [{"item": each.item, "during": each.during, "message": each.message} for each in said.errors[:ITEMS_TOLD]]


def scrub(text: str, secrets: Iterable[str]) -> str:
    """``text`` without secrets, without what a URL may hold of them, and without what would steer a terminal."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _CONTROL.sub("", _USERINFO.sub("***@", text))
