#!/bin/sh
# Makes sure that this machine has Chromium and its driver, which the tests of the script for pages use. Prints nothing when
# both are there.
set -eu
. "$(dirname "$0")/apt.sh"

there() { command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; }

there && exit 0
apt_install chromium chromium-driver
there || fail "the installation went through, but there is no chromium or no chromedriver"
