#!/usr/bin/env bash
# docker build, with BuildKit and with this machine's package settings: deploy/docker-build.sh ARGUMENTS...
#
# Where pip or uv is told of indexes or of certificates, by the environment or by pip's files, the build has two secrets:
#   pip.conf   the indexes, and cert = /run/secrets/ca.crt
#   ca.crt     the certificates
# A Dockerfile mounts them for the RUN lines that need them; they stay out of the image. DOCKER picks the docker command.
set -euo pipefail

uv=$(dirname "$0")/../requirements/uv.sh

fail() {
    echo "docker-build.sh: $*" >&2
    exit 1
}

# Docker's client had BuildKit in it until 22; since 23 a plugin has it.
speaks_buildkit() { # docker
    local version
    ! "$1" buildx version >/dev/null 2>&1 || return 0
    version=$("$1" --version | sed -n 's/^Docker version \([0-9]*\)\..*/\1/p')
    [ "${version:-99}" -lt 23 ]
}

find_docker() {
    local docker found
    mapfile -t found < <(if [ -n "${DOCKER:-}" ]; then echo "$DOCKER"; else type -ap docker; fi)
    [ ${#found[@]} -gt 0 ] || fail "docker is missing: install it"
    for docker in "${found[@]}"; do
        ! speaks_buildkit "$docker" || { echo "$docker" && return; }
    done
    fail "no BuildKit in ${found[*]}: install docker's buildx plugin (on Debian: docker-buildx)"
}

# What uv.sh makes of the settings: of the variables given, the first that is set.
setting() { # variable...
    local name
    for name in "$@"; do
        sed -n "s/^$name=//p" "$secrets/environment" | grep . && return
    done
    true
}

docker=$(find_docker)
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
"$uv" run --quiet --no-project -- env >"$secrets/environment"
index=$(setting UV_DEFAULT_INDEX UV_INDEX_URL)
extra_index=$(setting UV_INDEX UV_EXTRA_INDEX_URL)
certificates=$(setting SSL_CERT_FILE)

options=()
if [ -n "$index$extra_index$certificates" ]; then
    {
        echo "[global]"
        [ -z "$index" ] || echo "index-url = $index"
        [ -z "$extra_index" ] || echo "extra-index-url = $extra_index"
        [ -z "$certificates" ] || echo "cert = /run/secrets/ca.crt"
    } >"$secrets/pip.conf"
    options+=(--secret "id=pip.conf,src=$secrets/pip.conf")
fi
[ -z "$certificates" ] || options+=(--secret "id=ca.crt,src=$certificates")

DOCKER_BUILDKIT=1 "$docker" build ${options[@]+"${options[@]}"} "$@"
