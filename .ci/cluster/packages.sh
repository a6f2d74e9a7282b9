#!/bin/sh
# Sees to the parts of a cluster that packages carry: on Debian, as root, they are installed where they are missing.
set -eu

missing=
need() { # package command
    command -v "$2" >/dev/null || missing="$missing $1"
}

need containerd containerd
need containernetworking-plugins /usr/lib/cni/bridge
need conntrack conntrack
need etcd-server etcd
need iproute2 ip
need iptables iptables
need mount mount
need openssl openssl
need runc runc
need util-linux unshare

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "packages.sh: missing:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2 </dev/null
# Word by word: shellcheck disable=SC2086
apt-get install --yes --quiet=2 --no-install-recommends $missing </dev/null
