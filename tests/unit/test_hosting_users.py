"""Users of a hosting node: how they are made, and what runs and is shared under their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.hosting import ipc, people, processes, residue
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.people import Secret, User
from agents.node.place import Place
from tests.unit.account_files import account, look, put


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return account(tmp_path)


def test_a_user_is_made_with_no_shell_no_lastlog_and_no_further_ids() -> None:
    group, user = people.making("h100001", 100001, "/srv/h/h100001/home")
    assert group == ["groupadd", "--gid", "100001", "h100001"]
    assert user[user.index("--shell") + 1] == "/usr/sbin/nologin"
    assert "--no-log-init" in user
    assert "SUB_UID_COUNT=0" in user
    assert "--no-create-home" in user


def test_only_what_is_wrong_of_a_user_is_mended() -> None:
    right = User("h100001", 100001, 100001, "/srv/h/h100001/home", "/usr/sbin/nologin")
    assert people.mending("h100001", right, ("h100001",), right.home) == []
    other = User("h100001", 100001, 100001, right.home, "/bin/bash")
    assert people.mending("h100001", other, (), right.home) == [
        ["usermod", "--shell", "/usr/sbin/nologin", "--append", "--groups", "orch-sftp", "h100001"]
    ]


@pytest.mark.parametrize(
    ("ordered", "present", "suspended", "wanted"),
    [
        ("$6$new", "$6$old", False, "$6$new"),
        ("$6$new", "$6$new", False, None),
        ("$6$new", "!$6$old", True, "!$6$new"),
        ("$6$new", "!$6$new", True, None),
        ("", "!", False, None),
        ("", "$6$old", False, "!"),
        ("", "!", True, None),
    ],
)
def test_a_new_password_does_not_open_what_is_locked(ordered: str, present: str, suspended: bool, wanted: str | None) -> None:
    assert people.wanted_hash(ordered, Secret(present, -1), suspended=suspended) == wanted


def test_the_copies_of_what_was_before_forget_the_account_and_nobody_else() -> None:
    text = "root:*:1::::::\nh100001:$6$secret:1::::::\nh1000010:$6$x:1::::::\n"
    assert people.without("h100001", text) == "root:*:1::::::\nh1000010:$6$x:1::::::\n"
    assert people.without("h100001", "orch-sftp:x:997:h100001,h100002\n") == "orch-sftp:x:997:h100002\n"
    assert people.without("h100001", "orch-sftp:!::h100001\nadm:x:4:syslog\n") == "orch-sftp:!::\nadm:x:4:syslog\n"


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_no_character_in_his_own_field_hides_a_user_or_makes_another(home: Home, end: str) -> None:
    line = f"h100001:x:100001:100001:,a{end}b,,:/srv/h/h100001/home:/usr/sbin/nologin\n"  # what chfn(1) takes from himself
    put(home.node.place.root, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n" + line)
    assert list(people.passwd(home.node)) == ["root", "h100001"]
    assert [row for row in residue.found(home, look(home)) if "passwd" in row] == ["/etc/passwd: h100001"]
    assert people.without("h100001", "a:x:1:1::/:/x\n" + line) == "a:x:1:1::/:/x\n"


def test_processes_are_counted_by_their_user_and_found_by_any_of_their_uids(tmp_path: Path) -> None:
    put(tmp_path, "proc/12/status", "Name:\tphp\nState:\tS (sleeping)\nUid:\t0\t0\t100001\t0\nThreads:\t1\n")
    put(tmp_path, "proc/13/status", "Name:\tphp\nState:\tZ (zombie)\nUid:\t100001\t100001\t100001\t100001\nThreads:\t1\n")
    put(tmp_path, "proc/14/status", "Name:\tphp\nState:\tS (sleeping)\nUid:\t1000010\t1000010\t1000010\t1000010\nThreads:\t1\n")
    put(tmp_path, "proc/15/status", "Name:\tphp\nState:\tZ (zombie)\nUid:\t100001\t100001\t100001\t100001\nThreads:\t2\n")
    put(tmp_path, "proc/self/status", "")
    node = Node(Place(tmp_path))
    assert sorted(processes.of(node, 100001)) == [12, 15]  # the first thread of 15 has ended, another runs on
    # Whose the directory is says nothing: it is root's where a process keeps its memory to itself.
    assert processes.by_uid(node) == {0: 1, 100001: 2, 1000010: 1}


def test_shared_memory_is_found_by_its_maker(tmp_path: Path) -> None:
    put(
        tmp_path,
        "proc/sysvipc/shm",
        "key shmid perms size cpid lpid nattch uid gid cuid\n1 7 600 1 1 1 0 0 1 100001\n2 8 600 1 1 1 0 100001 0 100002\n",
    )
    node = Node(Place(tmp_path))
    assert (ipc.of(node, 100001), ipc.of(node, 100002)) == ([("shm", 7)], [("shm", 8)])  # a neighbour can give it to him


def test_every_kind_of_what_is_shared_is_found_as_the_kernel_tells_it(tmp_path: Path) -> None:
    rows = {
        "shm": "key shmid perms size cpid lpid nattch uid gid cuid cgid\n 0 7 600 1 1 1 0 100001 1 100001 1\n",
        "sem": "key semid perms nsems uid gid cuid cgid otime ctime\n 0 8 600 1 0 0 100001 1 0 0\n",
        "msg": "key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid\n 0 9 644 0 0 0 0 1 1 100001 1\n",
    }
    for kind, text in rows.items():
        put(tmp_path, f"proc/sysvipc/{kind}", text)
    assert sorted(ipc.of(Node(Place(tmp_path)), 100001)) == [("msg", 9), ("sem", 8), ("shm", 7)]
    for kind in rows:  # on the kernel that runs the tests, too
        assert (Path("/proc/sysvipc") / kind).read_text().split()[1] in rows[kind].split()
