"""What restic says and how it ends, as our codes; with words that restic 0.18 and 0.19 really wrote."""

from __future__ import annotations

import json

import pytest

from agents.node.protocol import EXIT_CODES, AgentError
from agents.node.restic.check import soundness
from agents.node.restic.commands import made
from agents.node.restic.messages import LINE_LIMIT, ExitError, ItemError, Plain, Status, Summary, read
from agents.node.restic.outcome import Said, failure, scrub

REFUSED = 'Head "http://127.0.0.1:1/config": dial tcp 127.0.0.1:1: connect: connection refused'
LOCK = (
    "unable to create lock in backend: repository is already locked exclusively by PID 3195 on vm by root (UID 0, GID 0)\n"
    "lock was created at 2026-11-27 03:03:41 (7.5s ago)\nstorage ID 53c40780"
)


DAMAGED = ("driver-permanent", "damaged")


def fatal(words: str, status: int = 1) -> Said:
    return Said(status=status, exit_error=ExitError(status, words))


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (fatal("Fatal: repository does not exist", 10), "not-found", "no-repository"),
        (fatal(LOCK, 11), "driver-transient", "locked"),
        (fatal("Fatal: wrong password or no key found", 12), "driver-permanent", "wrong-password"),
        (fatal("Fatal: unable to save snapshot: context canceled", 130), "driver-transient", "stopped"),
        (Said(status=-9), "driver-transient", "killed"),
        (Said(status=0, stopped="it did not end in time"), "driver-transient", "stopped"),
        (Said(status=2, stderr="panic: runtime error"), "driver-permanent", "crashed"),
        (Said(status=125, stderr="unshare: Operation not permitted"), "driver-permanent", "no-view"),
        (fatal("Fatal: write /srv/x: no space left on device"), "no-capacity", "full"),
        (Said(status=1, stderr="Save(<data/1>) failed: disk quota exceeded"), "no-capacity", "full"),
        (fatal("unexpected HTTP response (507): 507 Insufficient Storage"), "no-capacity", "full"),
        (fatal(f"Fatal: unable to open config file: {REFUSED}"), "driver-transient", "network"),
        (Said(status=1, stderr="subprocess ssh: ssh: Could not resolve hostname vault"), "driver-transient", "network"),
        (fatal("unexpected HTTP response (502): 502 Bad Gateway"), "driver-transient", "network"),
        (fatal("unexpected HTTP response (401): 401 Unauthorized"), "driver-permanent", "not-let-in"),
        (Said(status=1, stderr="root@vault: Permission denied (publickey)."), "driver-permanent", "not-let-in"),
        (Said(status=1, stderr="Host key verification failed."), "driver-permanent", "not-let-in"),
        (fatal("blob not removed: unexpected HTTP response (403): 403 Forbidden"), "refused", "append-only"),
        (fatal("unable to create lock in backend: unexpected HTTP response (403): 403 Forbidden"), "driver-transient", "network"),
        (fatal("Fatal: failed to find snapshot: failed to load snapshot: open x: no such file"), "not-found", "no-snapshot"),
        (fatal("Fatal: decrypting blob <data/618b4881> from 711fda31 failed: ciphertext verification failed"), *DAMAGED),
        (fatal("LoadRaw(<index/5a6a736123>): invalid data returned"), *DAMAGED),
        (fatal("Fatal: packs from index missing in repo"), *DAMAGED),
        (fatal("id fd278f55 not found in repository\ngithub.com/restic/restic/internal"), *DAMAGED),
        (Said(status=1, stderr="Load(<data/91f5aefe69>, 0, 0) failed: open r/data/91/91f5: no such file or directory"), *DAMAGED),
        (Said(status=1, errors=(ItemError("/a", "", "<data/91f5>: unexpected HTTP response (404): 404 Not Found"),)), *DAMAGED),
        (fatal("Load(<data/91f5aefe69>) failed: connection refused"), "driver-transient", "network"),
        (fatal("Fatal: something that nobody has seen yet"), "driver-permanent", "failed"),
        (Said(status=77), "driver-permanent", "failed"),
        (Said(status=3), "driver-permanent", "failed"),
    ],
)
def test_every_end_has_its_meaning(said: Said, code: str, reason: str) -> None:
    error = failure(said, "backing up /home/s1")
    assert (error.code, error.details["reason"]) == (code, reason)
    assert error.code in EXIT_CODES
    first = "the repository has no room: " if reason == "full" else ""
    assert error.message.startswith(f"{first}backing up /home/s1: ")


def test_who_holds_the_lock_is_told() -> None:
    error = failure(fatal(LOCK, 11), "checking")
    assert "process 3195 of root on vm" in error.message
    assert (error.details["host"], error.details["pid"]) == ("vm", 3195)
    assert "somebody" in failure(fatal("locked by a word that is new", 11), "checking").message


