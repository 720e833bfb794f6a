#!/usr/bin/env bash
# Prints the path of a program of a Debian package of the same name (its only argument); everything else goes to standard
# error.
#
# Looks on PATH, then in the cache, then fetches Debian's package with apt-get and unpacks it into the cache. Nothing is
# installed and no service is started, so no rights are needed and the machine stays as it is. Only for programs that
# link against nothing but libc: the package's dependencies are not fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=$1
say() { printf '%s: %s\n' "$name" "$*" >&2; }
runs() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

if found=$(command -v "$name") && runs "$found"; then
    printf '%s\n' "$found"
    exit 0
fi

cache="$(bash .ci/cache)/$name"
for program in "$cache"/*/usr/bin/"$name"; do
    if runs "$program"; then
        printf '%s\n' "$program"
        exit 0
    fi
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    say "not on PATH, and this machine has no apt-get and dpkg-deb to fetch it with: install it"
    exit 1
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
# Apt's own download user cannot write into a folder of ours; as root it would only warn about that.
apt=(apt-get -q -o APT::Sandbox::User=root)

say "fetching Debian's package, unpacking it into $cache"
if ! (cd "$work" && "${apt[@]}" download "$name") >"$work/log" 2>&1; then
    # Lists are missing or older than the mirror: read fresh ones into the cache, which needs no rights.
    say "the package lists do not lead to it, reading fresh ones"
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    apt+=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/archives")
    if ! { "${apt[@]}" update && (cd "$work" && "${apt[@]}" download "$name"); } >>"$work/log" 2>&1; then
        cat "$work/log" >&2
        say "apt-get could not fetch the package"
        exit 1
    fi
fi

packages=("$work/$name"_*.deb)
version=$(dpkg-deb -f "${packages[0]}" Version)
dpkg-deb -x "${packages[0]}" "$work/unpacked"
if ! runs "$work/unpacked/usr/bin/$name"; then
    say "version $version does not run here:"
    "$work/unpacked/usr/bin/$name" --version >&2 || ldd "$work/unpacked/usr/bin/$name" >&2 || true
    exit 1
fi
# A rename, so that two runs at once never see a half unpacked folder.
rm -rf "${cache:?}/$version"
mv "$work/unpacked" "$cache/$version"
say "version $version is ready"
printf '%s\n' "$cache/$version/usr/bin/$name"
