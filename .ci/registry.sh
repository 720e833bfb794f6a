#!/usr/bin/env bash
# Prints the path of an OCI registry that runs on this machine, fetched from Debian's package when there is none.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/debian-program.sh" docker-registry
