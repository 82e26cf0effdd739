#!/bin/sh
# Removes what `make` has made and installed, and says what stays. It asks nothing; --dry-run only says what it would do.
# Of the Debian packages it removes those that were not there before the first `make` and that no other package needs.
# It may be killed at any point: the next run goes on.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
checkout=$(cd "$here/../.." && pwd)

noted() {
    [ ! -e "$state/$1" ] || cat "$state/$1"
}

# The packages that apt would remove because nothing needs them, if those in $@ had come for others' sake only.
unneeded_without() {
    marks=$(mktemp)
    cp "$root/var/lib/apt/extended_states" "$marks" 2>/dev/null || true
    [ $# = 0 ] || apt-mark -o Dir::State::extended_states="$marks" auto "$@" >/dev/null
    apt-get -o Dir::State::extended_states="$marks" -s autoremove | sed -n 's/^Remv \([^ ]*\).*/\1/p' | sort
    rm "$marks"
}

# The packages that came for us and that nobody else needs, with those that came for their sake.
removable() {
    lists=$(mktemp -d)
    unneeded_without >"$lists/before"
    # shellcheck disable=SC2046 # word splitting on purpose
    unneeded_without $(noted installed | while read -r each; do ! is_installed "$each" || echo "$each"; done) \
        >"$lists/after"
    comm -13 "$lists/before" "$lists/after"
    rm -r "$lists"
}

# Removes the packages in $@; must run as root.
remove_packages() {
    lock
    ! is_unfinished || begin_quietly
    { noted removing; printf '%s\n' "$@"; } | sort -u >"$state/removing.part"
    mv "$state/removing.part" "$state/removing"
    # Configuration that was there before us stays.
    noted had-configuration | sort | comm -13 - "$state/removing" >"$state/purging"

    export DEBIAN_FRONTEND=noninteractive
    apt="apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0"
    # shellcheck disable=SC2046 # word splitting on purpose
    if ! { $apt remove $(cat "$state/removing") && $apt purge $(cat "$state/purging"); } >"$state/apt.log" 2>&1; then
        tail -n 20 "$state/apt.log" >&2
        fail "apt could not remove $*; see its log $state/apt.log"
    fi
    cut -d: -f1 "$root/etc/passwd" | sort >"$state/users-now"
    [ ! -e "$state/users" ] ||
        sort "$state/users" | comm -13 - "$state/users-now" | sed 's/^/stays: an account that was not there before: /'
    restore_policy
    rm -r "$state"
}

# What `make` makes: in the checkout, and under the user's own cache. Caches of the tests' tools are included.
made() {
    (
        cd "$checkout"
        ls -d .venv .cache dist __pycache__ .hypothesis .mypy_cache .pytest_cache .ruff_cache app/native/libnative.so 2>/dev/null |
            sed "s|^|$checkout/|"
        find app agents tables tests hatch_build.py -name __pycache__ -prune 2>/dev/null | sed "s|^|$checkout/|"
    )
    ls -d "${XDG_CACHE_HOME:-$HOME/.cache}/egress-autopilot" 2>/dev/null || true
    for run in "${TMPDIR:-/tmp}"/autopilot-*; do
        if { [ -e "$run/ports.json" ] || [ -e "$run/kubelet.yaml" ]; } && [ ! -L "$run" ] && { [ -O "$run" ] || [ "$(id -u)" = 0 ]; }; then
            if grep -qsF "$run/" /proc/[0-9]*/cmdline; then
                echo "stays: $run is in use; stop that run, then run this again" >&2
            else
                echo "$run"
            fi
        fi
    done
}

case "${1-}" in
--as-root)
    shift
    remove_packages "$@"
    exit
    ;;
--dry-run) verb="would remove" ;;
"") verb="removing" ;;
*) fail "unknown option $1; the only one is --dry-run" ;;
esac

made | while read -r path; do
    echo "$verb $path"
    [ "$verb" = "would remove" ] || rm -rf "$path"
done

if [ ! -d "$state" ]; then
    echo "stays: every Debian package, because make has installed none here"
    exit
fi
going=$(removable | tr '\n' ' ')
for package in $packages; do
    if is_installed "$package"; then
        case " $going " in
        *" $package "*) ;;
        *)
            if noted installed | grep -qx "$package"; then why="others need it"; else why="it was there before"; fi
            echo "stays: package $package, because $why"
            ;;
        esac
    fi
done
[ -z "$going" ] || echo "$verb packages $going"
[ "$verb" = "would remove" ] || as_root $going
echo "stays: apt's lists of available packages"
