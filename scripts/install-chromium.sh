#!/bin/sh
# Makes sure that this machine has Chromium and its driver, which the tests of the script for pages use. Prints nothing when
# both are there.
set -eu

say() { printf 'install-chromium: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
there() { command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; }

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
command -v apt-get >/dev/null 2>&1 || fail "install Chromium and chromedriver by hand: this script knows apt only"
say "installing chromium and chromium-driver with apt"
as_root apt-get update -q >&2 || say "apt-get update failed; going on with the lists at hand"
as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends \
    chromium chromium-driver >&2 || fail "apt could not install them"
there || fail "the installation went through, but there is no chromium or no chromedriver"
