# How the scripts of this folder speak: results on stdout, everything else on stderr, errors in three parts.
# Sourced, never run.
# shellcheck shell=bash

program=${0##*/}

# One line per step, so that a log stays readable and a person sees that something happens.
step() { printf '%s: %s\n' "$program" "$*" >&2; }

warn() { printf '%s: WARNING: %s\n' "$program" "$*" >&2; }

# What a failure exits with, where a script's own statuses mean something else.
failure_status=1

# fail WHAT WHY TODO: what happened, why, and what the reader can do about it.
fail() {
    printf '%s: ERROR: %s\n  why:  %s\n  what to do:  %s\n' "$program" "$1" "$2" "$3" >&2
    exit "$failure_status"
}

# The comment that opens a script is its manual; this prints it.
print_manual() { sed -n '2,/^[^#]/{ s/^# \{0,1\}//p }' "$0"; }

usage_error() {
    printf '%s: ERROR: %s\n  what to do:  see %s --help\n' "$program" "$1" "$0" >&2
    exit 2
}

have() { command -v -- "$1" >/dev/null; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# as_root COMMAND...: runs it with the right to change the system, or says that it cannot.
as_root() {
    if is_root; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        fail "cannot run '$*'" "it needs root, and there is no sudo on this machine" "run that command as root, then run this again"
    fi
}

# Where everything that we build and can build again lives: never in the checkout. What root builds is for everybody to
# read; a user's is the user's alone, as a server that keeps its own cache there insists.
cache_directory() {
    if is_root; then
        printf '%s\n' /var/cache/stap-server
    else
        printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/stap-server"
    fi
}

make_cache_directory() {
    local directory mode=0700
    directory=$(cache_directory)
    ! is_root || mode=0755
    mkdir -p -- "$directory"
    chmod "$mode" -- "$directory"
}

# require_packages PACKAGE...: installs those Debian packages that are not there yet.
require_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' -- "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    have apt-get || fail "these packages are missing: ${missing[*]}" "this machine has no apt-get" "install them by hand"
    step "installing packages: ${missing[*]}"
    # An old package list asks for files that the mirror no longer has, so a failure is tried once more with a new list.
    install_packages "${missing[@]}" || { as_root apt-get -qq update >&2 && install_packages "${missing[@]}"; } ||
        fail "the packages could not be installed: ${missing[*]}" "apt-get refused (its message is above)" "make 'apt-get install' of them work, then run this again"
}

install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends --yes -- "$@" </dev/null >/dev/null
}
