#!/usr/bin/env bash
# Runs cargo-deny with the arguments given. Builds it once into the cache when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
root="$(bash .ci/cache)/cargo-deny-$version"
program="$root/bin/cargo-deny"

if [ ! -x "$program" ]; then
    if found=$(command -v cargo-deny) && [ "$("$found" --version)" = "cargo-deny $version" ]; then
        program=$found
    else
        printf 'cargo-deny: building version %s into %s, once (about two and a half minutes on 2 cores)\n' "$version" "$root" >&2
        # A target folder of its own: the one of this package would be locked, and keeps nothing worth sharing.
        env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$root" cargo-deny --version "$version"
    fi
fi
exec "$program" "$@"
