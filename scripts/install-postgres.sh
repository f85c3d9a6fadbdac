#!/bin/sh
# Makes sure that this machine has PostgreSQL server binaries (version 15 or later) for Tenure's
# embedded database. Prints nothing when it has them already. It installs binaries only: no cluster
# is created and no service is started, because Tenure makes a cluster of its own.
#
#   scripts/install-postgres.sh [--print]   with --print, the directory of the binaries on stdout
#
# TENURE_POSTGRES_MAJOR=15   demand this very version, for a cluster that exists already
# TENURE_POSTGRES_BIN=DIR    look here first, as Tenure does
set -eu
. "$(dirname "$0")/apt.sh"

oldest=15
wanted=${TENURE_POSTGRES_MAJOR:-}

case $wanted in
*[!0-9]*) fail "TENURE_POSTGRES_MAJOR is '$wanted', but must be a number such as 15" ;;
esac
if [ -n "$wanted" ] && [ "$wanted" -lt "$oldest" ]; then
    fail "TENURE_POSTGRES_MAJOR is $wanted, but Tenure needs $oldest or later"
fi

# Prints the major version of the binaries in a directory; nothing when they are not whole.
major_of() {
    for program in initdb pg_ctl postgres; do
        [ -x "$1/$program" ] || return 0
    done
    LC_ALL=C "$1/postgres" --version 2>/dev/null </dev/null |
        sed -n 's/^.*(PostgreSQL) \([0-9][0-9]*\).*$/\1/p'
}

# Succeeds, with the directory and version set, when a directory holds binaries that will do.
usable() {
    [ -d "$1" ] || return 1
    major=$(major_of "$1")
    [ -n "$major" ] && [ "$major" -ge "$oldest" ] || return 1
    [ -z "$wanted" ] || [ "$major" -eq "$wanted" ] || return 1
    found=$1
}

# The same places as src/embedded/places.rs.
find_binaries() {
    if [ -n "${TENURE_POSTGRES_BIN:-}" ] && usable "$TENURE_POSTGRES_BIN"; then
        return 0
    fi
    if link=$(command -v postgres); then
        # A link such as /usr/local/bin/postgres may stand alone, so look beside what it points to.
        file=$(readlink -f "$link" 2>/dev/null || printf '%s' "$link")
        if usable "$(dirname "$file")"; then
            return 0
        fi
    fi
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin \
        /usr/libexec/postgresql* /usr/lib/postgresql*/bin /usr/lib64/postgresql-*/bin \
        /usr/local/pgsql/bin; do
        if usable "$dir"; then
            return 0
        fi
    done
    return 1
}

# Keeps Debian's packages from making and starting a cluster called main.
forbid_main_cluster() {
    conf=/etc/postgresql-common/createcluster.conf
    if [ -e "$conf" ]; then
        # Someone's own file stays as it is; what is in the directory it includes overrules it, and
        # only for as long as this installation takes.
        guard=/etc/postgresql-common/createcluster.d/zz-tenure-install.conf
        trap 'as_root rm -f "$guard"' EXIT
        trap 'exit 1' HUP INT TERM
    else
        guard=$conf
    fi
    as_root mkdir -p "$(dirname "$guard")"
    printf '%s\n' '# Written by scripts/install-postgres.sh of Tenure.' 'create_main_cluster = false' |
        as_root tee "$guard" >/dev/null
}

install_apt() {
    say "reading the package lists"
    as_root apt-get update -q >&2 || say "apt-get update failed; going on with the lists at hand"
    package=postgresql-${wanted:-$(
        apt-cache --names-only search '^postgresql-[0-9]+$' |
            sed -n 's/^postgresql-\([0-9][0-9]*\) .*$/\1/p' | sort -n | tail -n 1
    )}
    [ "$package" != postgresql- ] || fail "apt knows no package postgresql-NN; enable Debian's or \
PostgreSQL's repository (https://wiki.postgresql.org/wiki/Apt)"
    if [ "${package#postgresql-}" -lt "$oldest" ]; then
        fail "apt's newest is $package, but Tenure needs $oldest or later; enable PostgreSQL's \
repository (https://wiki.postgresql.org/wiki/Apt)"
    fi
    forbid_main_cluster
    say "installing $package with apt"
    # RUNLEVEL=1 tells invoke-rc.d to start nothing; CONFFOLD keeps the file written above.
    as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 RUNLEVEL=1 \
        apt-get install -q -y --no-install-recommends "$package" >&2 ||
        fail "apt could not install $package; other versions are in PostgreSQL's repository \
(https://wiki.postgresql.org/wiki/Apt)"
}

install_dnf() {
    # RHEL 8 and 9 keep later versions in modules, RHEL 10 and Fedora have none any more.
    for stream in ${wanted:-16 15}; do
        if as_root dnf -q -y module enable "postgresql:$stream" >/dev/null 2>&1; then
            break
        fi
    done
    say "installing postgresql-server with dnf"
    if [ -n "$wanted" ]; then
        as_root dnf -y install "postgresql$wanted-server" >&2 ||
            as_root dnf -y install postgresql-server >&2
    else
        as_root dnf -y install postgresql-server >&2
    fi
}

install_apk() {
    for version in ${wanted:-18 17 16 15}; do
        if [ -n "$(apk search --no-cache -x -q "postgresql$version" 2>/dev/null)" ]; then
            say "installing postgresql$version with apk"
            as_root apk add --no-cache "postgresql$version" >&2
            return 0
        fi
    done
    fail "apk knows no package postgresql$oldest or later; enable Alpine's main repository"
}

install_pacman() {
    say "installing postgresql with pacman"
    as_root pacman -S --needed --noconfirm postgresql >&2
}

install_brew() {
    [ "$(id -u)" -ne 0 ] || fail "Homebrew refuses to run as root; run this script as its owner"
    say "installing postgresql@${wanted:-17} with Homebrew"
    brew install "postgresql@${wanted:-17}" >&2
}

# Says where the binaries are, to a script that asked.
print_found() {
    [ "${1:-}" != --print ] || printf '%s\n' "$found"
}

if find_binaries; then
    print_found "$@"
    exit 0
fi
say "no PostgreSQL server${wanted:+ $wanted} of version $oldest or later found; installing one"
manager=
# On a Mac, a stray apt or apk would be something else.
if [ "$(uname -s)" = Darwin ]; then managers=brew; else managers="apt-get dnf apk pacman brew"; fi
for candidate in $managers; do
    if command -v "$candidate" >/dev/null 2>&1; then
        manager=$candidate
        break
    fi
done
case $manager in
apt-get) install_apt ;;
dnf) install_dnf ;;
apk) install_apk ;;
pacman) install_pacman ;;
brew) install_brew ;;
*) fail "found none of apt, dnf, apk, pacman and brew; install PostgreSQL's server by hand \
(https://www.postgresql.org/download/) and name its directory in TENURE_POSTGRES_BIN" ;;
esac
# The shell may still remember that there was no postgres.
hash -r
find_binaries || fail "the installation went through, but no server${wanted:+ $wanted} of version \
$oldest or later came of it; see https://www.postgresql.org/download/"
say "PostgreSQL $major is ready in $found"
print_found "$@"
