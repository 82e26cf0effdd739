#!/bin/sh
# Builds the Kafka Streams peer into .cache/bench-kafka-streams of the checkout; does nothing while it is newer than here.
# After a change of pom.xml, `build.sh --new-list` writes the list of its jars.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
built=$root/.cache/bench-kafka-streams
[ -z "${1-}" ] && [ -e "$built/done" ] && [ -z "$(find "$here" -type f -newer "$built/done")" ] && exit 0
command -v javac >/dev/null || { echo "javac is not installed: apt package openjdk-17-jdk-headless" >&2; exit 1; }

rm -rf "$built"
mkdir -p "$built"
mvn -q -B -C -f "$here/pom.xml" -Dbuilt="$built" -Dmaven.test.skip=true \
  -Dmaven.repo.local="${XDG_CACHE_HOME:-$HOME/.cache}/egress-autopilot/maven" \
  package dependency:copy-dependencies -DoutputDirectory="$built/libs" >&2
[ "${1-}" != --new-list ] || (cd "$built/libs" && LC_ALL=C sha256sum -- *.jar >"$here/jars.sha256")
"$root/deploy/local/check-jars.sh" "$built/libs" "$here/jars.sha256"
touch "$built/done"
