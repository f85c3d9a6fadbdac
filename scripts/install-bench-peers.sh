#!/bin/sh
# Makes sure that this machine has what `make bench` compares with: a Redis server, and wrk to send requests. Prints
# nothing when both are there. It installs programs only: no service is started, because the benchmark starts a Redis of
# its own in a folder of its own.
set -eu

say() { printf 'install-bench-peers: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
there() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif there sudo; then
        sudo "$@"
    else
        fail "needs root to run: $*; run this script as root"
    fi
}

missing=
for program in redis-server wrk; do
    there "$program" || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
there apt-get || fail "install$missing by hand: this script knows apt only; without them their lines are left out"
say "installing$missing with apt"
as_root apt-get update -q >&2 || say "apt-get update failed; going on with the lists at hand"
# RUNLEVEL=1 tells invoke-rc.d to start nothing. The packages are named as their programs are.
# shellcheck disable=SC2086
as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends $missing >&2 ||
    fail "apt could not install$missing"
for program in redis-server wrk; do
    there "$program" || fail "the installation went through, but there is no $program"
done
