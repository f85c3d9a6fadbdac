#!/bin/sh
# Moves in from tables that the real connect-pg-simple and the real Django have written: each import is killed in the middle and
# begun again, has to end exact, and a cookie of the old store then checks over HTTP. TENURE_IMPORT_ROWS=1000000 is the full size, at which
# the program is built for release and at least 20,000 rows a second are demanded, or as many as TENURE_IMPORT_FLOOR says: two
# cores that nobody else uses are needed for that.
set -eu
cd "$(dirname "$0")/.."
connect_version=10.0.0
django_version=5.2
rows=${TENURE_IMPORT_ROWS:-20000}
floor=${TENURE_IMPORT_FLOOR:-$([ "$rows" -lt 1000000 ] || echo 20000)}
root=$(pwd)
modules=$root/target/import-clients
venv=$root/target/import-venv
. scripts/apt.sh
# What is measured is the import; the tables it reads need not survive a crash while they are made.
lazily="-c synchronous_commit=off"

command -v npm >/dev/null 2>&1 || apt_install nodejs npm
command -v psql >/dev/null 2>&1 || apt_install postgresql-client
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || apt_install python3 python3-venv
if [ ! -d "$modules/node_modules/connect-pg-simple" ]; then
    say "installing connect-pg-simple $connect_version from npm"
    mkdir -p "$modules"
    npm install --silent --no-audit --no-fund --prefix "$modules" "connect-pg-simple@$connect_version" express-session cookie-signature pg >&2
fi
if ! "$venv/bin/python" -c 'import django, psycopg' >/dev/null 2>&1; then
    say "installing Django $django_version from PyPI"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "django==$django_version" "psycopg[binary]"
fi

if [ "$rows" -ge 1000000 ]; then
    cargo build --locked --release
    tenure=target/release/tenure
else
    cargo build --locked
    tenure=target/debug/tenure
fi

folder=$(mktemp -d)
import=
node=
finish() {
    [ -z "$import" ] || kill "$import" 2>/dev/null || true
    [ -z "$node" ] || { kill "$node" 2>/dev/null && wait "$node" || true; }
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

DATABASE_URL=$(scripts/dev-database.sh tenure_import)
server=${DATABASE_URL%/*}
port=${server##*:}
psql="psql -q -X -A -t -v ON_ERROR_STOP=1"
COOKIE_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export DATABASE_URL COOKIE_SECRET ROWS="$rows"
# psql laid out the schema; the program reads refinery's history.
$psql "$server/postgres" -c 'drop database if exists tenure_import with (force)' -c 'create database tenure_import'
"$tenure" migrate >&2
TENURE_KEY=$("$tenure" keys create --name application --role app --json | sed -n 's/.*"key": *"\(tnk_[^"]*\)".*/\1/p')
export TENURE_KEY
# A node that is there before anything is imported: it has to learn of it.
TENURE_LOG=warn "$tenure" serve --listen 127.0.0.1:0 --node import 2>"$folder/log" &
node=$!
TENURE_URL=
waited=0
while [ -z "$TENURE_URL" ]; do
    TENURE_URL=$(sed -n 's/.* listens on \(http:.*\)/\1/p' "$folder/log")
    waited=$((waited + 1))
    [ "$waited" -lt 600 ] && kill -0 "$node" 2>/dev/null || fail "the node did not start: $(cat "$folder/log")"
    sleep 0.1
done
export TENURE_URL

# However long the tables take to be made: what is idle for longer would end while it is counted.
"$tenure" properties set glide.ui.session_timeout 1440 >/dev/null
live() { $psql "$DATABASE_URL" -c 'select count(*) from tenure.sessions'; }

# try FORMAT TOKEN OPTION...: imports from the database import_FORMAT, killed once, and checks with the token.
try() {
    format=$1
    token=$2
    shift 2
    before=$(live)
    "$tenure" import "$format" env:SOURCE_URL --create-users "$@" >/dev/null 2>&1 &
    import=$!
    while [ "$(live)" -lt $((before + rows / 4)) ] && kill -0 "$import" 2>/dev/null; do sleep 0.05; done
    kill -9 "$import" 2>/dev/null || fail "$format: the import ended before it could be killed"
    wait "$import" 2>/dev/null || true
    import=
    part=$(($(live) - before))
    [ "$part" -lt "$rows" ] || fail "$format: it was killed too late"
    began=$(date +%s%N)
    "$tenure" import "$format" env:SOURCE_URL --create-users --json "$@" >"$folder/report"
    took=$((($(date +%s%N) - began) / 1000000))
    [ "$(live)" -eq $((before + rows)) ] || fail "$format: $(live) sessions instead of $((before + rows))"
    tokens=$($psql "$DATABASE_URL" -c 'select count(distinct foreign_hash) from tenure.sessions')
    [ "$tokens" -eq $((before + rows)) ] || fail "$format: $tokens tokens instead of $((before + rows))"
    user=$(printf '%s' "$token" | python3 tests/clients/check.py) || fail "$format: the old token is not good"
    case $user in user.*) ;; *) fail "$format: it is the session of $user" ;; esac
    speed=$(((rows - part) * 1000 / took))
    say "$format: killed after $part of $rows rows; the rest in $took ms, $speed rows/s"
    [ "$speed" -ge "${floor:-0}" ] || fail "$format: slower than $floor rows/s"
}

for format in connect django; do
    $psql "$server/postgres" -c "drop database if exists import_$format with (force)" -c "create database import_$format"
done

say "connect-pg-simple writes $rows rows"
export SOURCE_URL="$server/import_connect"
token=$(PGOPTIONS="$lazily" NODE_PATH="$modules/node_modules" node tests/clients/connect.js)
try connect "$token" --time-zone UTC --user-path passport.user --cookie-secret env:COOKIE_SECRET

say "Django writes $rows rows"
export SOURCE_URL="$server/import_django" SOURCE_HOST=127.0.0.1 SOURCE_PORT="$port" SOURCE_NAME=import_django
token=$(PGOPTIONS="$lazily" "$venv/bin/python" tests/clients/django_sessions.py)
try django "$token"
