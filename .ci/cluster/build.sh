#!/bin/sh
# Builds what a cluster consists of and no package carries, and prints the directory: kubernetes (all its programs, by
# their names), coredns, pause, and jaeger. Once for each content of go.sum and the sources; checkouts share it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
go=$here/../tools/go.sh
fingerprint=$(cd "$here" && cat go.mod go.sum jaeger/go.mod jaeger/go.sum build.sh */*.go | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/callboard
built=$cache/cluster-$fingerprint

if [ ! -d "$built" ]; then
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/cluster.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    version=$(sed -n 's/.*k8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$here/go.mod")
    minor=${version#v1.}
    flags="-s -w"
    # The programs say a version of their own making unless they are told.
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags="$flags -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
    done
    build() { # directory package
        (cd "$1" && CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false -ldflags "$flags" -o "$new/" "$2") >&2
    }
    echo "build.sh: building Kubernetes $version, CoreDNS and Jaeger, once: this takes minutes" >&2
    build "$here" ./kubernetes
    build "$here" ./coredns
    build "$here" ./pause
    build "$here/jaeger" github.com/jaegertracing/jaeger/cmd/jaeger
    for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
        ln -s kubernetes "$new/$program"
    done
    chmod 755 "$new"
    mv "$new" "$built"
fi
echo "$built"
