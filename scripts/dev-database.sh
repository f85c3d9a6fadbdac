#!/bin/sh
# Starts (or finds) a throw-away PostgreSQL in target/dev-postgres and a database migrated with psql, so that the program
# itself need not compile first. Prints the URL of the database on stdout, all else on stderr.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
bin=$(scripts/install-postgres.sh --print)
data=$root/target/dev-postgres
# Root's home is closed to the server's user.
if [ "$(id -u)" = 0 ] && ! setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$root"; then
    data=/var/lib/tenure-dev
fi
port=${TENURE_DEV_PORT:-54329}
name=${1:-tenure_dev}

# initdb and postgres refuse to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        # setpriv needs no shell of the user's, unlike su.
        setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
    else
        "$@"
    fi
}

if [ ! -d "$data/base" ]; then
    mkdir -p "$data"
    [ "$(id -u)" = 0 ] && chown postgres "$data"
    as_server "$bin/initdb" -D "$data" -U tenure --auth=trust -E UTF8 --locale=C.UTF-8 >&2
fi
# Of PostgreSQL's own settings these two are of a far smaller machine than anybody would keep sessions on.
sized="-c shared_buffers=512MB -c max_wal_size=4GB"
if ! as_server "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; then
    as_server "$bin/pg_ctl" -D "$data" -w -l "$data/log" \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' $sized" start >&2
fi
psql="psql -q -X -v ON_ERROR_STOP=1 -h 127.0.0.1 -p $port -U tenure"
$psql -d postgres -c "drop database if exists $name with (force)" -c "create database $name" >&2
for file in $(ls migrations/V*.sql | sort -V); do
    $psql -d "$name" -1 -f "$file" >/dev/null
done
echo "postgres://tenure@127.0.0.1:$port/$name"
