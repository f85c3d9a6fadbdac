#!/bin/sh
# Makes sure that this machine has nginx, which the tests of forward-auth put in front of a node. Prints nothing when it has
# one already. It installs the program only: the test starts an nginx of its own, with a configuration in a folder of its own
# and on a port that needs no privileges.
set -eu
. "$(dirname "$0")/apt.sh"

# Debian keeps it where only root's PATH looks.
there() { command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ]; }

there && exit 0
apt_install nginx
there || fail "the installation went through, but there is no nginx"
