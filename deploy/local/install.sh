#!/bin/sh
# Installs what the local stack and its tests need on Debian 12: daemons, Java and a C compiler with apt, Kafka's jars with
# Maven, and gobgpd 4 with a Go of its own. With --cluster, what `make cluster` needs as well.
# Quick and silent if everything is installed. The daemons are started neither now nor at boot: the stack runs its own.
# It may be killed at any point: the next run puts back what was moved aside, and finishes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
if [ "${1-}" = --cluster ]; then
    shift
    packages="$packages $cluster_packages"
fi

missing() {
    for package in $packages; do
        is_installed "$package" || echo "$package"
    done
}

# Replaces the note $1 by stdin.
note() {
    cat >"$state/$1.part"
    mv "$state/$1.part" "$state/$1"
}

# Adds the packages in $@ to the note $1.
add_to_note() {
    name=$1
    shift
    { [ ! -e "$state/$name" ] || cat "$state/$name"; [ $# = 0 ] || printf '%s\n' "$@"; } | sort -u | note "$name"
}

# Installs the packages in $@, and finishes what a run that was killed has begun; must run as root.
install_packages() {
    lock
    begin_quietly
    [ -e "$state/users" ] || cut -d: -f1 "$root/etc/passwd" | note users
    [ -e "$state/had-configuration" ] ||
        dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^rc //p' | note had-configuration
    add_to_note unfinished "$@"
    add_to_note installed "$@"

    log=$state/apt.log
    apt="apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0"
    if [ $# -gt 0 ] && ! { $apt update && $apt install -y --no-remove --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "apt could not install $*; see its log $log"
    fi
    # shellcheck disable=SC2046 # word splitting on purpose
    stay_off $(cat "$state/unfinished")
    restore_policy
    rm -f "$state/unfinished"
}

# Disables the services of the packages in $@: they were not started now, but the next boot would start them.
stay_off() {
    [ $# -gt 0 ] || return 0
    dpkg-query -L "$@" 2>/dev/null | sed -n 's|^.*/systemd/system/\([a-z-]*\)\.service$|\1|p' | while read -r unit; do
        if [ -x "$root/etc/init.d/$unit" ]; then update-rc.d "$unit" disable >/dev/null; fi &&
            if command -v systemctl >/dev/null; then systemctl --quiet disable "$unit.service"; fi ||
            echo "install.sh: $unit may start at boot; please disable it" >&2
    done
}

if [ "${1-}" = --as-root ]; then
    shift
    install_packages "$@"
    exit
fi

command -v apt-get >/dev/null ||
    fail "this system has no apt-get; please install these packages yourself: $packages"
wanted=$(missing | tr '\n' ' ')
if [ -n "$wanted" ] || is_unfinished; then
    ! is_unfinished || echo "finishing an installation that was interrupted" >&2
    [ -z "$wanted" ] || echo "installing $wanted" >&2
    # shellcheck disable=SC2086 # word splitting on purpose
    as_root $wanted
fi
"$here/kafka-jars.sh"
exec "$here/gobgp4.sh"
