#!/bin/sh
# Makes sure that cargo-deny, which judges what enters the build, is under target/tools. Prints nothing when it is.
set -eu
. "$(dirname "$0")/apt.sh"

version=0.20.2
root=$(cd "$(dirname "$0")/.." && pwd)/target/tools
[ "$("$root/bin/cargo-deny" --version 2>/dev/null || true)" = "cargo-deny $version" ] && exit 0

say "building cargo-deny $version, two minutes on two cores"
cargo install --quiet --locked --root "$root" "cargo-deny@$version" >&2
