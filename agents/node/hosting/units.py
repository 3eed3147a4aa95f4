"""Texts for systemd, PHP-FPM, sshd, logrotate, tmpfiles and PAM."""

from __future__ import annotations

from collections.abc import Sequence

from agents.node.hosting import tree
from agents.node.hosting.layout import GROUP, WEB_USER
from agents.node.hosting.spec import Limits, Site

MIB = 1 << 20
_WORKER_BYTES = 64 * MIB
"""What a worker of PHP is reckoned with: so many of them are let run as fit into the account's memory."""

_SLICE = """# Written by the node agent.
[Unit]
Description=Everything of the hosting account {user}

[Slice]
{limits}
[Install]
WantedBy=multi-user.target
"""

_LOGINS = """# Written by the node agent: logins of the hosting account {user} have its limits, too.
[Slice]
{limits}"""

# The master is root's, so that the sockets can be www-data's alone; its workers are the account's.
_FPM_UNIT = """# Written by the node agent.
[Unit]
Description=PHP {version} of the hosting account {user}
After=network.target mariadb.service

[Service]
Type=notify
Slice=orch-{user}.slice
ExecStart=/usr/sbin/php-fpm{version} --nodaemonize --fpm-config /etc/orchestrator/fpm/{user}-{version}.conf
ExecReload=/bin/kill -USR2 $MAINPID
Restart=on-failure
RestartSec=2
OOMPolicy=continue
KillMode=control-group
TimeoutStopSec=10
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=full
ProtectHome=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL CAP_DAC_OVERRIDE
InaccessiblePaths=-/etc/orchestrator/accounts -/etc/orchestrator/tls -/etc/orchestrator/keys -/var/lib/orchestrator-agent
TemporaryFileSystem=/srv/h:mode=0755
BindPaths=/srv/h/{user}

[Install]
WantedBy=multi-user.target
"""

_FPM_GLOBAL = """; Written by the node agent.
[global]
error_log = syslog
syslog.ident = orch-fpm-{user}
daemonize = no
process_control_timeout = 5s
"""

_POOL = """
[{user}-{site}]
user = {user}
group = {user}
listen = /run/orchestrator/fpm/{user}-{site}-{version}.sock
listen.owner = {web}
listen.group = {web}
listen.mode = 0600
pm = ondemand
pm.max_children = {workers}
pm.process_idle_timeout = 30s
pm.max_requests = 500
chdir = /srv/h/{user}/home
php_admin_value[sys_temp_dir] = /srv/h/{user}/home/tmp
php_admin_value[upload_tmp_dir] = /srv/h/{user}/home/tmp
php_admin_value[session.save_path] = /srv/h/{user}/home/tmp
php_admin_flag[log_errors] = on
php_admin_value[error_log] = /srv/h/{user}/home/sites/{site}/php-errors.log
"""

SSHD = f"""# Written by the node agent: hosting accounts transfer files, each in its own directory, and do nothing else.
Match Group {GROUP}
    AuthorizedKeysFile /etc/orchestrator/keys/%u
    ChrootDirectory /srv/h/%u
    ForceCommand internal-sftp -d /home
    PasswordAuthentication yes
    PubkeyAuthentication yes
    KbdInteractiveAuthentication no
    PermitTTY no
    PermitTunnel no
    PermitUserRC no
    AllowAgentForwarding no
    AllowTcpForwarding no
    AllowStreamLocalForwarding no
    GatewayPorts no
    X11Forwarding no
Match all
"""

TMPFILES = f"""# Written by the node agent.
d /run/orchestrator 0755 root root -
d /run/orchestrator/fpm 0750 root {WEB_USER} -
d /run/orchestrator/pending 0700 root root -
d /run/orchestrator/probe 0711 root root -
"""

LOGROTATE = f"""# Written by the node agent: the logs of all accounts in one go, so that nginx opens its logs anew once for all.
# Read by orchestrator-logs.service; a day's log, or what was written sooner than that and is as large as one shall get.
/var/log/orchestrator/*/*.log {{
    su root {WEB_USER}
    daily
    maxsize 100M
    rotate 30
    missingok
    notifempty
    compress
    delaycompress
    create 0640 root {WEB_USER}
    sharedscripts
    postrotate
        test ! -s /run/nginx.pid || kill -USR1 "$(cat /run/nginx.pid)"
    endscript
}}
"""

LOGS_SERVICE = """# Written by the node agent. Traffic is counted from the logs under the same lock (account-usage).
[Unit]
Description=Rotate the logs of hosting accounts

[Service]
Type=oneshot
Nice=10
ExecStart=/usr/bin/flock /etc/orchestrator/logrotate.conf \\
    /usr/sbin/logrotate --state /var/lib/orchestrator-agent/logrotate.status /etc/orchestrator/logrotate.conf
"""

LOGS_TIMER = """# Written by the node agent: once a day would let a busy site, or whoever calls it all day, fill the disk of all.
[Unit]
Description=Rotate the logs of hosting accounts that are a day old or large

[Timer]
OnBootSec=5min
OnUnitActiveSec=10min

[Install]
WantedBy=timers.target
"""

NGINX_UNIT = """# Written by the node agent: every site keeps its logs open.
[Service]
LimitNOFILE=262144
"""

