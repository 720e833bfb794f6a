#!/usr/bin/env bash
# Prints the path of the test control plane's program, built first when its sources changed; see tests/controlplane.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v go >/dev/null; then
    printf '%s\n' \
        'The control plane for tests and demo (etcd, kube-apiserver, kube-controller-manager) is built from Go sources,' \
        'and `go` is not on PATH. Install Go 1.26 or newer (https://go.dev/dl/) and run this again.' >&2
    exit 1
fi
exec bash tests/controlplane/build.sh
