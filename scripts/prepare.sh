#!/bin/sh
# Writes .sqlx: what PostgreSQL says of each statement, so that a build needs no database. The database is migrated with
# psql, not by the program, which does not compile while .sqlx is out of date.
set -eu
cd "$(dirname "$0")/.."
TENURE_SQLX_DATABASE_URL=$(scripts/dev-database.sh tenure_prepare)
SQLX_OFFLINE_DIR=$(pwd)/.sqlx.new
export TENURE_SQLX_DATABASE_URL SQLX_OFFLINE_DIR
rm -rf .sqlx.new
mkdir .sqlx.new
touch src/lib.rs
cargo check --locked --all-features
rm -rf .sqlx
mv .sqlx.new .sqlx
echo "$(ls .sqlx | wc -l) statements described in .sqlx."
