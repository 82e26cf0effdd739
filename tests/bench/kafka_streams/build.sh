#!/bin/sh
# Builds the Kafka Streams peer into .cache/bench-kafka-streams of the checkout; does nothing while it is newer than here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
built=$here/../../../.cache/bench-kafka-streams
[ -e "$built/done" ] && [ -z "$(find "$here" -type f -newer "$built/done")" ] && exit 0
command -v javac >/dev/null || { echo "javac is not installed: apt package openjdk-17-jdk-headless" >&2; exit 1; }

rm -rf "$built"
mkdir -p "$built"
mvn -q -B -f "$here/pom.xml" -Dbuilt="$built" -Dmaven.test.skip=true package dependency:copy-dependencies \
  -DoutputDirectory="$built/libs" >&2
touch "$built/done"
