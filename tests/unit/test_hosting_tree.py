"""Attacks on the files of an account: whatever a customer planted, nothing outside his directory is touched."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from agents.node.hosting import tree
from agents.node.hosting.tree import Directory
from agents.node.protocol import AgentError

ME = (os.getuid(), os.getgid())


def lay(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def in_it(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def erase(homes: Path) -> tree.Erased:
    return tree.erase(homes, "h100001", holding=".wiping")


def test_everything_of_the_account_goes_and_nothing_of_its_neighbour(tmp_path: Path) -> None:
    lay(tmp_path, "h100001/home/a", "h100001/home/b/c/d", "h1000010/home/a", "h100002/home/a")
    assert erase(tmp_path) == tree.Erased(files=2, directories=4)
    assert in_it(tmp_path) == [".wiping", "h1000010", "h100002"]
    assert in_it(tmp_path / ".wiping") == []
    assert stat.S_IMODE((tmp_path / ".wiping").stat().st_mode) == 0o700


def test_links_that_were_planted_are_removed_and_never_followed(tmp_path: Path) -> None:
    lay(tmp_path, "precious/gold", "homes/h100001/home/a")
    home = tmp_path / "homes/h100001/home"
    (home / "to-directory").symlink_to(tmp_path / "precious")
    (home / "to-file").symlink_to(tmp_path / "precious/gold")
    (home / "loop").symlink_to(".")
    (home / "dangling").symlink_to("/nowhere")
    erase(tmp_path / "homes")
    assert (tmp_path / "precious/gold").read_text() == "x"


def test_of_a_hard_link_only_the_name_in_the_home_goes(tmp_path: Path) -> None:
    lay(tmp_path, "other/file", "homes/h100001/home/a")
    (tmp_path / "other/file").chmod(0o640)
    (tmp_path / "homes/h100001/home/hard").hardlink_to(tmp_path / "other/file")
    erase(tmp_path / "homes")
    found = (tmp_path / "other/file").stat()
    assert (found.st_nlink, stat.S_IMODE(found.st_mode), found.st_size) == (1, 0o640, 1)


def test_a_home_that_is_itself_a_link_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "precious/gold")
    (tmp_path / "h100001").symlink_to(tmp_path / "precious")
    with pytest.raises(AgentError, match="not a directory"):
        erase(tmp_path)
    assert (tmp_path / "precious/gold").exists()


def test_directories_deeper_than_a_path_can_name_are_removed(tmp_path: Path) -> None:
    (tmp_path / "h100001").mkdir()
    fd = os.open(tmp_path / "h100001", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d" * 100, dir_fd=fd)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert erase(tmp_path).directories == 301


def test_an_interrupted_wipe_is_gone_on_with(tmp_path: Path) -> None:
    lay(tmp_path, ".wiping/h100001.3/left/a", ".wiping/h100001.7/b", ".wiping/h1000010.1/other")
    assert erase(tmp_path).files == 2
    assert in_it(tmp_path / ".wiping") == ["h1000010.1"]
    lay(tmp_path, "h100001/home/new", ".wiping/h100001.3/left/a")
    assert erase(tmp_path).files == 2


def test_names_that_are_not_utf8_go_too(tmp_path: Path) -> None:
    lay(tmp_path, "h100001/home/\udcff\udcfe/\udcff")
    erase(tmp_path)
    assert not (tmp_path / "h100001").exists()


def test_another_mount_is_not_entered() -> None:
    with tree.opened("/") as root, pytest.raises(OSError, match="cross-device") as caught:
        tree.open_beneath(root, "proc")
    assert caught.value.errno == 18


def test_no_link_is_passed_below_a_directory(tmp_path: Path) -> None:
    lay(tmp_path, "real/below/file")
    (tmp_path / "link").symlink_to("real")
    with tree.opened(tmp_path) as fd:
        os.close(tree.open_beneath(fd, "real/below"))
        for name in ("link", "link/below", "../" + tmp_path.name, "/etc"):
            with pytest.raises(OSError, match=name):
                tree.open_beneath(fd, name)


def test_mounts_are_found_by_where_they_are() -> None:
    lines = "\n".join(
        f"36 35 98:0 / {point} rw - ext4 /dev/x rw"
        for point in ("/", "/srv/h", "/srv/h/h100001/home/m", "/srv/h/h100001\\040b", "/srv/h/h1000010/m", "/srv/h/h100001")
    )
    assert tree.mounts_below(Path("/srv/h/h100001"), lines) == ["/srv/h/h100001/home/m", "/srv/h/h100001"]


def test_a_directory_is_made_once_and_what_the_customer_has_there_is_left(tmp_path: Path) -> None:
    lay(tmp_path, "precious/gold")
    wanted = Directory(("sites",), 0o755, ME)
    with tree.opened(tmp_path) as fd:
        assert tree.make(fd, wanted) == ""
        (tmp_path / "sites").chmod(0o700)
        assert tree.make(fd, wanted) == ""
        assert stat.S_IMODE((tmp_path / "sites").stat().st_mode) == 0o700
        (tmp_path / "sites/shop").symlink_to(tmp_path / "precious")
        assert "sites/shop is no directory of the account's" in tree.make(fd, Directory(("sites", "shop", "public"), 0o755, ME))
    assert in_it(tmp_path / "precious") == ["gold"]


def test_a_file_is_replaced_whole_and_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    lay(tmp_path, "precious")
    (tmp_path / "file").symlink_to("precious")
    assert tree.write(tmp_path / "file", "new", mode=0o640)
    assert not tree.write(tmp_path / "file", "new", mode=0o640)
    assert (tmp_path / "precious").read_text() == "x"
    assert not (tmp_path / "file").is_symlink()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_link_is_not_read_for_a_file_of_ours(tmp_path: Path) -> None:
    lay(tmp_path, "precious")
    (tmp_path / "file").symlink_to("precious")
    with pytest.raises(AgentError, match="is a link"):
        tree.read(tmp_path / "file")
    assert tree.read(tmp_path / "none") is None


def test_what_a_user_left_where_everybody_writes_is_found_and_removed_without_links(tmp_path: Path) -> None:
    lay(tmp_path, "precious/gold", "tmp/mine", "tmp/dir/below")
    (tmp_path / "tmp/link").symlink_to(tmp_path / "precious")
    assert [path.name for path in tree.files_of(tmp_path / "tmp", ME[0])] == ["dir", "link", "mine"]
    assert tree.files_of(tmp_path / "tmp", 4_000_000) == []
    for name in ("mine", "dir", "link"):
        tree.remove_of(tmp_path / "tmp", name, ME[0])
    assert in_it(tmp_path / "tmp") == []
    assert (tmp_path / "precious/gold").exists()


def test_nothing_that_a_user_makes_beforehand_keeps_his_files_in_a_public_directory(tmp_path: Path) -> None:
    public, uid = tmp_path / "tmp", ME[0]
    for name in (f".orchestrator-wiping-{uid}", f".orchestrator-wiping-{uid}-x", "dir", "\udcff\n"):
        lay(public, f"{name}/dir.x/below", f"{name}/dir.1")
    for path in tree.files_of(public, uid):
        tree.remove_of(public, path.name, uid)
    assert in_it(public) == []


def test_what_an_interrupted_removal_left_in_a_public_directory_is_found_again(tmp_path: Path) -> None:
    left = f".orchestrator-wiping-{2**31}-0123"
    lay(tmp_path, f"{left}/dir.1/below", f"{left}/dir.2", "mine", ".orchestrator-wiping-21474836480-0/dir.1")
    assert [path.name for path in tree.files_of(tmp_path, 2**31)] == [left]
    tree.remove_of(tmp_path, left, 2**31)
    tree.remove_of(tmp_path, "mine", 2**31)
    assert in_it(tmp_path) == [".orchestrator-wiping-21474836480-0", "mine"]


def test_what_came_into_a_directorys_place_before_it_was_moved_is_removed_too(tmp_path: Path) -> None:
    lay(tmp_path, "precious/gold", ".wiping/h100001.1", ".wiping/h100001.3/a")
    (tmp_path / ".wiping/h100001.2").symlink_to(tmp_path / "precious")
    assert erase(tmp_path) == tree.Erased(files=3, directories=1)
    assert in_it(tmp_path / ".wiping") == []
    assert in_it(tmp_path / "precious") == ["gold"]


def test_what_is_another_users_by_then_is_left(tmp_path: Path) -> None:
    lay(tmp_path, "file")
    tree.remove_of(tmp_path, "file", 4_000_000)
    assert (tmp_path / "file").exists()


def test_a_file_that_cannot_be_written_whole_stays_as_it_was_and_is_named(tmp_path: Path) -> None:
    """As where the disk is full."""
    path = tmp_path / "vhost.conf"
    tree.write(path, "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            tree.write(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.filename == str(path)
    assert (path.read_text(), in_it(tmp_path)) == ("before", ["vhost.conf"])
