#!/bin/sh
# Prints where the command of a Go package is: .ci/tools/go-install.sh PACKAGE VERSION
#
# It is built once, into ${XDG_CACHE_HOME:-$HOME/.cache}/callboard/bin, where checkouts share it. Go checks what it downloads
# against its checksum database. With BUILD=no in the environment it takes only what is there already.
set -eu

package=$1 version=$2
name=${package##*/}
bin=${XDG_CACHE_HOME:-$HOME/.cache}/callboard/bin
command=$bin/$name-$version

if [ ! -x "$command" ] && [ "${BUILD:-}" = no ]; then
    echo "go-install.sh: $name $version is not built yet" >&2
    exit 1
elif [ ! -x "$command" ]; then
    mkdir -p "$bin"
    new=$(mktemp -d "$bin/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    echo "go-install.sh: building $name $version, which takes some minutes" >&2
    GOBIN=$new GOFLAGS=-trimpath "$(dirname "$0")/go.sh" install -ldflags '-s -w' "$package@$version" >"$new/log" 2>&1 || {
        cat "$new/log" >&2
        echo "go-install.sh: could not build $package@$version: put $name on PATH, or mend what is said above" >&2
        exit 1
    }
    mv "$new/$name" "$command"
fi
echo "$command"
