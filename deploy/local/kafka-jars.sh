#!/bin/sh
# Copies Kafka's jars to .cache/kafka in the checkout; does nothing if pom.xml has not changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache/kafka
cmp -s "$here/pom.xml" "$cache/pom.xml" && exit 0

# The copy of pom.xml is written last, so an interrupted run starts over.
rm -rf "$cache"
mkdir -p "$cache"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/libs"
cp "$here/pom.xml" "$cache/pom.xml"
