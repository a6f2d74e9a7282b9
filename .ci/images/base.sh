#!/usr/bin/env bash
# Prints the name of an image to build on where no registry can be reached: Debian 12 with its Python 3.11.
#
# Its root file system is made once and kept outside of the checkout; delete that file to have newer packages.
set -euo pipefail

suite=bookworm
packages=python3,python3-venv,ca-certificates
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard/images
# Another list of packages is another base.
name=callboard-base:$suite-$(printf '%s' "$packages" | sha256sum | head -c 12)
archive=$cache/${name/:/-}.tar

fail() {
    echo "base.sh: $*" >&2
    exit 1
}

make_archive() ( # a subshell, for its trap
    [ "$(id -u)" = 0 ] || fail "making a base image takes root"
    if ! command -v debootstrap >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update --quiet=2 && apt-get install --yes --quiet=2 --no-install-recommends debootstrap; } >&2 </dev/null
    fi
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" >"$work/log" 2>&1 </dev/null ||
        fail "debootstrap: $(tail -n 3 "$work/log")"
    # What no container reads.
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* \
        "$work"/root/usr/share/{doc,info,man,locale}/* "$work"/root/dev/*
    tar --directory "$work/root" --create --numeric-owner --file "$work/root.tar" .
    # At once: a run that is cut off leaves no half archive.
    mv "$work/root.tar" "$archive"
)

[ -s "$archive" ] || make_archive
if ! docker image inspect "$name" >/dev/null 2>&1; then
    docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' "$archive" "$name" >/dev/null
fi
echo "$name"