def test_a_network_that_fails_while_an_item_is_stored_may_come_back() -> None:
    said = Said(status=1, errors=(ItemError("/a", "archival", "Save failed: connection reset by peer"),), error_count=1)
    assert failure(said, "x").code == "driver-transient"


def test_a_backup_with_failed_items_is_never_whole() -> None:
    summary = Summary({"message_type": "summary", "snapshot_id": "1" * 64, "total_files_processed": 3})
    failed = (ItemError("/a", "archival", "permission denied"),)
    assert made(Said(status=0, summary=summary), "x")["whole"] is True
    partial = made(Said(status=3, summary=summary, errors=failed, error_count=7), "x")
    assert (partial["whole"], partial["failed_count"], partial["files"]) == (False, 7, 3)
    assert partial["failed"] == [{"item": "/a", "during": "archival", "message": "permission denied"}]
    assert made(Said(status=0, summary=summary, errors=failed, error_count=1), "x")["whole"] is False
    rotten = (ItemError("/", "archival", "decrypting blob <tree/fd27> from 91f5 failed: ciphertext verification failed"),)
    with pytest.raises(AgentError) as raised:
        made(Said(status=3, summary=summary, errors=rotten, error_count=1), "x")
    assert raised.value.details["reason"] == "damaged"


@pytest.mark.parametrize(
    "said",
    [
        Said(status=0),
        Said(status=0, summary=Summary({})),
        Said(status=1, summary=Summary({"snapshot_id": "1" * 64})),
        Said(status=0, summary=Summary({"snapshot_id": "1" * 64}), stopped="it did not end in time"),
    ],
)
def test_without_a_snapshot_that_is_named_there_is_no_backup(said: Said) -> None:
    with pytest.raises(AgentError):
        made(said, "x")


def test_damage_is_an_answer_and_a_check_that_could_not_be_made_an_error() -> None:
    summary = Summary({"num_errors": 2, "broken_packs": ["ab"]})
    found = soundness(Said(status=1, summary=summary, errors=(ItemError("", "", "pack ab is broken"),)), "x")
    assert (found["errors"], found["broken_packs"], found["messages"]) == (2, ["ab"], ["pack ab is broken"])
    assert soundness(Said(status=0, summary=Summary({"num_errors": 0, "broken_packs": None})), "x")["errors"] == 0
    assert soundness(fatal("Fatal: LoadIndex: ciphertext verification failed"), "x")["errors"] == 1
    for said in (fatal(LOCK, 11), fatal(REFUSED), fatal("Fatal: no cache"), Said(status=1, stopped="late")):
        with pytest.raises(AgentError):
            soundness(said, "x")


def test_messages_are_read_and_what_is_new_in_them_is_passed_over() -> None:
    def message(**fields: object) -> bytes:
        return json.dumps(fields).encode()

    status = message(message_type="status", percent_done=0.5, files_done=2, total_files=4, bytes_done=8, total_bytes=16, new=1)
    assert read(status) == Status(0.5, 2, 4, 8, 16)
    assert read(message(message_type="status")) == Status(0.0, 0, 0, 0, 0)
    failed = message(message_type="error", error={"message": "m"}, during="scan", item="/a")
    assert read(failed) == ItemError("/a", "scan", "m")
    assert read(message(message_type="exit_error", code=10, message="Fatal: no\n")) == ExitError(10, "Fatal: no")
    checked = message(message_type="error", message="\npack ab is not right\n")
    assert read(checked) == ItemError("", "", "pack ab is not right")
    summary = read(message(message_type="summary", files_new="x", data_added=7.0))
    assert isinstance(summary, Summary)
    assert (summary.count("files_new"), summary.count("data_added"), summary.text("snapshot_id")) == (0, 7, "")
    assert read(message(message_type="never seen")) == Plain('{"message_type": "never seen"}')
    assert read(b"created restic repository \xff") == Plain("created restic repository \ufffd")
    assert read(b"[1]") == Plain("[1]")
    assert read(b"") is None
    assert read(b"x" * (LINE_LIMIT + 1)) is None


def test_no_secret_and_nothing_that_steers_a_terminal_is_left_in_what_is_told() -> None:
    said = "\x1b[2KHead https://node:the-secret@vault/s1/: the-password \x07is wrong, see rest:http://u:p@h/"
    assert scrub(said, ("the-password", "the-secret")) == "Head https://***@vault/s1/: *** is wrong, see rest:http://***@h/"


def test_a_disk_that_is_full_where_it_is_restored_to_is_not_the_repositorys() -> None:
    said = Said(status=1, errors=(ItemError("/a", "restore", "write /home/s1/a: no space left on device"),), error_count=1)
    assert "the repository has no room" not in failure(said, "restoring into /home/s1").message
