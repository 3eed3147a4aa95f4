"""The agent's front: what a request may be, how it is answered, and that nothing unchecked reaches a command."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from agents.build import zipapp
from agents.node.commands import COMMANDS
from agents.node.main import run
from agents.node.place import Place
from agents.node.protocol import EXIT_CODES, LINE_LIMIT, REQUEST_LIMIT, AgentError, Speaker
from orchestrator.domain.errors import OUTCOMES


def ask(command: str, request: object, root: Path, *, raw: bytes | None = None) -> tuple[int, dict[str, Any]]:
    """The exit code and the last line of a call on a node whose files lie under ``root``."""
    out = io.BytesIO()
    stdin = json.dumps(request).encode() if raw is None else raw
    code = run([command], io.BytesIO(stdin), out, place=Place(root))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert sum("progress" not in line for line in lines) == 1, lines
    return code, lines[-1]


ON_REPOSITORY: dict[str, object] = {"repository": {"location": "/srv/backup/s1.1", "password": "pw"}, "seconds": 60}
IN_DIRECTORY = {**ON_REPOSITORY, "path": "/home/s1", "limits": {"upload_kib": 1000}}

GOOD: dict[str, dict[str, object]] = {
    "hello": {},
    "doctor": {"pool_path": "/srv/pool", "bridge": "br0", "backups": True},
    "disk-digest": {"path": "/srv/pool/orch.s1.root.j1.qcow2", "secret_uuid": "6b2f7f3c-3f0e-4d0a-9a53-3d4f4c0a7f11"},
    "pool-fill": {"path": "/srv/pool"},
    "guest-traffic": {},
    "template-check": {"path": "/srv/pool/debian.qcow2", "sha256": "0" * 64},
    "volume-state": {"path": "/srv/pool/orch.s1.root.j1.qcow2"},
    "volume-make": {
        "path": "/srv/pool/orch.s1.root.j1.qcow2",
        "capacity_bytes": 1 << 30,
        "seconds": 60,
        "template": "/srv/pool/debian.qcow2",
        "template_format": "qcow2",
        "full_copy": False,
        "passphrase": "0123456789abcdef",
    },
    "volume-wipe": {"path": "/srv/pool/orch.s1.root.j1.qcow2", "method": "overwrite", "samples": 4},
    "secret-wipe": {"uuid": "3f0c5cf0-5f3e-4a38-9a93-1c1d5a6f3a11"},
    "residue": {"service_id": "s1", "pool_path": "/srv/pool", "clean": False},
    "repository-create": ON_REPOSITORY,
    "repository-snapshots": {**ON_REPOSITORY, "tags": ["service=s1"]},
    "repository-lacks": {**ON_REPOSITORY, "snapshot": "0" * 64, "paths": ["/letters"]},
    "repository-check": {**IN_DIRECTORY, "snapshot": "0" * 64, "part": 1, "of": 4, "samples": 8},
    "repository-forget": {**ON_REPOSITORY, "snapshots": ["0" * 64], "prune": True},
    "repository-unlock": ON_REPOSITORY,
    "repository-destroy": {**ON_REPOSITORY, "only_cache": False},
    "directory-measure": {"path": "/home/s1", "seconds": 60},
    "directory-backup": {**IN_DIRECTORY, "host": "s1", "tags": ["service=s1", "job=j1"], "parent": "0" * 64, "full": True},
    "directory-restore": {**IN_DIRECTORY, "snapshot": "0" * 64, "only": ["/letters"], "delete": True, "verify": True},
    "disk-backup": {
        **ON_REPOSITORY,
        "host": "s1",
        "tags": ["service=s1"],
        "socket": "/var/lib/libvirt/qemu/domain-3-orch.s1/orch.disk.nbd",
        "export": "disk",
        "bitmap": "changed",
        "parent": "0" * 64,
        "samples": 8,
    },
    "disk-restore": {
        **ON_REPOSITORY,
        "path": "/srv/pool/orch.s1.root.j1.qcow2",
        "secret_uuid": "3f0c5cf0-5f3e-4a38-9a93-1c1d5a6f3a11",
        "snapshot": "0" * 64,
    },
    "guest-freeze": {"guest": "orch.s1", "seconds": 5},
    "guest-thaw": {"guest": "orch.s1"},
}

ACCOUNT: dict[str, Any] = {
    "service_id": "web-1",
    "user": "h100001",
    "uid": 100001,
    "limits": {"disk_bytes": 1 << 30, "inodes": 10_000, "cpu_percent": 100, "memory_bytes": 256 << 20, "tasks": 50},
    "access": {"password_hash": "", "ssh_keys": []},
    "sites": [{"name": "shop", "domains": ["shop.example"], "php": "8.2"}],
    "databases": [{"name": "shop", "password_hash": "*" + "0" * 40}],
    "cron": [{"schedule": "*/5 * * * *", "command": "true"}],
}
ADOPTION = {
    "stranger": "shop",
    "sites": [{"name": "main", "root": "/home/shop/public_html"}],
    "databases": [{"name": "main", "from": "Shop-2019"}],
    "cron": False,
}
OF_ACCOUNT = {"user": "h100001", "service_id": "web-1"}
GOOD |= {
    "hosting-doctor": {"backups": True},
    "hosting-prepare": {"backups": False},
    "account-apply": {"account": ACCOUNT, "job_id": "j1"},
    "account-facts": {"users": ["h100001"]},
    "account-suspend": {**OF_ACCOUNT, "job_id": "j1"},
    "account-probe": {**OF_ACCOUNT, "cron_seconds": 0},
    "account-unsuspend": {**OF_ACCOUNT, "job_id": "j1"},
    "account-usage": {"users": []},
    "account-wipe": {**OF_ACCOUNT, "job_id": "j1"},
    "account-pack": {**OF_ACCOUNT, "job_id": "j1"},
    "account-load": {**OF_ACCOUNT, "job_id": "j1", "databases": ["shop"]},
    "account-unpack": {**OF_ACCOUNT},
    "account-restored": {**OF_ACCOUNT, "keep": ["b1"]},
    "account-tarball": {"file": "old.tar.gz", "most_bytes": 1 << 30, "most_inodes": 1000},
    "account-import": {**OF_ACCOUNT, "job_id": "j1", "file": "old.tar.gz", "sha256": "0" * 64},
    "account-import-undo": {**OF_ACCOUNT, "job_id": "j1"},
    "account-adopt-look": {**OF_ACCOUNT, "adoption": ADOPTION},
    "account-adopt": {**OF_ACCOUNT, "job_id": "j1", "adoption": ADOPTION},
    "account-adopt-back": {**OF_ACCOUNT, "job_id": "j1", "stranger": "shop"},
    "account-gather": {**OF_ACCOUNT, "job_id": "j1", "adoption": ADOPTION},
    "account-gathered": {**OF_ACCOUNT, "job_id": "j1"},
    "account-residue": {**OF_ACCOUNT, "uid": 100001, "clean": False},
    "node-residue": {},
}

BAD_VALUES: list[tuple[str, str, object]] = [
    ("volume-state", "path", "srv/pool/x"),
    ("volume-state", "path", "/srv/pool/../../etc/passwd"),
    ("volume-state", "path", "/srv/pool//x"),
    ("volume-state", "path", "//srv/pool/x"),
    ("volume-state", "path", "/srv/pool/x/"),
    ("volume-state", "path", "/srv/pool/x\n"),
    ("volume-state", "path", "/srv/pool/x\0y"),
    ("volume-state", "path", "/" + "x" * 2000),
    ("volume-state", "path", 7),
    ("volume-state", "path", None),
    ("template-check", "sha256", "0" * 63),
    ("template-check", "sha256", "A" * 64),
    ("template-check", "sha256", "0" * 64 + "\n"),
    ("volume-wipe", "method", "zero"),
    ("volume-wipe", "method", ["overwrite"]),
    ("volume-wipe", "samples", 0),
    ("volume-wipe", "samples", 65),
    ("volume-wipe", "samples", True),
    ("volume-wipe", "samples", "4"),
    ("volume-make", "capacity_bytes", 0),
    ("volume-make", "capacity_bytes", 1.5),
    ("volume-make", "seconds", 0),
    ("volume-make", "seconds", 86401),
    ("volume-make", "template", "debian.qcow2"),
    ("volume-make", "template", ""),
    ("volume-make", "template_format", "vmdk"),
    ("volume-make", "full_copy", "yes"),
    ("volume-make", "passphrase", "short"),
    ("volume-make", "passphrase", "sixteen letters and blanks"),
    ("volume-make", "passphrase", "ümlauts-of-sixteen-letters"),
    ("volume-make", "passphrase", "0123456789abcdef\n"),
    ("volume-make", "passphrase", 10**16),
    ("secret-wipe", "uuid", "../../etc/passwd"),
    ("secret-wipe", "uuid", "3F0C5CF0-5F3E-4A38-9A93-1C1D5A6F3A11"),
    ("residue", "service_id", ""),
    ("residue", "service_id", "s1.root"),
    ("residue", "service_id", "../s1"),
    ("residue", "service_id", "s" * 49),
    ("residue", "service_id", "-s1"),
    ("residue", "service_id", "s1\n"),
    ("residue", "clean", 1),
    ("doctor", "bridge", "../x"),
    ("doctor", "bridge", "b" * 16),
    ("repository-create", "repository", "/srv/backup"),
    ("repository-create", "repository", {"location": "/srv/backup"}),
    ("repository-create", "repository", {"location": "/srv/backup", "password": ""}),
    ("repository-create", "repository", {"location": "/srv/backup", "password": "pw\n"}),
    ("repository-create", "repository", {"location": "/srv/backup", "password": "pw", "shell": "id"}),
    *(
        ("repository-create", "repository", {"location": location, "password": "pw"})
        for location in (
            "srv/backup",
            "/srv/../backup",
            "s3:bucket",
            "rclone:remote:path",
            "rest:http://user:secret@host/s1/",
            "rest:http://host/s1",
            "rest:http://host/../s1/",
            "rest:ftp://host/s1/",
            "sftp:host:/srv",
            "sftp:user@host:srv",
            "sftp:user@-oProxyCommand=id:/srv",
            "sftp:-l@host:/srv",
            "sftp://user@host:22/srv",
        )
    ),
    ("repository-snapshots", "tags", ["a,b"]),
    ("repository-snapshots", "tags", "a"),
    ("repository-check", "snapshot", "latest"),
    ("repository-check", "snapshot", "0" * 8),
    ("repository-check", "part", -1),
    ("repository-check", "of", 0),
    ("repository-forget", "snapshots", ["--keep-last=1"]),
    ("repository-forget", "snapshots", ["0" * 8]),
    ("repository-forget", "snapshots", "0" * 64),
    ("directory-backup", "limits", {"upload_kib": -1}),
    ("directory-backup", "limits", {"niceness": 20}),
    ("directory-backup", "limits", {"compression": "zip"}),
    ("directory-backup", "limits", {"nice": 1}),
    ("directory-backup", "host", "--host"),
    ("repository-lacks", "paths", ["letters"]),
    ("directory-restore", "only", ["letters"]),
    ("directory-restore", "only", ["/../etc"]),
    ("directory-restore", "path", "/home/s1/"),
    ("directory-measure", "seconds", 0),
    ("disk-backup", "socket", "orch.s1.nbd"),
    ("disk-backup", "export", "disk?socket=/run/x"),
    ("disk-backup", "bitmap", ""),
    ("disk-backup", "host", "s1/../s2"),
    ("disk-restore", "path", "root.qcow2"),
    ("disk-restore", "secret_uuid", "../../shadow"),
    ("disk-restore", "format", "vmdk"),
    ("guest-freeze", "guest", "s1"),
    ("guest-freeze", "guest", "orch.s1; id"),
    ("guest-freeze", "seconds", 0),
    ("guest-thaw", "guest", "orch.--domain"),
    ("account-facts", "users", "h100001"),
    ("account-facts", "users", ["root"]),
    ("account-suspend", "job_id", ""),
    ("account-suspend", "job_id", "j1/../x"),
    *(
        ("account-wipe", "user", name)
        for name in (
            "",
            "root",
            "h0",
            "h01",
            "h100001\n",
            "../h100001",
            "h100001/../root",
            "$(id)",
            "h１00001",
            "һ100001",
            100001,
        )
    ),
    ("account-probe", "cron_seconds", 71),
    ("account-residue", "uid", 0),
    *(("account-restored", "keep", [name]) for name in ("", ".", "..", ".removing", "a/b", "../home", "b1\n", "b\u0661", 1)),
    ("account-restored", "keep", "b1"),
    *(
        ("account-tarball", "file", name)
        for name in ("", ".", "..", ".hidden", "a/b", "../x", "a\n", "\u0430.tar", "-a" * 100, 1)
    ),
    ("account-import", "sha256", "0" * 63),
    *(("account-adopt-back", "stranger", name) for name in ("", "../shop", "-x", "Shop", "shop\n", "$(id)", "s/h")),
    *(
        ("account-adopt-look", "adoption", {**ADOPTION, key: value})
        for key, value in (
            ("stranger", "shop:0"),
            ("sites", [{"name": "main", "root": "public_html"}]),
            ("sites", [{"name": "main", "root": "/home/shop/../root"}]),
            ("sites", [{"name": "Main", "root": "/home/shop"}]),
            ("sites", [{"name": "main", "root": "/home/shop"}] * 2),
            ("databases", [{"name": "main", "from": "-x"}]),
            ("databases", [{"name": "main", "from": "a`b"}]),
            ("databases", [{"name": "main", "from": "a"}, {"name": "b", "from": "a"}]),
            ("cron", "yes"),
            ("more", 1),
        )
    ),
    *(("account-load", "databases", [name]) for name in ("", "../account", "shop.sql", "h100002_shop`", "SHOP", 1)),
]


def test_every_command_is_covered_by_these_tests() -> None:
    assert set(GOOD) == set(COMMANDS)


@pytest.mark.parametrize(("command", "field", "value"), BAD_VALUES)
def test_a_bad_value_is_refused_and_its_field_named(command: str, field: str, value: object, tmp_path: Path) -> None:
    code, answer = ask(command, {**GOOD[command], field: value}, tmp_path)
    assert (code, answer["error"]["code"]) == (2, "request-invalid")
    assert f"'{field}'" in answer["error"]["message"]
    assert field != "passphrase" or str(value) not in json.dumps(answer, ensure_ascii=False)


@pytest.mark.parametrize("command", sorted(GOOD))
def test_an_unknown_field_is_refused_and_named(command: str, tmp_path: Path) -> None:
    code, answer = ask(command, {**GOOD[command], "shell": "id"}, tmp_path)
    assert (code, answer["error"]["code"]) == (2, "request-invalid")
    assert "shell" in answer["error"]["message"]


def test_no_answer_holds_what_cannot_be_written_down(tmp_path: Path) -> None:
    _, answer = ask("hello", None, tmp_path, raw=b'{"\\ud800 \\udcff": 1}')
    assert answer["error"]["message"].encode() == rb"unknown field: \ud800 \udcff"


@pytest.mark.parametrize(
    ("command", "field"),
    [(c, f) for c, fields in sorted(GOOD.items()) for f in fields if COMMANDS[c].fields[f].default is None],
)
def test_a_missing_field_is_named(command: str, field: str, tmp_path: Path) -> None:
    request = {k: v for k, v in GOOD[command].items() if k != field}
    code, answer = ask(command, request, tmp_path)
    assert (code, answer["error"]["code"]) == (2, "request-invalid")
    assert f"'{field}' is missing" in answer["error"]["message"]


@pytest.mark.parametrize("raw", [b"[]", b"1", b"{", b"\xff\xfe", b'{"a":' * 5000, b'"' + b"x" * REQUEST_LIMIT + b'"', b"null"])
def test_what_is_no_json_object_of_sensible_size_is_refused(raw: bytes, tmp_path: Path) -> None:
    code, answer = ask("hello", None, tmp_path, raw=raw)
    assert (code, answer["error"]["code"]) == (2, "request-invalid")


@pytest.mark.parametrize("command", ["", "shell", "volume_wipe", "Hello", "hello;id"])
def test_an_unknown_command_will_not_get_better_by_trying_again(command: str, tmp_path: Path) -> None:
    code, answer = ask(command, {}, tmp_path)
    assert (code, answer["error"]["code"]) == (5, "driver-permanent")


def test_without_a_declared_pool_no_path_is_touched(tmp_path: Path) -> None:
    code, answer = ask("volume-state", GOOD["volume-state"], tmp_path)
    assert (code, answer["error"]["code"]) == (3, "wrong-state")


@pytest.mark.parametrize(
    "declared", ["/", "/srv/pool", {"/srv/pool": 1}, [1], ["/"], ["srv"], ["/srv/pool", "/srv/../etc"], None]
)
def test_pools_that_are_no_list_of_directories_are_named_and_no_path_is_touched(declared: object, tmp_path: Path) -> None:
    declare_pool(tmp_path)
    Place(tmp_path).config.write_text(json.dumps({"pool_paths": declared}))
    code, answer = ask("volume-state", GOOD["volume-state"], tmp_path)
    assert (code, answer["error"]["code"]) == (3, "wrong-state")
    assert "no list of absolute paths" in answer["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["/etc/orch.s1.root.j1.raw", "{pool}/sub/orch.s1.root.j1.raw", "{pool}2/orch.s1.root.j1.raw", "/orch.s1.root.j1.raw"],
)
def test_a_path_outside_the_declared_pool_is_refused(path: str, tmp_path: Path) -> None:
    pool = declare_pool(tmp_path)
    code, answer = ask("volume-state", {"path": path.format(pool=pool)}, tmp_path)
    assert (code, answer["error"]["code"]) == (4, "refused")
    assert "is not a storage pool that this node declares" in answer["error"]["message"]


@pytest.mark.parametrize("name", ["debian.qcow2", "orch.s1", "orch.s1.root.j1.raw.wiping", "orch..root.raw", "orchestra.s1.root"])
def test_what_is_no_volume_of_a_service_is_refused(name: str, tmp_path: Path) -> None:
    pool = declare_pool(tmp_path)
    (pool / name).write_bytes(b"template")
    code, answer = ask("volume-wipe", {"path": f"{pool}/{name}", "method": "overwrite"}, tmp_path)
    assert (code, answer["error"]["code"]) == (4, "refused")
    assert (pool / name).read_bytes() == b"template"


def test_a_template_is_checked_by_its_content(tmp_path: Path) -> None:
    pool = declare_pool(tmp_path)
    (pool / "debian.qcow2").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2 appendix B.1
    request = {"path": f"{pool}/debian.qcow2", "sha256": sha256}
    assert ask("template-check", request, tmp_path) == (0, {"result": {"ok": True, "sha256": sha256, "size": 3}})
    code, answer = ask("template-check", {**request, "sha256": "0" * 64}, tmp_path)
    assert (code, answer["result"]["ok"], answer["result"]["sha256"]) == (0, False, sha256)
    code, answer = ask("template-check", {**request, "path": f"{pool}/other.qcow2"}, tmp_path)
    assert (code, answer["error"]["code"]) == (3, "not-found")


def test_a_link_is_no_template(tmp_path: Path) -> None:
    pool = declare_pool(tmp_path)
    (pool / "debian.qcow2").symlink_to("/etc/passwd")
    code, answer = ask("template-check", {"path": f"{pool}/debian.qcow2", "sha256": "0" * 64}, tmp_path)
    assert (code, answer["error"]["code"]) == (4, "refused")


def test_an_answer_beyond_the_bound_is_an_error_and_never_cut() -> None:
    out = io.BytesIO()
    with pytest.raises(AgentError, match="more than"):
        Speaker(out).result({"x": "y" * LINE_LIMIT})
    assert out.getvalue() == b""


def test_every_code_of_the_agent_is_one_that_the_controller_knows() -> None:
    known = {code: OUTCOMES[code].exit_code for code in EXIT_CODES if code != "internal-error"}
    assert known == {code: exit_code for code, exit_code in EXIT_CODES.items() if code != "internal-error"}


def test_a_fault_of_the_agents_own_is_an_answer_and_no_traceback() -> None:
    code, answer = ask("doctor", GOOD["doctor"], cast(Path, "a word where a path should be"))
    assert (code, answer["error"]["code"]) == (1, "internal-error")
    assert "TypeError" in answer["error"]["message"]


def test_the_zipapp_is_reproducible_runs_alone_and_brings_nothing_of_the_controller(tmp_path: Path) -> None:
    built = tmp_path / "node-agent.pyz"
    built.write_bytes(zipapp())
    assert zipapp() == built.read_bytes()
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(built), "hello"], input=b"{}", capture_output=True, check=True, timeout=60, cwd=tmp_path
    )
    assert json.loads(done.stdout)["result"]["version"]
    assert b"import orchestrator" not in built.read_bytes()
    assert b"from orchestrator" not in built.read_bytes()


def shows(built: Path, words: str) -> bytes:
    """What a node's Python says of an import from the zipapp."""
    program = f"import sys; sys.path.insert(0, {str(built)!r}); import agents.node.place as m; print({words}, end='')"
    return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True, timeout=60).stdout


