"""A user that somebody made by hand on a real hosting node is taken into an account, whole or not at all."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.domain.errors import OrchestratorError
from tests.hosting_server import HostingServer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

UID = 100_941
USER = f"h{UID}"
WHO = {"user": USER, "service_id": "web-adopt"}
DOMAINS = ["shop.example", "www.shop.example"]
ADOPTION = {
    "stranger": "shop",
    "sites": [{"name": "main", "root": "/home/shop/public_html"}],
    "databases": [{"name": "shop", "from": "shop"}],
}
VHOST = "/etc/nginx/sites-enabled/shop"
CRONTAB = "/var/spool/cron/crontabs/shop"
PAGE = """<?php
$me = get_current_user();
$old = $me === 'shop';
$d = new mysqli('localhost', $me, $old ? 'old' : '', $old ? 'shop' : $me.'_shop');
echo 'rows ', $d->query('select count(*) from t')->fetch_row()[0], ' as ', $me, ' ', file_get_contents('upload/a');
"""
NGINX = r"""
server {
    listen 80;
    listen 443 ssl;
    server_name shop.example www.shop.example *.shop.example;
    root /home/shop/public_html;
    index index.php;
    ssl_certificate /etc/ssl/shop.crt;
    ssl_certificate_key /etc/ssl/shop.key;
    location ~ \.php$ { include fastcgi_params; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_pass unix:/run/php/php8.2-fpm.sock; }
    location ~ /\.ht { deny all; }
}
"""
MADE = r"""
set -eu
useradd --create-home --shell /bin/bash shop
chmod 755 /home/shop
cd /home/shop
install -d -o shop -g shop public_html public_html/upload mail .ssh
install -d -o root -g root private
echo index >private/note; chmod 644 private/note
printf 'upload' >public_html/upload/a; chown www-data:www-data public_html/upload/a; chmod 600 public_html/upload/a
chmod 2775 public_html/upload
install -o shop -g shop -m 644 /root/page.php public_html/index.php
ln -s /home/shop/public_html/index.php absolute
ln -s /etc/passwd outside
ln public_html/index.php again
mkfifo pipe
chown -h shop:shop absolute outside again pipe
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /O=Old/CN=shop \
    -addext subjectAltName=DNS:shop.example,DNS:*.shop.example -keyout /etc/ssl/shop.key -out /etc/ssl/shop.crt 2>/dev/null
mariadb -e "CREATE DATABASE shop; CREATE TABLE shop.t (i int); INSERT INTO shop.t VALUES (1),(2),(3); \
    CREATE USER shop@localhost IDENTIFIED BY 'old'; GRANT ALL ON shop.* TO shop@localhost"
