"""What restic is told: the words of each verb, and no secret in any of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.node.restic import argv
from agents.node.restic.argv import Files, Limits
from agents.node.restic.repository import Repository, repository
from agents.node.restic.sftp import destruction, listing, quoted

SECRETS = {
    "password": "the-password",
    "user": "node",
    "secret": "the-secret",
    "ssh_key": "THE-KEY",
    "ssh_known_hosts": "host KEY",
}
FILES = Files(cache="/c", scratch="/s", ssh_key="/run/k", ssh_known_hosts="/run/h")
PLACES = (
    "/srv/backup/s1.1",
    "sftp:backup@vault:/srv/s1.1",
    "sftp://backup@vault:2222//srv/s1.1",
    "rest:https://vault:8000/s1.1/",
)


def at(location: str) -> Repository:
    return repository({"location": location, **SECRETS})


@pytest.mark.parametrize("location", PLACES)
def test_no_secret_is_in_the_words_nor_in_what_is_shown_of_a_repository(location: str) -> None:
    words = argv.words(at(location), FILES, Limits(upload_kib=5), argv.snapshots())
    for secret in ("the-password", "the-secret", "THE-KEY"):
        assert not any(secret in word for word in words)
        assert secret not in repr(at(location))
    assert words[words.index("--repo") + 1] == location


def test_the_environment_has_the_secrets_and_nothing_of_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", "/elsewhere")
    monkeypatch.setenv("https_proxy", "proxy")
    found = argv.environment(at(PLACES[3]), FILES)
    assert (found["RESTIC_PASSWORD"], found["RESTIC_REST_USERNAME"], found["RESTIC_REST_PASSWORD"]) == (
        "the-password",
        "node",
        "the-secret",
    )
    assert (found["RESTIC_CACHE_DIR"], found["TMPDIR"]) == ("/c", "/s")
    assert not {"RESTIC_REPOSITORY", "https_proxy"} & set(found)


@pytest.mark.parametrize(
    ("location", "kind", "host", "port", "path"),
    [
        ("/srv/backup/s1.1", "local", "", 0, "/srv/backup/s1.1"),
        ("sftp:backup@vault:/srv/s1.1", "sftp", "vault", 22, "/srv/s1.1"),
        ("sftp://backup@vault:2222//srv/s1.1", "sftp", "vault", 2222, "/srv/s1.1"),
        ("sftp://backup@[fd00::1]:2222//srv/s1.1", "sftp", "[fd00::1]", 2222, "/srv/s1.1"),
        ("rest:https://vault/s1.1/", "rest", "vault", 443, "s1.1/"),
        ("rest:http://vault:8000/a/s1.1/", "rest", "vault", 8000, "a/s1.1/"),
    ],
)
def test_where_a_repository_is_is_read_from_its_location(location: str, kind: str, host: str, port: int, path: str) -> None:
    found = at(location)
    assert (found.kind, found.host, found.port, found.path) == (kind, host, port, path)


def test_ssh_trusts_the_given_host_key_only_and_asks_nobody() -> None:
    words = argv.words(at(PLACES[1]), FILES, Limits(), argv.snapshots())
    told = next(word for word in words if word.startswith("sftp.args="))
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/run/h", "IdentityFile=/run/k"):
        assert option in told
    nobody = argv.ssh_options(replace(FILES, ssh_known_hosts="", ssh_key=""))
    assert "UserKnownHostsFile=none" in nobody
    assert "GlobalKnownHostsFile=none" in nobody


def test_limits_become_words_and_are_left_out_where_there_are_none() -> None:
    limits = Limits(upload_kib=100, download_kib=200, niceness=5, io_priority=-1, read_concurrency=4, pack_size_mib=64)
    words = argv.words(at(PLACES[0]), FILES, limits, argv.backup(host="s1", tags=["a=1", "b=2"], limits=limits))
    line = " ".join(words)
    assert line.startswith("nice -n 5 ionice -t -c 3 restic ")
    for part in ("--limit-upload 100", "--limit-download 200", "--read-concurrency 4", "--pack-size 64", "--tag a=1 --tag b=2"):
        assert part in line
    bare = " ".join(argv.words(at(PLACES[0]), FILES, Limits(), argv.backup(host="s1", tags=[], limits=Limits())))
    assert bare.startswith("nice -n 10 ionice -t -c 2 -n 7 restic ")
    assert not any(word in bare for word in ("--limit", "--read-concurrency", "--pack-size", "--tag"))


def test_a_backup_is_of_the_directory_it_runs_in_on_its_own_file_system() -> None:
    words = argv.backup(host="s1", tags=[], limits=Limits(), parent="p" * 64, scan=True, full=True)
    assert words[-1] == "."
    assert {"--one-file-system", "--force", "--parent"} <= set(words)
    assert "--no-scan" not in words
    assert "--no-scan" in argv.backup(host="s1", tags=[], limits=Limits())


def test_a_path_is_restored_as_it_is_written_whatever_its_letters_mean_in_a_pattern() -> None:
    words = argv.restore("0" * 64, only=["/a*b[c]?\\d", "/plain"], delete=True, verify=True)
    assert words[-6:] == ["--include", r"/a\*b\[c]\?\\d", "--include", "/plain", "--delete", "--verify"]
    assert argv.restore("0" * 64, only=[], delete=False, verify=False) == ["restore", "0" * 64, "--target", ".", "--sparse"]


def test_only_whole_ids_are_forgotten_and_never_by_a_rule() -> None:
    assert argv.forget(["1" * 64], prune=False) == ["forget", "1" * 64]
    assert argv.forget(["1" * 64], prune=True) == ["forget", "1" * 64, "--prune"]


def test_a_part_of_the_packs_is_read_where_one_is_asked_for() -> None:
    assert argv.check(part=0, of=5) == ["check"]
    assert argv.check(part=2, of=5) == ["check", "--read-data-subset=2/5"]


def test_sftp_removes_the_keys_first_and_what_is_restics_own_only() -> None:
    lines = destruction("/srv/s1.1")
    assert lines[0] == '-rm "/srv/s1.1/keys"/*'
    assert lines[-2:] == ['-rm "/srv/s1.1/config"', '-rmdir "/srv/s1.1"']
    assert '-rm "/srv/s1.1/data/ff"/*' in lines
    assert not any(line == '-rm "/srv/s1.1"/*' for line in lines)


def test_a_path_for_sftp_is_one_word_whatever_is_in_it() -> None:
    assert quoted('/a "b" \\c') == '"/a \\"b\\" \\\\c"'


def test_what_sftp_lists_is_read_with_its_bytes() -> None:
    said = (
        'sftp> -ls -ln "/srv/s1.1/keys"\n'
        "-r--------    1 0        0             439 Nov 27 03:02 /srv/s1.1/keys/17fa\n"
        "drwx------    ? 0        0            4096 Nov 27 03:02 /srv/s1.1/data/00\n"
        "-r--------    ? 0        0        18380666 Nov 27  2025 /srv/s1.1/data/62/6245\n"
    )
    assert listing(said) == {"17fa": 439, "6245": 18380666}
