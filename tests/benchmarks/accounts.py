"""The files of a node with many hosting accounts, below a root of their own: as the agent itself writes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agents.node.hosting import units, web
from agents.node.hosting.layout import Home, Node
from agents.node.hosting.marks import Mark
from agents.node.hosting.people import SHELL
from agents.node.hosting.spec import Limits, Site
from agents.node.place import Place

PHP = "8.2"
LIMITS = Limits(
    disk_bytes=5 * 10**9,
    inodes=200_000,
    cpu_percent=50,
    memory_bytes=512 << 20,
    tasks=100,
    io_bytes_per_second=20 * 10**6,
    iops=500,
)
CRON = ("*/5 * * * * php home/sites/main/cron.php",)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0nmEKAxwFvCnPdEfbvYgGkHkMtpWuVVZ3o0D7rpwJj someone"


def furnish(root: Path, count: int, *, first_uid: int = 100_001) -> None:
    """So many accounts, each with a site, a certificate, a unit, a key, a crontab and its limits."""
    node = Node(Place(root))
    pair = _certificate(root)
    homes = [Home(node, f"h{first_uid + number}") for number in range(count)]
    _write(root / "etc/passwd", "".join(f"{each.user}:x:{each.uid}:{each.uid}::/home:{SHELL}\n" for each in homes))
    _write(root / "etc/shadow", "".join(f"{each.user}:$y$j9T$salt$hash:20000:0:99999:7:::\n" for each in homes))
    for number, each in enumerate(homes):
        _account(each, number, *pair)


def _account(home: Home, number: int, certificate: str, key: str) -> None:
    site = Site(name="main", domains=(f"shop{number}.example", f"www.shop{number}.example"), php=PHP)
    (home.chroot / "home").mkdir(parents=True)
    _write(home.mark, Mark(service_id=f"s{number}", uid=home.uid, job_id=f"job-{number}", digest="0" * 64).text())
    _write(home.keys, units.authorized_keys((KEY,)))
    _write(home.vhost, web.vhosts(home.user, (site,)))
    _write(home.tls / f"{site.name}.crt", certificate)
    _write(home.tls / f"{site.name}.key", key)
    _write(home.crontab, units.crontab("", CRON))
    _write(home.slice_file, units.slice_unit(home.user, LIMITS))
    _write(home.node.units / home.fpm_unit(PHP), units.fpm_unit(home.user, PHP))
    _write(home.fpm_file(PHP), units.fpm_config(home.user, PHP, (site,), LIMITS))
    kernel = {"cpu.max": "50000 100000", "memory.max": str(LIMITS.memory_bytes), "pids.max": str(LIMITS.tasks)}
    io = f"254:0 rbps={LIMITS.io_bytes_per_second} wbps={LIMITS.io_bytes_per_second} riops={LIMITS.iops} wiops={LIMITS.iops}"
    for name, text in {**kernel, "io.max": io}.items():
        _write(home.cgroup / name, f"{text}\n")
    _write(home.cgroup / home.fpm_unit(PHP) / "cgroup.procs", f"{10_000 + number}\n")


def _certificate(root: Path) -> tuple[str, str]:
    made, key = root / "certificate.pem", root / "key.pem"
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=shop.example", "-days", "365"]
    call = ["openssl", "req", "-x509", "-nodes", *words, "-keyout", str(key), "-out", str(made)]
    subprocess.run(call, check=True, capture_output=True, timeout=60)
    return made.read_text(), key.read_text()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
