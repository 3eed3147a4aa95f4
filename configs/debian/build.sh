#!/bin/sh
# Builds the Debian package out of this checkout and its .venv: configs/debian/build.sh [DIRECTORY]   (build/dist; `make deb`)
# Everything is in it, at the versions that requirements.lock names: installing it needs no network but for Debian's own packages. It is for
# this machine's architecture and its minor version of Python, because some of what is in it is compiled.
set -eu
cd "$(dirname "$0")/../.."
python=$PWD/.venv/bin/python
here=$PWD/configs/debian
mkdir -p "${1:-build/dist}"
into=$(cd "${1:-build/dist}" && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
program=$root/opt/orchestrator
chmod 755 "$stage"

# The wheel is built out of a copy, so that nothing that was built before gets into it.
mkdir "$stage/sources"
cp -r orchestrator agents playbooks configs pyproject.toml README.md "$stage/sources"
pip() { "$python" -m pip --disable-pip-version-check "$@"; }
pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir "$stage/wheel" "$stage/sources"
version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')

/usr/bin/python3 -m venv --without-pip "$program"
rm -f "$program"/bin/[Aa]ctivate*
# What the lock names is in .venv at just those versions, verified when that was made.
"$python" - "$program/lib/python3.$minor/site-packages" <<'END'
import importlib.metadata as metadata
import re
import shutil
import sys
from pathlib import Path

place = Path(sys.argv[1])
for line in Path("requirements.lock").read_text(encoding="utf-8").splitlines():
    found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)(\s*;)?", line)
    if not found:
        continue
    name, version, marker = found.groups()
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        if marker:  # for another system
            continue
        sys.exit(f"{name} is not in .venv: run make venv")
    if distribution.version != version:
        sys.exit(f"{name} is {distribution.version} in .venv, and {version} in the lock: run make venv")
    base = Path(str(distribution.locate_file(""))).resolve()
    for file in distribution.files or ():
        source = Path(str(file.locate())).resolve()
        if source.is_relative_to(base) and "__pycache__" not in source.parts and source.is_file():
            target = place / source.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
END
pip --python "$program/bin/python" install --quiet --no-deps --no-index --no-compile "$stage"/wheel/*.whl
# The places where it was made are not those where it will be.
sed -i "1s|.*|#!/opt/orchestrator/bin/python|" "$program/bin/orchestrator"
printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$program/pyvenv.cfg"
# Nobody may write beside it when it runs: so it is compiled now, into the package whatever the environment says of a cache.
env -u PYTHONPYCACHEPREFIX "$program/bin/python" -m compileall -q --invalidation-mode unchecked-hash -s "$root" -p / "$program/lib"

install -d "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/usr/share/bash-completion/completions" \
    "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d" "$root/usr/share/doc/orchestrator" "$root/DEBIAN"
ln -s /opt/orchestrator/bin/orchestrator "$root/usr/bin/orchestrator"
install -m 0644 configs/systemd/orchestrator.service "$root/usr/lib/systemd/system/"
.venv/bin/orchestrator completion bash >"$root/usr/share/bash-completion/completions/orchestrator"
.venv/bin/orchestrator completion zsh >"$root/usr/share/zsh/vendor-completions/_orchestrator"
.venv/bin/orchestrator completion fish >"$root/usr/share/fish/vendor_completions.d/orchestrator.fish"
install -m 0644 docs/*.md "$root/usr/share/doc/orchestrator/"
install -m 0755 "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN/"
cat >"$root/DEBIAN/control" <<END
Package: orchestrator
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The operators of this machine <root@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f 1)
Depends: ca-certificates, libvirt0, openssh-client, passwd, python3 (>= 3.$minor), python3 (<< 3.$((minor + 1))), util-linux
Recommends: restic (>= 0.18), sqlite3
Suggests: postgresql-client
Description: makes machines follow what billing says, and proves each act
 Provisions, limits, backs up, restores, suspends and wipes VPS, dedicated
 machines and accounts of shared hosting. See orchestrator --help.
END
file=$into/orchestrator_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group -Zzstd -z3 --build "$root" "$file" >&2
echo "$file"