NGINX_MAIN = """# Written by the node agent: a worker of a former configuration goes on for as long as its slowest reader likes,
# and every change of every account leaves one behind.
worker_shutdown_timeout 10m;
"""

PAM_PROFILE = f"""Name: Jobs of hosting accounts run in the account's slice
Default: yes
Priority: 0
Session-Type: Additional
Session:
	[success=1 default=ignore]	pam_succeed_if.so quiet user notingroup {GROUP}
	required	pam_exec.so quiet seteuid /usr/local/lib/orchestrator/enter-slice
"""

# A session of cron or at is none of pam_systemd's, and its processes would count for nobody.
ENTER_SLICE = """#!/bin/sh
# Written by the node agent; called by pam_exec for hosting accounts. Puts a job of cron or at into its account's slice.
set -eu
[ "${PAM_TYPE:-}" = open_session ] || exit 0
case "${PAM_SERVICE:-}" in cron | crond | atd) ;; *) exit 0 ;; esac
pid=$PPID scope=orch-job-$PAM_USER-$PPID.scope
/usr/bin/busctl --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \\
    StartTransientUnit 'ssa(sv)a(sa(sv))' "$scope" fail \\
    3 PIDs au 1 "$pid" Slice s "orch-$PAM_USER.slice" CollectMode s inactive-or-failed 0
# systemd moves the process in its own time. What it begins before would not be in the slice: without that it does not begin.
tries=0
until grep -qF "/$scope" "/proc/$pid/cgroup"; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || exit 1
    sleep 0.1
done
"""


def limits(wanted: Limits) -> str:
    """The lines of a [Slice] section. Swap is none of a customer's: memory beyond the limit is refused, not moved to the disk.

    A rate that is no longer limited is said to be so: systemd does not take a limit back whose line is gone.
    """
    lines = [
        f"CPUQuota={wanted.cpu_percent}%",
        f"MemoryMax={wanted.memory_bytes}",
        "MemorySwapMax=0",
        f"TasksMax={wanted.tasks}",
        "CPUAccounting=yes",
        "IOAccounting=yes",
    ]
    for kind, most in (("Bandwidth", wanted.io_bytes_per_second), ("IOPS", wanted.iops)):
        lines += [f"IO{way}{kind}Max=/srv/h {most or 'infinity'}" for way in ("Read", "Write")]
    return "".join(f"{line}\n" for line in lines)


def slice_unit(user: str, wanted: Limits) -> str:
    return _SLICE.format(user=user, limits=limits(wanted))


def logins(user: str, wanted: Limits) -> str:
    return _LOGINS.format(user=user, limits=limits(wanted))


def fpm_unit(user: str, version: str) -> str:
    return _FPM_UNIT.format(user=user, version=version)


def fpm_config(user: str, version: str, sites: Sequence[Site], wanted: Limits) -> str:
    """A pool for each site of that version; all of an account's limits are its slice's."""
    workers = max(2, min(50, wanted.memory_bytes // _WORKER_BYTES, wanted.tasks - 2))
    words = {"user": user, "version": version, "web": WEB_USER, "workers": workers}
    pools = (_POOL.format(site=site.name, **words) for site in sites if site.php == version)
    return _FPM_GLOBAL.format(user=user) + "".join(pools)


def authorized_keys(keys: Sequence[str]) -> str:
    return "".join(f"{key}\n" for key in keys)


# -- the crontab: the lines that were ordered, and what the customer added ------------------------------------------------------

# Settings and no comments: those at its head are left out where crontab(1) shows a crontab.
CRON_BEGIN, CRON_END = "ORCHESTRATOR=begin", "ORCHESTRATOR=end"


def crontab(present: str, lines: Sequence[str]) -> str:
    """``present`` with the ordered lines in the place of those that were ordered before; '' where nothing is left."""
    own = own_lines(present)
    block = [CRON_BEGIN, 'MAILTO=""', *lines, CRON_END] if lines else []
    return "".join(f"{line}\n" for line in (*block, *own))


def own_lines(text: str) -> list[str]:
    """What is in a crontab beside the ordered lines."""
    own, ours = [], False
    for line in tree.lines(text):
        if line in (CRON_BEGIN, CRON_END):
            ours = line == CRON_BEGIN
        elif not ours:
            own.append(line)
    return own


def brought_back(present: str, packed: str) -> str:
    """The crontab of a restored account: the customer's own lines as they were packed, the ordered ones as they are ordered now;
    where none are, as they were packed, too."""
    ordered = present if CRON_BEGIN in tree.lines(present) else packed
    return crontab("".join(f"{line}\n" for line in own_lines(packed)), ordered_lines(ordered))


def ordered_lines(text: str) -> list[str]:
    """The ordered lines of a crontab, without what is put around them."""
    lines = tree.lines(text)
    if CRON_BEGIN not in lines or CRON_END not in lines:
        return []
    return lines[lines.index(CRON_BEGIN) + 2 : lines.index(CRON_END)]


def cron_count(text: str) -> int:
    """Lines that run something: no comment, no setting of a variable, not empty."""
    lines = (line.strip() for line in tree.lines(text))
    return sum(1 for line in lines if line and (line[0] in "*@" or line[0].isdigit()))
