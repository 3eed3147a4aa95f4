"""What the agent makes of a user that somebody made by hand: his vhosts, his crontab, his home."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.node.hosting import gathering, nginxtext, oldcerts, tarball, tree, walk
from agents.node.hosting.adoptlook import Web, sort_out
from agents.node.hosting.gathering import Found
from agents.node.hosting.oldcron import Crontab, Line
from agents.node.hosting.spec import Adoption
from agents.node.hosting.strangers import Stranger, site_roots
from agents.node.hosting.tarball import Contents, Most
from agents.node.protocol import AgentError
from tests.certificates import certificate_for

ALL = Most(1 << 40, 1 << 30)
MAIN = "/etc/nginx/nginx.conf"
SHOP = "/etc/nginx/sites-enabled/shop"
HEAD = f"""# configuration file {MAIN}:
user www-data;
http {{ log_format x '$a "b; {{" ${{c}}d'; include sites-enabled/*; server {{ listen 80 default_server; return 404; }} }}
"""
SITE = r"""server { listen 443 ssl; server_name shop.example "www.shop.example" ~^x\d+;
  root '/home/shop/public_html/'; # its; own {
  ssl_certificate /a.crt; ssl_certificate_key /a.key; auth_basic "x";
  location ~ \.php$ { include snippets/php.conf; } location / { try_files $uri $uri/ =404; } location /admin { deny all; } }
server { listen 80; server_name shop.example; return 301 https://$host$request_uri; }
"""
SNIPPET = "# configuration file /etc/nginx/snippets/php.conf:\nfastcgi_pass unix:/run/php/php8.1-fpm.sock;\n"


def who(home: str, *groups: int) -> Stranger:
    return Stranger(name="shop", uid=os.getuid(), home=home, gids=frozenset(groups), web_uid=33, web_gid=33)


def served(text: str, roots: Mapping[str, str] | None = None) -> Web:
    texts = nginxtext.files(f"{HEAD}# configuration file {SHOP}:\n{text}{SNIPPET}")
    found, unread = nginxtext.servers(texts)
    return sort_out(who("/home/shop"), roots or {"public_html": "main"}, found, unread)


def test_a_vhost_is_the_one_whose_root_is_the_sites_directory_and_a_redirect_beside_it_goes_along() -> None:
    web = served(SITE)
    assert (web.files, web.obstacles, web.domains("main")) == ([SHOP], [], ["shop.example", "www.shop.example"])
    ((site, server),) = web.served
    assert (site, server.certificate, server.key, server.php, server.runs_php) == ("main", "/a.crt", "/a.key", "8.1", True)
    assert server.more == ["auth_basic x", "location /admin", "deny all"], "who is let in is not taken, and told"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SITE + "server { server_name b.example; root /var/www/b; }\n", "serves b.example, too"),
        (SITE + "server { server_name b.example; return 301 https://c.example; }\n", "serves b.example, too"),
        (SITE + "server { server_name shop.example; location / { proxy_pass http://x; } }\n", "serves shop.example, too"),
        (SITE + "server { server_name b.example; root /home/shop/public_html2; }\n", "serves b.example, too"),
        ("server { root /home/shop/public_html; } }\n", "cannot be understood"),
        ("server { content_by_lua { return 'a }; root /home/shop/public_html;\n", "cannot be understood"),
    ],
)
def test_a_file_that_serves_somebody_else_or_cannot_be_read_is_not_set_aside(text: str, said: str) -> None:
    web = served(text)
    assert web.files == []
    assert [each for each in web.obstacles if said in each], web.obstacles


def test_what_nginx_reads_out_of_a_home_is_not_set_aside() -> None:
    found, unread = nginxtext.servers({"/home/shop/nginx.conf": SITE})
    web = sort_out(who("/home/shop"), {"public_html": "main"}, found, unread)
    assert (web.files, len(web.obstacles)) == ([], 1)


def test_of_a_crontab_names_become_numbers_and_the_old_home_the_new_and_what_cannot_be_is_left() -> None:
    text = """# mine
MAILTO=root
*/5 *\t* jan-mar mon,Fri  php /home/shop/a.php >/home/shop/log 2>&1
@daily cd '/home/shop' && tar cf /backup/home/shop.tar /home/shopping
0 25 * * * never
* * *
"""
    found = Crontab.read(text, before="/home/shop", after="/srv/h/h100001/home")
    assert found.lines == [
        Line("*/5 * * 1-3 1,5", "php /srv/h/h100001/home/a.php >/srv/h/h100001/home/log 2>&1"),
        Line("@daily", "cd '/srv/h/h100001/home' && tar cf /backup/home/shop.tar /home/shopping"),
    ]
    assert found.left == ["MAILTO=root", "0 25 * * * never", "* * *"]


# -- the home ------------------------------------------------------------------------------------------------------------------


def gathered(home: Path, roots: Mapping[str, str], *groups: int) -> dict[str, tuple[bytes, int, str]]:
    """What is in the tarball, which an import takes: kind, mode, and text or target of each."""
    out = io.BytesIO()
    gathering.write(out, who(str(home), *groups), roots, lambda: None)
    out.write(bytes(1024))
    tarball.examine(out, ALL, lambda _read: None)
    out.seek(0)
    found = {}
    with tarfile.open(fileobj=out) as archive:
        for member in archive:
            text = archive.extractfile(member) if member.isreg() else None
            said = text.read().decode() if text else member.linkname
            found[member.name] = (member.type, member.mode, said)
    return found


def measured(home: Path, roots: Mapping[str, str], *groups: int) -> Found:
    return gathering.measure(who(str(home), *groups), roots, beat=lambda: None)


def test_a_sites_directory_lies_where_an_account_has_it_and_links_lead_where_they_did(tmp_path: Path) -> None:
    home = tmp_path / "shop"
    (home / "www/html/img").mkdir(parents=True)
    (home / "www/html/index.php").write_text("<?php")
    (home / "www/html/up").symlink_to("../../data")
    (home / "www/html/img/same").symlink_to("../index.php")
    (home / "data").mkdir()
    (home / "current").symlink_to(home / "www/html")
    (home / "back").symlink_to("www/html/index.php")
    os.link(home / "www/html/index.php", home / "again")
    found = gathered(home, {"www/html": "main"})
    regular, link, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    said = {name: (kind, text) for name, (kind, _, text) in found.items() if kind != tarfile.DIRTYPE}
    # The first name that is met is the file, the other one its link.
    first, second = sorted(("home/again", "home/sites/main/public/index.php"))
    assert said.pop(first) == (regular, "<?php")
    assert said.pop(second) == (hard, first)
    assert said == {
        "home/www/html": (link, "../sites/main/public"),
        "home/sites/main/public/up": (link, "../../../data"),
        "home/sites/main/public/img/same": (link, "../index.php"),
        "home/current": (link, "sites/main/public"),
        "home/back": (link, "sites/main/public/index.php"),
    }


def test_a_home_that_is_itself_the_site_lies_in_it_and_one_site_may_lie_in_another(tmp_path: Path) -> None:
    home = tmp_path / "shop"
    (home / "blog").mkdir(parents=True)
    (home / "index.html").write_text("x")
    (home / "blog/index.html").write_text("y")
    found = gathered(home, {"": "main", "blog": "blog"})
    assert found["home/sites/main/public/index.html"][2] == "x"
    assert found["home/sites/blog/public/index.html"][2] == "y"
    assert found["home/sites/main/public/blog"][2] == "../../blog/public"


def test_what_is_no_file_is_left_out_and_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/etc/shadow")
    (tmp_path / "up").symlink_to("../..")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tmp_path / "s"))
    found = measured(tmp_path, {})
    assert (found.obstacles, found.inodes) == ([], 0)
    told = "\n".join(found.left_out)
    assert all(f"{tmp_path}/{name}" in told for name in ("pipe", "out", "up", "s")), told
    assert gathered(tmp_path, {}) == {}


def test_of_others_only_what_he_may_read_is_taken_and_nothing_that_has_a_second_name(tmp_path: Path) -> None:
    other, web = 4711, 33
    for name, uid, gid, mode in (
        ("open", other, other, 0o644),
        ("shut", other, other, 0o640),
        ("group", other, 77, 0o640),
        ("upload", web, web, 0o600),
        ("served", os.getuid(), web, 0o640),
        ("suid", os.getuid(), other, 0o4755),
    ):
        (tmp_path / name).write_text(name)
        os.chown(tmp_path / name, uid, gid)
        (tmp_path / name).chmod(mode)
    found = measured(tmp_path, {}, 77)
    assert found.obstacles == [f"{tmp_path}/shut cannot be taken: it belongs to uid {other}, and shop may not read it"]
    with pytest.raises(AgentError, match="shut cannot be taken"):
        gathered(tmp_path, {}, 77)
    (tmp_path / "shut").unlink()
    modes = {name: oct(mode) for name, (_, mode, _) in gathered(tmp_path, {}, 77).items()}
    assert modes == {
        "home/open": "0o644",
        "home/group": "0o640",
        "home/upload": "0o604",
        "home/served": "0o644",
        "home/suid": "0o755",
    }
    for name in ("open", "upload"):
        os.link(tmp_path / name, tmp_path / f"{name}2")
        said = measured(tmp_path, {}, 77).obstacles
        assert len(said) == 2, "either name of it"
        assert "another name of a file of uid" in said[0]
        (tmp_path / f"{name}2").unlink()


def test_a_directory_that_becomes_a_link_while_it_is_walked_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home/a").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    (tmp_path / "else/secret").write_text("secret")
    entries = gathering.entries(who(str(tmp_path / "home")), {})
    assert next(entries).path == "a"
    (tmp_path / "home/a").rmdir()
    (tmp_path / "home/a").symlink_to(tmp_path / "else")
    left = list(entries)
    assert [each.path for each in left] == ["a"]
    assert left[0].obstacle


def test_keys_are_counted_in_a_plain_file_alone(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("ssh-ed25519 A\n")
    (tmp_path / "link").symlink_to("keys")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with tree.opened(tmp_path) as top:
        found = [walk.text_beneath(top, name) for name in ("keys", "link", "directory", "pipe", "nothing", "link/x")]
    assert found == ["ssh-ed25519 A\n", "", "", "", "", ""]


def test_a_name_that_an_import_refuses_is_told_when_it_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a\nb").write_text("x")
    (tmp_path / "sites/main/public").mkdir(parents=True)
    (tmp_path / "sites/main/public/x").write_text("1")
    (tmp_path / "www").mkdir()
    (tmp_path / "www/x").write_text("2")
    said = "\n".join(measured(tmp_path, {"www": "main"}).obstacles)
    assert "cannot be printed" in said
    assert "home/sites/main/public/x is in it twice" in said


def test_a_file_that_becomes_shorter_while_it_is_read_is_no_whole_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * 5000)
    entries = gathering.entries(who(str(tmp_path)), {})
    entry = next(entries)
    assert entry.member is not None
    os.truncate(tmp_path / "log", 10)
    with os.fdopen(entry.fd, "rb", closefd=False) as source, pytest.raises(AgentError, match="became shorter"):
        gathering.copy(source, entry.member, io.BytesIO(), lambda: None, "log")


@pytest.mark.parametrize("root", ["/etc", "/home/shopping/x", "HOME/link", "HOME/nothing", "HOME/file"])
def test_a_site_is_a_directory_of_his_home_that_is_reached_through_no_link(tmp_path: Path, root: str) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "link").symlink_to("www")
    (tmp_path / "file").write_text("")
    asked = Adoption(stranger="shop", sites=(("main", root.replace("HOME", str(tmp_path))),))
    with pytest.raises(AgentError) as caught:
        site_roots(who(str(tmp_path)), asked)
    assert caught.value.code == "refused"
    good = Adoption(stranger="shop", sites=(("main", f"{tmp_path}/www"), ("all", str(tmp_path))))
    assert site_roots(who(str(tmp_path)), good) == {"www": "main", "": "all"}
    assert Contents().inodes == 0


# -- certificates --------------------------------------------------------------------------------------------------------------


def with_pair(directory: Path, certificate: str, key: str) -> Web:
    """A site whose vhost names these files."""
    for name, text in (("crt", certificate), ("key", key)):
        (directory / name).write_text(text)
    return served(SITE.replace("/a.crt", f"{directory}/crt").replace("/a.key", f"{directory}/key"))


def test_a_certificate_is_the_accounts_where_it_is_good_for_all_domains_and_the_key_is_its_own(tmp_path: Path) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    good, other = certificate_for("shop.example", "*.shop.example", since=since), certificate_for("shop.example", since=since)
    past = certificate_for("shop.example", "*.shop.example", since=since - timedelta(days=90))
    (found,) = oldcerts.look(with_pair(tmp_path, f"made by hand\r\n{good.certificate}", good.key), ["main"])
    assert (found.fits, found.key, "made by hand" in found.certificate) == (True, good.key, False)
    for certificate, key, said in (
        (good.certificate, other.key, "is not the key of"),
        (other.certificate, other.key, "is not for www.shop.example"),
        (good.certificate, "", "no certificate and its key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", good.key, "no certificate and its key"),
        (past.certificate, past.key, "has expired"),
    ):
        (found,) = oldcerts.look(with_pair(tmp_path, certificate, key), ["main"])
        assert (found.fits, found.key, said in found.says) == (False, "", True), found.says
    domains = {"main": ["shop.example", "a.b.shop.example"]}
    (found,) = oldcerts.look(with_pair(tmp_path, good.certificate, good.key), ["main"], domains=domains)
    assert "is not for a.b.shop.example" in found.says, "a star stands for one label"


def test_a_pipe_in_the_place_of_a_certificate_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert oldcerts.text_of(str(tmp_path / "pipe")) == ""
    assert oldcerts.text_of(str(tmp_path)) == ""
    assert oldcerts.text_of(str(tmp_path / "nothing")) == ""


def test_what_goes_while_it_is_looked_at_is_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    entries = gathering.entries(who(str(tmp_path)), {})
    assert [next(entries).path, next(entries).path] == ["a", "b"]
    shutil.rmtree(tmp_path / "b")
    assert [(each.path, each.obstacle) for each in entries] == [("a/x", "")]


def test_more_files_than_can_be_kept_in_mind_are_an_obstacle_and_not_all_met(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / str(number)).write_text("")
    met: list[int] = []
    found = gathering.measure(who(str(tmp_path)), {}, beat=lambda: met.append(1), most=Most(1 << 40, 3))
    assert (found.obstacles, len(met)) == (["the tarball holds more than 3 files and directories"], 4)
