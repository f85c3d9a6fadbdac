# Read by the scripts beside it: how they say something, and install with apt what they need.

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
fail() { say "$*"; exit 1; }

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

# Installs packages, and starts no service: RUNLEVEL=1 tells invoke-rc.d so.
apt_install() {
    command -v apt-get >/dev/null 2>&1 || fail "install these by hand: $*; this script knows apt only"
    say "installing $* with apt"
    as_root apt-get update -q >&2 || say "apt-get update failed; going on with the lists at hand"
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$@" >&2 ||
        fail "apt could not install $*"
}
