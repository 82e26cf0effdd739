#!/bin/sh
# check-jars.sh FOLDER LIST: succeeds if FOLDER has the jars of LIST (lines of sha256sum), byte by byte, and no other file.
set -eu
export LC_ALL=C
[ "$(ls "$1" 2>/dev/null)" = "$(sed 's/^[^ ]* [ *]//' "$2")" ] || { echo "$1 has not the jars of $2" >&2; exit 1; }
cd "$1"
exec sha256sum --strict --quiet -c "$2" >&2
