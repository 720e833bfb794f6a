#!/usr/bin/env bash
# Prints the folder that holds the official `kustomize` and `helm` programs; everything else goes to standard error.
#
# They are Go programs, built from their modules at the versions below and kept in the cache: 12 s and 2 minutes on two
# cores with Go's own cache warm, some minutes more for the first download.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kustomize=v5.8.1
helm=v4.3.1

say() { printf 'renderers: %s\n' "$*" >&2; }

if ! command -v go >/dev/null; then
    say 'kustomize and helm are built from Go sources, and `go` is not on PATH. Install Go 1.26 or newer and run this again.'
    exit 1
fi
folder="$(bash .ci/cache)/renderers/kustomize-$kustomize-helm-$helm"
if [ ! -x "$folder/kustomize" ] || [ ! -x "$folder/helm" ]; then
    mkdir -p "$folder"
    # Two builds at once would only take twice as long each: the second waits, and finds the programs there.
    exec 9>"$folder/lock"
    flock 9
    if [ ! -x "$folder/kustomize" ]; then
        say "building kustomize $kustomize"
        CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN="$folder" go install -trimpath "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" >&2
    fi
    if [ ! -x "$folder/helm" ]; then
        say "building helm $helm"
        # The name of the version is not in a module's build: charts may ask for it.
        CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN="$folder" go install -trimpath -ldflags "-s -w" "helm.sh/helm/v4/cmd/helm@$helm" >&2
    fi
    exec 9>&-
fi
printf '%s\n' "$folder"
