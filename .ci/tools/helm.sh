#!/bin/sh
# Runs helm: the one on PATH, or else a pinned one that is built once. With --path it says where that is instead.
set -eu
helm=$(command -v helm) || helm=$("$(dirname "$0")/go-install.sh" helm.sh/helm/v4/cmd/helm v4.3.1)
[ "${1:-}" != --path ] || { echo "$helm" && exit; }
exec "$helm" "$@"