ln -s /etc/nginx/sites-available/shop /etc/nginx/sites-enabled/shop
printf 'MAILTO=root\n0 3 * * mon php /home/shop/public_html/cron.php\n' | crontab -u shop -
systemctl start php8.2-fpm
nginx -t -q && systemctl reload nginx
"""
KILLS = r"""#!/bin/sh
n=$(cat /run/PROGRAM.kills 2>/dev/null || echo 0)
echo $((n - 1)) >/run/PROGRAM.kills
[ "$n" -ne 1 ] || { rm /usr/local/sbin/PROGRAM; kill -9 $PPID; exit 1; }
exec $(PATH=/usr/sbin:/usr/bin command -v PROGRAM) "$@"
"""
UNMADE = """
set +e
rm -f /usr/local/sbin/nginx /usr/local/sbin/mariadb-dump
rm -f /etc/nginx/sites-enabled/shop
rm -f /home/secret /etc/nginx/sites-*/shop /etc/nginx/sites-enabled/other /etc/ssl/shop.key /etc/ssl/shop.crt
crontab -u shop -r 2>/dev/null
umount /home/shop/mnt 2>/dev/null
mariadb -e "DROP DATABASE IF EXISTS shop; DROP USER IF EXISTS shop@localhost"
userdel --remove shop 2>/dev/null
rm -rf /var/lib/orchestrator-agent/adopted
systemctl reload nginx
systemctl stop php8.2-fpm
true
"""


def spec(*, adopted: bool = False) -> dict[str, Any]:
    return {
        "service_id": WHO["service_id"],
        "user": USER,
        "uid": UID,
        "limits": {"disk_bytes": 20 << 20, "inodes": 200, "cpu_percent": 100, "memory_bytes": 256 << 20, "tasks": 60},
        "sites": [{"name": "main", "domains": DOMAINS, "php": "8.2"}] if adopted else [],
        "databases": [{"name": "shop"}] if adopted else [],
        "cron": [{"schedule": "0 3 * * 1", "command": f"php /srv/h/{USER}/home/public_html/cron.php"}] if adopted else [],
    }


class Ground:
    """The steps of the playbook, one by one."""

    def __init__(self, node: HostingServer) -> None:
        self.node = node
        self.run = node.run

    def act(self, command: str, **more: Any) -> dict[str, Any]:
        return self.node.call(command, {**WHO, **more}, deadline=300)

    def apply(self, *, adopted: bool = False) -> None:
        self.node.call("account-apply", {"account": spec(adopted=adopted), "job_id": "j1"}, deadline=300)

    def look(self, **more: Any) -> dict[str, Any]:
        return self.act("account-adopt-look", adoption={**ADOPTION, **more})

    def begin(self, job: str) -> None:
        self.act("account-suspend", job_id=job)
        self.apply(adopted=True)

    def aside(self, job: str) -> dict[str, Any]:
        return self.act("account-adopt", job_id=job, adoption=ADOPTION)

    def take_in(self, job: str) -> dict[str, Any]:
        made = self.act("account-gather", job_id=job, adoption=ADOPTION)
        return self.act("account-import", job_id=job, file=made["file"], sha256=made["sha256"])

    def end(self, job: str) -> None:
        self.act("account-gathered", job_id=job)
        assert self.act("account-unsuspend", job_id=job)["difference"] == []

    def undo(self, job: str) -> None:
        self.act("account-import-undo", job_id=job)
        self.act("account-gathered", job_id=job)
        self.act("account-adopt-back", job_id=job, stranger="shop")
        self.apply()
        self.act("account-unsuspend", job_id=job)

    def page(self, host: str = "shop.example", *, secure: bool = False) -> tuple[int, str]:
        address = self.node.address
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        client = http.client.HTTPConnection(address, 443 if secure else 80, timeout=60)
        try:
            client.connect()
            if secure:
                client.sock = unchecked.wrap_socket(client.sock, server_hostname=host)
            client.request("GET", "/", headers={"Host": host})
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        finally:
            client.close()

    def old(self) -> str:
        """All of the old user that no adoption may change."""
        files = self.run(
            "sh", "-c", "find /home/shop -printf '%p %y %u %g %m %s %l %T@\\n' | sort; cat /home/shop/public_html/*.php"
        )
        rows = self.run("mariadb", "-N", "-e", "select count(*) from shop.t; show grants for shop@localhost")
        return files + rows

    def served(self) -> str:
        return self.run("sh", "-c", f"ls -l {VHOST} | sed 's/.*->/->/'; crontab -u shop -l; stat -c '%U %G %a' {CRONTAB}")


@pytest.fixture
def ground(hosting_node: HostingServer) -> Iterator[Ground]:
    made = Ground(hosting_node)
    hosting_node.call("hosting-prepare", {})
    made.apply()
    hosting_node.server.shell(UNMADE)
    hosting_node.server.write("/etc/nginx/sites-available/shop", NGINX)
    hosting_node.server.write("/root/page.php", PAGE)
    hosting_node.server.shell(MADE)
    yield made
    hosting_node.call("account-unsuspend", {**WHO, "job_id": "j9"}, deadline=300)
    hosting_node.server.shell(UNMADE)
    hosting_node.call("account-wipe", {**WHO, "job_id": "j9"}, deadline=300)
    hosting_node.call("account-residue", {**WHO, "uid": UID, "clean": True})


def test_a_site_made_by_hand_answers_from_its_account_afterwards_and_the_old_one_stands_untouched(
    ground: Ground, whole_matrix: bool
) -> None:
    """In the whole matrix each act is asked for once more, as where its answer was lost."""
    before, times = ground.old(), 2 if whole_matrix else 1
    assert ground.page() == (200, "rows 3 as shop upload")
    found = ground.look()
    assert (found["obstacles"], found["home"], found["files"]) == ([], "/home/shop", [VHOST])
    assert found["sites"][0] | {"root": ""} == {"name": "main", "root": "", "domains": DOMAINS, "php": "8.2", "runs_php": True}
    assert found["cron"] == [{"schedule": "0 3 * * 1", "command": f"php /srv/h/{USER}/home/public_html/cron.php"}]
    assert [each["fits"] for each in found["certificates"]] == [True]
    told = "\n".join(found["not_taken"])
    for word in ("*.shop.example", "deny all", "MAILTO=root", "/home/shop/outside", "/home/shop/pipe"):
        assert word in told, word
    assert ground.old() == before

    ground.begin("j2")
    assert ground.page()[0] == 503, "what is written meanwhile would be lost"
    for _ in range(times):
        done = ground.aside("j2")
        assert (done["aside"], done["certificates"]) == ([VHOST, CRONTAB], ["main"])
    assert ground.page()[0] == 503
    for _ in range(times):
        assert [each["name"] for each in ground.take_in("j2")["loaded"]] == ["shop"]
    ground.end("j2")

    assert ground.page() == (200, f"rows 3 as {USER} upload")
    assert ground.page("www.shop.example", secure=True)[0] == 200
    issuer = ground.run("openssl", "x509", "-noout", "-issuer", "-in", f"/etc/orchestrator/tls/{USER}/main.crt")
    assert "Old" in issuer
    home = f"/srv/h/{USER}/home"
    names = ground.run("find", home, "-printf", "%P %y %U %m %l\\n").splitlines()
    for line in (
        f"sites/main/public/index.php f {UID} 644 ",
        f"sites/main/public/upload/a f {UID} 604 ",
        f"public_html l {UID} 777 sites/main/public",
        f"absolute l {UID} 777 sites/main/public/index.php",
        f"private/note f {UID} 644 ",
    ):
        assert line in names, (line, names)
    assert not [line for line in names if line.startswith(("outside", "pipe"))]
    assert ground.run("stat", "-c", "%h", f"{home}/again").strip() == "2"
    assert "0 3 * * 1 php" in ground.run("crontab", "-u", USER, "-l")
    assert "no crontab" in ground.node.server.attempt("crontab", "-u", "shop", "-l").stderr.decode()
    assert ground.old() == before
    kept = ground.run("find", "/var/lib/orchestrator-agent/adopted/shop/j2", "-printf", "%f %m\\n")
    assert "record.json 600" in kept
    assert ground.run("find", "/var/lib/orchestrator-agent/imports", "-name", "*adopt*").strip() == ""


def killing(ground: Ground, program: str, number: int) -> None:
    """At its ``number``-th call from now on that program kills the agent that calls it, and does nothing."""
    ground.node.server.write(f"/usr/local/sbin/{program}", KILLS.replace("PROGRAM", program), mode=0o755)
    ground.node.server.write(f"/run/{program}.kills", f"{number}\n")


@pytest.mark.rare
def test_killed_at_any_moment_it_goes_on_and_undone_the_old_one_serves_again(ground: Ground) -> None:
    before, served = ground.old(), ground.served()
    for number in (1, 2):  # before anything is written down, and when the vhost is away
        ground.begin("j3")
        killing(ground, "nginx", number)
        with pytest.raises(OrchestratorError):
            ground.aside("j3")
        if number < 2:
            assert ground.served() == served, "nothing is touched before all is written down"
            ground.undo("j3")
        else:
            done = ground.aside("j3")
            assert (done["aside"], done["certificates"]) == ([VHOST, CRONTAB], ["main"])
        assert ground.old() == before
    killing(ground, "mariadb-dump", 1)
    with pytest.raises(OrchestratorError):
        ground.take_in("j3")
    ground.take_in("j3")
    killing(ground, "nginx", 1)
    ground.act("account-gathered", job_id="j3")
    with pytest.raises(OrchestratorError):
        ground.act("account-adopt-back", job_id="j3", stranger="shop")
    ground.undo("j3")
    assert ground.page() == (200, "rows 3 as shop upload")
    assert (ground.old(), ground.served()) == (before, served)
    adopted = "/var/lib/orchestrator-agent/adopted"
    assert ground.run("find", adopted).strip() == adopted
    assert "adopt" not in ground.run("ls", "-A", "/var/lib/orchestrator-agent/imports")
    ground.begin("j5")
    ground.aside("j5")
    ground.take_in("j5")  # the database that j3 had loaded is empty again
    ground.end("j5")
    assert ground.page() == (200, f"rows 3 as {USER} upload")
    assert ground.old() == before


@pytest.mark.rare
def test_what_nginx_refuses_without_the_old_vhost_is_put_back_and_nothing_over_what_stands_there(ground: Ground) -> None:
    before, served, server = ground.old(), ground.served(), ground.node.server
    server.write("/etc/nginx/sites-available/shop", NGINX + "map $uri $shops { default 1; }\n")
    other = "server { listen 80; server_name other.example; set $x $shops; return 204; }\n"
    server.write("/etc/nginx/sites-enabled/other", other)
    server.run("systemctl", "reload", "nginx")
    ground.begin("j4")
    with pytest.raises(OrchestratorError, match="nginx refuses its configuration"):
        ground.aside("j4")
    assert ground.served() == served
    ground.undo("j4")
    assert ground.page() == (200, "rows 3 as shop upload")
    server.run("rm", "/etc/nginx/sites-enabled/other")
    ground.begin("j5")
    ground.aside("j5")
    server.write(VHOST, "# somebody's\n")
    with pytest.raises(OrchestratorError) as caught:
        ground.act("account-adopt-back", job_id="j5", stranger="shop")
    assert caught.value.code == "in-doubt"
    server.run("rm", VHOST)
    ground.undo("j5")
    assert ground.page() == (200, "rows 3 as shop upload")
    assert (ground.old(), ground.served()) == (before, served)


HOSTILE = r"""
cd /home/shop
echo secret >secret; chmod 600 secret
echo secret >/home/secret; ln /home/secret public_html/second
mkdir mnt; mount --bind /etc mnt
mkdir public_html/closed; chmod 700 public_html/closed
su shop -c 'printf x >"$(printf "new
line")"'
"""
ENDED = "cd /home/shop; umount mnt; rm -rf /home/secret secret public_html/second mnt public_html/closed new*"


@pytest.mark.rare
def test_what_is_hostile_or_nobodys_to_adopt_is_told_and_refused(ground: Ground) -> None:
    server = ground.node.server
    server.shell(HOSTILE)
    said = "\n".join(ground.look()["obstacles"])
    for words in (
        "/home/shop/secret cannot be taken: it belongs to uid 0",
        "second cannot be taken: it is another name of a file of uid 0",
        "/home/shop/mnt cannot be ",
        "closed cannot be taken",
        r"home/new\nline holds characters that cannot be printed",
    ):
        assert words in said, (words, said)
    ground.begin("j6")
    with pytest.raises(OrchestratorError, match="cannot be gathered"):
        ground.act("account-gather", job_id="j6", adoption=ADOPTION)
    assert "adopt" not in ground.run("ls", "-A", "/var/lib/orchestrator-agent/imports")
    server.shell(ENDED)
    server.write("/etc/nginx/sites-available/shop", NGINX + "server { listen 80; server_name b.example; root /var/www/b; }\n")
    assert ground.look()["obstacles"] == [f"{VHOST} serves b.example, too: put that into a file of its own"]
    with pytest.raises(OrchestratorError, match="too: put that into a file of its own"):
        ground.aside("j6")
    server.run("ln", "-s", "/home/shop/public_html", "/home/shop/current")
    for more, words in (
        ({"stranger": "www-data"}, "a user of the system"),
        ({"stranger": USER}, "an account already"),
        ({"sites": [{"name": "main", "root": "/etc"}]}, "does not lie in"),
        ({"sites": [{"name": "main", "root": "/home/shop/current"}]}, "without a link"),
        ({"databases": [{"name": "x", "from": "mysql"}]}, "MariaDB's own"),
        ({"databases": [{"name": "x", "from": f"{USER}_shop"}]}, "of an account"),
        ({"databases": [{"name": "x", "from": "nothing"}]}, "no database nothing"),
    ):
        with pytest.raises(OrchestratorError, match=words):
            ground.look(**more)
    server.run("usermod", "--home", "/srv/h/x", "shop")
    with pytest.raises(OrchestratorError, match="the home of shop is /srv/h/x"):
        ground.look()
    server.run("usermod", "--home", "/home/shop", "shop")
    server.run("useradd", "--no-create-home", "--home", "/home/shop/b", "lodger")
    try:
        with pytest.raises(OrchestratorError, match="lodger lives in /home/shop"):
            ground.look()
    finally:
        server.run("userdel", "lodger")
