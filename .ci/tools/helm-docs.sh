#!/bin/sh
# Runs helm-docs: a pinned one, as another version may write another README.
set -eu
exec "$("$(dirname "$0")/go-install.sh" github.com/norwoodj/helm-docs/cmd/helm-docs v1.14.2)" "$@"