def test_the_zipapp_is_the_same_from_every_process_and_brings_its_modules_compiled(tmp_path: Path) -> None:
    built, elsewhere = tmp_path / "node-agent.pyz", tmp_path / "other.pyz"
    built.write_bytes(zipapp())
    program = f"import ssl, email.parser; from agents.build import zipapp; open({str(elsewhere)!r}, 'wb').write(zipapp())"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert elsewhere.read_bytes() == built.read_bytes()
    assert shows(built, "m.__cached__ or m.__file__") == f"{built}/agents/node/place.pyc".encode()


def test_a_node_with_another_python_reads_the_zipapps_sources(tmp_path: Path) -> None:
    strange = tmp_path / "node-agent.pyz"
    strange.write_bytes(zipapp().replace(importlib.util.MAGIC_NUMBER, b"\x01\x02\r\n"))
    assert shows(strange, "m.__file__") == f"{strange}/agents/node/place.py".encode()


def test_a_call_imports_the_table_of_its_own_part_and_no_other(tmp_path: Path) -> None:
    built = tmp_path / "node-agent.pyz"
    built.write_bytes(zipapp())
    look = "from agents.node.commands import COMMANDS; COMMANDS['account-facts']; print(*sys.modules)"
    program = f"import sys; sys.path.insert(0, {str(built)!r}); {look}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True, timeout=60)
    imported = set(done.stdout.decode().split())
    assert "agents.node.hosting.table" in imported
    assert not imported & {"agents.node.restic.table", "agents.node.disk.table", "agents.node.table", "http.client"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_what_a_command_runs_is_there(command: str) -> None:
    run = COMMANDS[command].run
    if isinstance(run, partial):
        module, name = run.args
        run = getattr(importlib.import_module(module), name)
    assert callable(run)


def test_what_says_hello_has_imported_nothing_of_the_others(tmp_path: Path) -> None:
    built = tmp_path / "node-agent.pyz"
    built.write_bytes(zipapp())
    call = "from agents.node.main import main; main(); print(*sys.modules)"
    program = f"import sys; sys.path.insert(0, {str(built)!r}); sys.argv[1:] = ['hello']; {call}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], input=b"", capture_output=True, check=True, timeout=60)
    imported = set(done.stdout.decode().splitlines()[-1].split())
    assert "agents.node.hello" in imported
    assert not imported & {"agents.node.doctor", "agents.node.wipe", "agents.node.restic", "subprocess", "socket", "ctypes"}


def declare_pool(root: Path) -> Path:
    """A pool below ``root``, declared as enrolment does it."""
    pool = root / "pool"
    pool.mkdir()
    config = Place(root).config
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"pool_paths": [str(pool)]}))
    return pool
