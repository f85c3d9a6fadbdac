#!/bin/sh
# The library without features must build, and carry no web, command-line or template crate.
set -eu
tree=$(cargo tree --locked --no-default-features --edges normal --prefix none)
for crate in axum hyper clap indicatif reqwest utoipa askama maud; do
    if printf '%s\n' "$tree" | grep -q "^$crate v"; then
        echo "The library without features depends on $crate: put it behind a feature." >&2
        exit 1
    fi
done
cargo check --locked --no-default-features
# The server without the console is a server without pages, and nothing else.
cargo check --locked --no-default-features --features server,cli
