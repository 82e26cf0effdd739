#!/bin/sh
# Installs what the local stack and its tests need on Debian 12: daemons, Java and a C compiler with apt, Kafka's jars with
# Maven, and gobgpd 4 with a Go of its own.
# Quick and silent if everything is installed. The daemons are started neither now nor at boot: the stack runs its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
packages="gobgpd frr bird2 exabgp pmacct openvswitch-switch ethtool openjdk-17-jre-headless maven python3-venv chromium libatomic1 gcc libc6-dev faketime prometheus"
policy=/usr/sbin/policy-rc.d

missing() {
    for package in $packages; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || true
        [ "$status" = "install ok installed" ] || echo "$package"
    done
}

restore_policy() {
    rm -f "$policy"
    [ ! -e "$policy.saved" ] || mv "$policy.saved" "$policy"
}

# Installs the packages in $@; must run as root.
install_packages() {
    log=$(mktemp)
    trap restore_policy EXIT
    trap 'exit 1' HUP INT TERM
    [ ! -e "$policy" ] || mv "$policy" "$policy.saved"
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"

    export DEBIAN_FRONTEND=noninteractive
    apt="apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0"
    if ! { $apt update && $apt install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "install.sh: apt could not install $*; see its log $log" >&2
        exit 1
    fi
    rm -f "$log"
    stay_off "$@"
}

# Disables the services of the packages in $@: they were not started now, but the next boot would start them.
stay_off() {
    dpkg-query -L "$@" | sed -n 's|^.*/systemd/system/\([a-z-]*\)\.service$|\1|p' | while read -r unit; do
        if [ -x "/etc/init.d/$unit" ]; then update-rc.d "$unit" disable >/dev/null; fi &&
            if command -v systemctl >/dev/null; then systemctl --quiet disable "$unit.service"; fi ||
            echo "install.sh: $unit may start at boot; please disable it" >&2
    done
}

if [ "${1-}" = --as-root ]; then
    shift
    install_packages "$@"
    exit
fi

if ! command -v apt-get >/dev/null; then
    echo "install.sh: this system has no apt-get; please install these packages yourself: $packages" >&2
    exit 1
fi
wanted=$(missing | tr '\n' ' ')
if [ -n "$wanted" ]; then
    echo "installing $wanted" >&2
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
    if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
        echo "install.sh: needs root or sudo to install with apt: $wanted" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # word splitting on purpose
    $sudo sh "$here/install.sh" --as-root $wanted
fi
"$here/kafka-jars.sh"
exec "$here/gobgp4.sh"
