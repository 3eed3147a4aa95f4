#!/bin/sh
# Run a command with its temporary files in memory, where the machine has room for that: what a test writes it also syncs to
# the disk, and a disk that is slow at it makes minutes of seconds. Nothing stays behind, also after Ctrl-C.
set -u
MEMORY=/dev/shm
NEEDED_KIB=524288

usable() {
    [ -d "$MEMORY" ] && [ -w "$MEMORY" ] || return 1
    free=$(df -Pk "$MEMORY" | awk 'NR == 2 { print $4 }')
    [ "${free:-0}" -ge "$NEEDED_KIB" ]
}

# Tests start programs that they have written.
runs_programs() {
    printf '#!/bin/sh\n' >"$1/program" && chmod 0700 "$1/program" && "$1/program" 2>/dev/null && rm -f "$1/program"
}

scratch=
if usable && scratch=$(mktemp -d "$MEMORY/orch.XXXXXX"); then
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' HUP INT TERM
    if runs_programs "$scratch"; then
        export TMPDIR="$scratch"
    fi
fi
"$@"
