#!/bin/sh
# Runs uv with this machine's package settings: requirements/uv.sh ARGUMENTS...
#
# A uv on PATH is taken as it is. Otherwise the version pinned in uv.txt, checked by hash, goes to .tools/: by
# venv and pip, or by pip alone. Debian packs both of them apart from Python, so root there gets them with apt-get.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.tools
lock=$root/requirements/uv.txt

fail() {
    echo "uv.sh: $*" >&2
    exit 1
}

# What pip is told on this machine under the name $1: by its environment, else by its configuration files.
pip_setting() {
    variable=PIP_$(echo "$1" | tr 'a-z-' 'A-Z_')
    value=$(printenv "$variable") || value=$(
        cat /etc/pip.conf "${XDG_CONFIG_HOME:-${HOME:-/root}/.config}/pip/pip.conf" "${HOME:-/root}/.pip/pip.conf" \
            "${PIP_CONFIG_FILE:-/dev/null}" 2>/dev/null | sed -n "s/^ *$1 *[=:] *//p" | tail -n 1
    )
    echo "$value"
}

# Sets the environment variable $1 to $2, unless it is set already or $2 is empty.
default() {
    if [ -z "$(printenv "$1")" ] && [ -n "$2" ]; then export "$1=$2"; fi
}

with_venv() {
    python3 -m venv "$tools/venv" >/dev/null 2>&1 || return 1
    "$tools/venv/bin/python" -m pip install --quiet --require-hashes --requirement "$lock" || fail "pip could not install uv"
    ln -sf ../venv/bin/uv "$tools/bin/uv"
}

with_pip() {
    python3 -m pip --version >/dev/null 2>&1 || return 1
    python3 -m pip install --quiet --target "$tools/pip" --require-hashes --requirement "$lock" || fail "pip could not install uv"
    ln -sf ../pip/bin/uv "$tools/bin/uv"
}

with_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "uv.sh: this Python has neither venv nor pip: installing python3-venv with apt-get" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends python3-venv; } >"$tools/apt.log" 2>&1 </dev/null ||
        fail "apt-get could not install python3-venv: $(tail -n 1 "$tools/apt.log") (all of it: $tools/apt.log)"
    with_venv
}

if uv=$(command -v uv); then
    :
else
    uv=$tools/bin/uv
    # A newer pin, or a tools directory that was cut off half way, starts again.
    if ! cmp -s "$lock" "$tools/uv.txt" || [ ! -x "$uv" ]; then
        command -v python3 >/dev/null || fail "python3 is missing: install Python 3.11 or newer"
        rm -rf "$tools"
        mkdir -p "$tools/bin"
        with_venv || { rm -rf "$tools/venv" && with_pip; } || with_apt ||
            fail "install uv, or venv or pip for $(command -v python3) (on Debian: apt-get install python3-venv), then try again"
        cp "$lock" "$tools/uv.txt"
    fi
fi

# uv reads neither pip's settings nor the system's certificates by itself. UV_NATIVE_TLS is what older versions call it.
default UV_SYSTEM_CERTS 1
default UV_NATIVE_TLS 1
default SSL_CERT_FILE "$(pip_setting cert)"
[ -n "${UV_INDEX_URL:-}" ] || default UV_DEFAULT_INDEX "$(pip_setting index-url)"
[ -n "${UV_EXTRA_INDEX_URL:-}" ] || default UV_INDEX "$(pip_setting extra-index-url)"
# The machine's Python, never one that uv downloads.
export UV_PYTHON_DOWNLOADS=never UV_PYTHON_PREFERENCE=system
exec "$uv" "$@"
