#!/bin/sh
# Makes sure that this machine has nginx, which the tests of forward-auth put in front of a node. Prints nothing when it has
# one already. It installs the program only: no service is started, because the test starts an nginx of its own, with a
# configuration in a folder of its own and on a port that needs no privileges.
set -eu

say() { printf 'install-nginx: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
# Debian keeps it where only root's PATH looks.
there() { command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ]; }

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "needs root to run: $*; run this script as root"
    fi
}

there && exit 0
command -v apt-get >/dev/null 2>&1 ||
    fail "install nginx by hand (https://nginx.org/en/docs/install.html): this script knows apt only"
say "installing nginx with apt"
as_root apt-get update -q >&2 || say "apt-get update failed; going on with the lists at hand"
# RUNLEVEL=1 tells invoke-rc.d to start nothing.
as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends nginx >&2 ||
    fail "apt could not install nginx"
there || fail "the installation went through, but there is no nginx"
