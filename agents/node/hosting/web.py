"""The vhosts of an account as nginx's text, and what such a text says.

A site's name, its domains and the user's name hold nothing that means anything to nginx (see ``fields``), so nothing is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.node.hosting.spec import Site

RETRY_AFTER = 3600
"""Seconds after which a suspended site asks to be tried again (RFC 9110 section 10.2.3)."""

LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
    " $bytes_sent $request_length $time_iso8601"
)
"""The combined format, and behind it what traffic is counted from: nothing of these three comes from a visitor's hand."""

MAIN = f"""# Written by the node agent. Everything of the accounts lies in the directory that is included here.
log_format orchestrator '{LOG_FORMAT}';
server_names_hash_max_size 16384;
server_names_hash_bucket_size 256;
include /etc/nginx/orchestrator/*.conf;
"""

_HEAD = "# Written by the node agent for the account {user}: what is changed here by hand is lost.\n"

_SERVER = """server {{
    listen 80;
    listen 443 ssl http2;
{six}    server_name {domains};
    ssl_certificate /etc/orchestrator/tls/{user}/{site}.crt;
    ssl_certificate_key /etc/orchestrator/tls/{user}/{site}.key;
    access_log /var/log/orchestrator/{user}/{site}.access.log orchestrator;
    error_log /var/log/orchestrator/{user}/{site}.error.log;
{body}}}
"""
_SIX = "    listen [::]:80;\n    listen [::]:443 ssl http2;\n"

_SUSPENDED = """    add_header Retry-After {seconds} always;
    location / {{ return 503; }}
"""

# A link that a customer made is followed only to what is his: www-data may pass into every home.
_FILES = """    root /srv/h/{user}/home/sites/{site}/public;
    disable_symlinks if_not_owner from=/srv/h/{user}/home;
    index {index};
    location ~ /\\.(?!well-known/) {{ return 404; }}
    location / {{ try_files $uri $uri/ {last}; }}
"""

# What PHP sends faster than a visitor reads it waits in PHP: on the disk of all it would count for nobody.
_PHP = """    location ~ \\.php(/|$) {{
        fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
        try_files $fastcgi_script_name =404;
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_param HTTP_PROXY "";
        fastcgi_max_temp_file_size 0;
        fastcgi_pass unix:/run/orchestrator/fpm/{user}-{site}-{php}.sock;
    }}
"""

# Only texts of the renderer below are read.
_SERVERS = re.compile(r"^server \{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
_DOMAINS = re.compile(r"^    server_name ([^;]+);$", re.MULTILINE)
_SITE = re.compile(r"/([a-z0-9-]{1,32})\.crt;$", re.MULTILINE)
_POOL = re.compile(r"^        fastcgi_pass unix:/run/orchestrator/fpm/", re.MULTILINE)
_STOPPED = re.compile(r"^    location / \{ return 503; \}$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vhost:
    """One site as a text of ours says it. ``serving``: php, static, suspended."""

    name: str
    domains: tuple[str, ...]
    serving: str


def vhosts(user: str, sites: Sequence[Site], *, suspended: bool = False, ipv6: bool = True) -> str:
    """The whole file of an account."""
    shown = (_server(user, _vhost(s), suspended, ipv6, php=s.php) for s in sites)
    return _HEAD.format(user=user) + "".join(shown)


def suspended(user: str, text: str, *, ipv6: bool = True) -> str:
    """The same sites, answering 503."""
    return _HEAD.format(user=user) + "".join(_server(user, each, True, ipv6) for each in read(text))


def _vhost(site: Site) -> Vhost:
    return Vhost(name=site.name, domains=site.domains, serving="php" if site.php else "static")


def _server(user: str, site: Vhost, stopped: bool, ipv6: bool, *, php: str = "") -> str:
    names = {"user": user, "site": site.name, "php": php}
    if stopped:
        body = _SUSPENDED.format(seconds=RETRY_AFTER)
    else:
        index, last = ("index.php index.html", "/index.php$is_args$args") if php else ("index.html", "=404")
        body = _FILES.format(**names, index=index, last=last) + (_PHP.format(**names) if php else "")
    return _SERVER.format(**names, six=_SIX if ipv6 else "", domains=" ".join(site.domains), body=body)


def read(text: str) -> tuple[Vhost, ...]:
    """The sites in a file of ours."""
    found = []
    for server in _SERVERS.finditer(text):
        body = server[1]
        domains, site = _DOMAINS.search(body), _SITE.search(body)
        if domains and site:
            serving = "suspended" if _STOPPED.search(body) else "php" if _POOL.search(body) else "static"
            found.append(Vhost(name=site[1], domains=tuple(domains[1].split()), serving=serving))
    return tuple(found)


def none_serving(sites: Sequence[Vhost]) -> tuple[Vhost, ...]:
    """The same sites where nginx does not have their file."""
    return tuple(replace(each, serving="none") for each in sites)
