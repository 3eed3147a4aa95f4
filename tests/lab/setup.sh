#!/bin/sh
# Makes a fresh Debian 12 or 13 ready: installs the packages that are missing, and builds the Python environment from the lock file.
#   setup.sh packages   only the packages (needs root, or sudo)
#   setup.sh venv       only the environment
#   setup.sh            both
# Nothing is done that is done already. No daemon is started, and none that runs is touched: the lab starts its own.
set -eu
cd "$(dirname "$0")/../.."

say() { echo "setup: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# For the environment: libvirt-python is compiled.
build_packages="ca-certificates gcc libc6-dev libvirt-dev pkg-config python3 python3-dev python3-venv"
# For the lab, the images and the tests. What a release does not have is passed over (newer ones split libvirt further).
lab_packages="busybox-static cryptsetup-bin e2fsprogs ebtables fuse3 libnbd-bin iproute2 iptables kmod mmdebstrap mount nftables
    openssh-client openssh-server ovmf postgresql procps prometheus python3-libnbd qemu-system-x86 qemu-utils util-linux
    xorriso zstd libvirt-clients libvirt-daemon libvirt-daemon-system libvirt-daemon-config-nwfilter libvirt-daemon-driver-qemu"
split_packages="libvirt-daemon-common libvirt-daemon-log libvirt-daemon-lock libvirt-daemon-driver-interface
    libvirt-daemon-driver-network libvirt-daemon-driver-nodedev libvirt-daemon-driver-nwfilter libvirt-daemon-driver-secret
    libvirt-daemon-driver-storage libvirt-ssh-proxy"
# Each with the version that is needed. Where the system's release has an older one or none, the package (not what it depends on) is
# taken from this newer release, from the mirror that the system itself uses.
newer_packages="restic=0.18 restic-rest-server=0.12"
newer_release=trixie
# Units that these packages would start at the next boot. They are left as they are where their package was there before us.
units="ssh.service ssh.socket libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirt-guests.service
    virtlogd.service virtlogd.socket virtlogd-admin.socket virtlockd.service virtlockd.socket virtlockd-admin.socket
    postgresql.service prometheus.service restic-rest-server.service"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
available() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }
have_lists() { apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' 2>/dev/null | grep -q .; }

# new_enough PACKAGE VERSION: whether the installed one is; can_be_new_enough: whether the system's own sources have one that is.
new_enough() { installed "$1" && dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "$1")" ge "$2"; }
can_be_new_enough() {
    candidate=$(LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
    dpkg --compare-versions "${candidate:-0}" ge "$2"
}

missing_packages() {
    for package in $build_packages $lab_packages; do
        installed "$package" || echo "$package"
    done
    for package in $split_packages; do
        installed "$package" || ! available "$package" || echo "$package"
    done
    for wanted in $newer_packages; do
        new_enough "${wanted%=*}" "${wanted#*=}" || ! can_be_new_enough "${wanted%=*}" "${wanted#*=}" || echo "${wanted%=*}"
    done
}

# Those of $newer_packages that the system's own sources do not have new enough.
missing_newer_packages() {
    for wanted in $newer_packages; do
        new_enough "${wanted%=*}" "${wanted#*=}" || can_be_new_enough "${wanted%=*}" "${wanted#*=}" || echo "${wanted%=*}"
    done
}

# Downloads packages of $newer_release into a directory. The lists go there too: apt's own sources and lists stay as they are.
download_newer() { # DIRECTORY PACKAGE...
    directory=$1
    shift
    mirror=$(apt-get indextargets --format '$(LABEL) $(COMPONENT) $(SITE)' 'Created-By: Packages' | sed -n 's/^Debian main //p' | head -n 1)
    [ -n "$mirror" ] || fail "apt's sources name no mirror of Debian, from which $* of $newer_release could come"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    options="arch=$(dpkg --print-architecture)"
    if [ -r "$keyring" ]; then options="$options signed-by=$keyring"; fi
    mkdir -p "$directory/lists/partial" "$directory/cache/archives/partial"
    echo "deb [$options] $mirror $newer_release main" >"$directory/sources.list"
    cat >"$directory/apt.conf" <<END
Dir::Etc::SourceList "$directory/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$directory/lists";
Dir::Cache "$directory/cache";
Acquire::Languages "none";
APT::Sandbox::User "$(id -un)";
END
    (cd "$directory" && apt-get -q -c apt.conf update >&2 && apt-get -q -c apt.conf download "$@" >&2)
}

install_newer() { # PACKAGE...
    say "installing $* from Debian $newer_release, which this release has older or not at all"
    beside=$(mktemp -d)
    chmod 755 "$beside" # apt reads the packages as a user of its own
    download_newer "$beside" "$@" || fail "apt-get could not download $* of $newer_release; its own words are above"
    # What they depend on comes from the system's own release: apt knows no other here.
    install_packages "$(echo "$beside"/*.deb)" || fail "apt-get could not install $*; its own words are above"
    rm -rf "$beside"
}

update_lists() {
    say "reading the package lists (apt-get update)"
    as_root apt-get -q update >&2
}

install_packages() {
    # invoke-rc.d asks this file before it starts anything (Debian Policy 9.3.3.1); an administrator's own one stays.
    policy=/usr/sbin/policy-rc.d
    made_policy=
    if [ ! -e "$policy" ]; then
        made_policy=yes
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    status=0
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $1 >&2 || status=$?
    if [ -n "$made_policy" ]; then
        as_root rm -f "$policy"
        trap - EXIT INT TERM HUP
    fi
    return "$status"
}

packages() {
    [ -r /etc/debian_version ] && command -v apt-get >/dev/null || fail "this needs Debian 12 or newer"
    have_lists || update_lists
    missing=$(missing_packages | tr '\n' ' ')
    newer=$(missing_newer_packages | tr '\n' ' ')
    if [ -z "$missing$newer" ]; then
        say "all packages are there"
        return
    fi
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "these packages are missing, and only root can install them: $missing$newer"
    before=$(enabled_units)
    if [ -n "$missing" ]; then
        say "installing $missing"
        if ! install_packages "$missing"; then
            update_lists # the lists may have been older than the mirror
            install_packages "$missing" || fail "apt-get could not install everything; its own words are above"
        fi
    fi
    # shellcheck disable=SC2086 # a list of words
    if [ -n "$newer" ]; then install_newer $newer; fi
    added=
    for unit in $(enabled_units); do
        case " $before " in *" $unit "*) ;; *) added="$added $unit" ;; esac
    done
    if [ -n "$added" ]; then
        say "leaving these new units disabled, the tests start their own:$added"
        # shellcheck disable=SC2086 # a list of words
        as_root systemctl --quiet --no-reload disable $added 2>/dev/null || say "could not disable them all"
    fi
}

enabled_units() {
    for unit in $units; do
        if [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ]; then printf '%s ' "$unit"; fi
    done
}

venv() {
    python=/usr/bin/python3
    [ -x "$python" ] || fail "no $python: run make setup"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed (Debian 12 or newer)"
    stamp=.venv/.made-from
    wanted=$(cat requirements-dev.lock pyproject.toml | sha256sum | cut -d ' ' -f 1)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "making .venv"
        "$python" -m venv --clear .venv || fail "could not make .venv: run make setup"
    fi
    say "installing what requirements-dev.lock names into .venv (once; some minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
    echo "$wanted" >"$stamp"
}

case ${1:-both} in
    packages) packages ;;
    venv) venv ;;
    both)
        packages
        venv
        ;;
    *) fail "usage: setup.sh [packages|venv]" ;;
esac
