#!/bin/sh
# Makes sure that axe-core, which judges the accessibility of pages, is under target/axe. Prints nothing when it is.
set -eu
. "$(dirname "$0")/apt.sh"

version=4.14.1
root=$(cd "$(dirname "$0")/.." && pwd)
file="$root/target/axe/node_modules/axe-core/axe.min.js"
grep -q "^/\*! axe v$version" "$file" 2>/dev/null && exit 0

command -v npm >/dev/null 2>&1 || apt_install npm
say "fetching axe-core $version with npm"
mkdir -p "$root/target/axe"
npm install --prefix "$root/target/axe" --no-save --no-audit --no-fund --ignore-scripts "axe-core@$version" >&2
grep -q "^/\*! axe v$version" "$file" || fail "npm went through, but there is no axe-core $version"
