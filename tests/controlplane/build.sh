#!/bin/sh
# Builds tidegate-testplane into a cache and prints the program's path as the
# only line on standard output. The cache is keyed by everything the program
# is made of, so that an unchanged module is built once per machine.
set -eu

if ! command -v go >/dev/null 2>&1; then
    echo "testplane: the Go toolchain ('go') is not on the PATH; it is needed to build the test control plane" >&2
    exit 3
fi
cd "$(dirname "$0")"

kubernetes=v1.36.3
version_flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    version_flags="$version_flags -X $package.gitVersion=$kubernetes"
    version_flags="$version_flags -X $package.gitMajor=1 -X $package.gitMinor=36"
    version_flags="$version_flags -X $package.gitTreeState=clean"
done

# Tests are not part of the program; everything else below the module is.
key=$({
    go version
    find . -type f \( -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum -o -name build.sh \) |
        LC_ALL=C sort | xargs sha256sum
} | sha256sum | cut -d ' ' -f 1)
folder=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/testplane/$key
program=$folder/tidegate-testplane

if [ ! -x "$program" ]; then
    mkdir -p "$folder"
    # Two builds at once would only take twice as long each: the second
    # waits, and finds the program there.
    exec 9>"$folder/lock"
    if ! flock -n 9; then
        echo "testplane: another build is under way, waiting for it" >&2
        flock 9
    fi
    if [ ! -x "$program" ]; then
        echo "testplane: building the test control plane (Kubernetes $kubernetes); the first time this downloads" >&2
        echo "testplane: modules and takes about 5 minutes on 2 cores, later well under one" >&2
        begun=$(date +%s)
        temporary=$folder/.tidegate-testplane.$$
        trap 'rm -f "$temporary"' EXIT
        CGO_ENABLED=0 go build -buildvcs=false -ldflags "-s -w$version_flags" -o "$temporary" . >&2
        mv "$temporary" "$program"
        echo "testplane: built in $(($(date +%s) - begun)) s" >&2
    fi
    exec 9>&-
fi
echo "$program"
