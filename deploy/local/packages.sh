# What install.sh and uninstall.sh share: the Debian packages, the notes about them, and policy-rc.d. To be sourced.
# shellcheck shell=sh
packages="gobgpd frr bird2 exabgp pmacct openvswitch-switch ethtool openjdk-17-jre-headless maven python3-venv chromium libatomic1 gcc libc6-dev faketime prometheus systemd conntrack nftables"
cluster_packages="containerd runc containernetworking-plugins iptables ipset buildah debootstrap"
root=${INSTALL_ROOT-} # only tests set it
policy=$root/usr/sbin/policy-rc.d
ours="egress-autopilot: no daemon is started while its packages are being installed"

# Notes of root's, written before what they are about is done, so they are true whenever we are killed:
#   installed          packages that we install and that were not there before
#   had-configuration  packages of which only the configuration was there then; users: the accounts that were there
#   unfinished         packages of an installation that has not come to its end
state=$root/var/lib/egress-autopilot

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Runs this script again as root, with these arguments.
as_root() {
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
    [ -z "$sudo" ] || command -v sudo >/dev/null || fail "needs root or sudo for apt: $*"
    $sudo sh "$0" --as-root "$@"
}

is_installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]
}

# Waits for another run, and for the apt of one that was killed: apt and dpkg inherit the lock.
lock() {
    umask 022
    mkdir -p "$state"
    exec 9>"$state/lock"
    flock -w 600 9 || fail "another installation still runs: it holds $state/lock"
}

# Whether policy-rc.d is ours. It is never half written, as each change of it is one rename.
is_ours() {
    grep -qsx "# $ours" "$policy"
}

# Whether an installation has not come to its end.
is_unfinished() {
    is_ours || [ -e "$state/unfinished" ]
}

forbid_starts() {
    if [ -e "$policy" ] || [ -L "$policy" ]; then
        cp -a "$policy" "$policy.autopilot-part"
        mv -fT "$policy.autopilot-part" "$policy.autopilot-saved"
    fi
    printf '#!/bin/sh\n# %s\nexit 101\n' "$ours" >"$policy.autopilot-part"
    chmod 755 "$policy.autopilot-part"
    mv -fT "$policy.autopilot-part" "$policy"
}

# Puts back what was there before, if what is there is ours; anything else is the operator's and stays.
restore_policy() {
    if is_ours; then
        if [ -e "$policy.autopilot-saved" ] || [ -L "$policy.autopilot-saved" ]; then
            mv -fT "$policy.autopilot-saved" "$policy"
        else
            rm -f "$policy"
        fi
    fi
    rm -f "$policy.autopilot-saved" "$policy.autopilot-part"
}

# From here to the end of the script, packages start nothing.
begin_quietly() {
    restore_policy # of a run that was killed
    trap restore_policy EXIT
    trap 'exit 1' HUP INT TERM
    forbid_starts
    export DEBIAN_FRONTEND=noninteractive
    [ ! -e "$state/unfinished" ] || dpkg --configure -a >"$state/dpkg.log" 2>&1 || true # apt mends the rest
}
