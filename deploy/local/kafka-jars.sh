#!/bin/sh
# Copies Kafka's jars to .cache/kafka in the checkout; does nothing if those of kafka-jars.sha256 are there.
# After a change of pom.xml, `kafka-jars.sh --new-list` writes the list; compare it with what Apache publishes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
list=$here/kafka-jars.sha256
libs=$here/../../.cache/kafka/libs
[ "${1-}" = --new-list ] || ! "$here/check-jars.sh" "$libs" "$list" 2>/dev/null || exit 0

# -C refuses what does not match the checksums beside it. They come the same way as the jars, so the list has the last word.
rm -rf "$libs"
mkdir -p "$libs"
mvn -q -B -C -f "$here/pom.xml" -Dmaven.repo.local="${XDG_CACHE_HOME:-$HOME/.cache}/egress-autopilot/maven" \
    dependency:copy-dependencies -DoutputDirectory="$libs" >&2
[ "${1-}" != --new-list ] || (cd "$libs" && LC_ALL=C sha256sum -- *.jar >"$list")
"$here/check-jars.sh" "$libs" "$list" || { rm -rf "$libs"; exit 1; }
