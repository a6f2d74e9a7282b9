#!/usr/bin/env bash
# Makes sure that a Docker daemon answers: docker.sh [start | stop]
#
# One that answers is taken as it is. Otherwise root gets Debian's docker.io, where dockerd is missing, and starts
# dockerd with a containerd of its own: by itself dockerd would join the one of a Kubernetes node on the same machine.
# `stop` ends what `start` has started, and nothing else.
set -euo pipefail

state=/run/callboard-docker
patience_s=60

fail() {
    echo "docker.sh: $*" >&2
    exit 1
}

answers() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

is_alive() { # name: whether the process in its pid file runs, and is still what the file says
    local program
    program=$(readlink "/proc/$(cat "$state/$1.pid" 2>/dev/null || echo none)/exe") && [ "${program##*/}" = "$1" ]
}

await() { # name command...: until the command succeeds; fails when the process called name ends first
    local name=$1 end=$((SECONDS + patience_s))
    shift
    until "$@"; do
        kill -0 "$(cat "$state/$name.pid")" 2>/dev/null && [ $SECONDS -lt $end ] || fail "$name does not answer: $(tail -n 1 "$state/$name.log") (all of it: $state/$name.log)"
        sleep 0.2
    done
}

run() { # name arguments...: in a session of its own, so that it outlives the terminal
    setsid "$@" >"$state/$1.log" 2>&1 </dev/null &
    echo $! >"$state/$1.pid"
}

install() {
    local packages=(docker.io iptables) extra
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2
    # Newer Debians pack the client, and BuildKit's part of it, apart.
    for extra in docker-cli docker-buildx; do
        [ -z "$(apt-cache madison "$extra")" ] || packages+=("$extra")
    done
    # Where systemd is at work, this also starts it.
    apt-get install --yes --quiet=2 --no-install-recommends "${packages[@]}"
}

start() {
    ! answers || return 0
    [ "$(id -u)" = 0 ] || fail "no Docker daemon answers, and only root can start one"
    [ -z "${DOCKER_HOST:-}" ] || fail "no Docker daemon answers at $DOCKER_HOST"
    if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
        command -v apt-get >/dev/null || fail "dockerd is missing: install Docker"
        install >&2 </dev/null
        ! answers || return 0
    fi
    mkdir -p "$state"
    if ! is_alive containerd; then
        cat >"$state/containerd.toml" <<TOML
version = 2
root = "/var/lib/callboard-docker/containerd"
state = "$state/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$state/containerd.sock"
TOML
        rm -f "$state/containerd.sock"
        run containerd --config "$state/containerd.toml"
    fi
    await containerd test -S "$state/containerd.sock"
    if ! is_alive dockerd; then
        # A pid file of its own: what a killed dockerd left there may be removed.
        rm -f "$state/docker.pid"
        run dockerd --containerd "$state/containerd.sock" --pidfile "$state/docker.pid"
    fi
    await dockerd answers
}

stop() {
    local name end
    # dockerd first: it ends its containers by containerd.
    for name in dockerd containerd; do
        ! is_alive "$name" || kill "$(cat "$state/$name.pid")"
        end=$((SECONDS + patience_s))
        while is_alive "$name"; do
            [ $SECONDS -lt $end ] || fail "$name does not end"
            sleep 0.2
        done
        rm -f "$state/$name.pid"
    done
}

case ${1:-start} in
start) start ;;
stop) stop ;;
*) fail "start or stop, not $1" ;;
esac
