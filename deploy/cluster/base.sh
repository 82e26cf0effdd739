#!/bin/sh
# Writes the files of a Debian 12 to the archive $1, from the mirror that apt of this machine uses: a base for images
# where no registry has one. It also has what downloads on this machine need: certificates, and pip.conf.
# To be run in a mount namespace of its own, because debootstrap may leave proc and sys mounted.
set -eu
archive=$1
unmount() {
    umount -l "$work/proc" "$work/sys" 2>/dev/null || true
}

work=$(mktemp -d "$archive.XXXXXX")
trap 'unmount; rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM

# shellcheck disable=SC2016 # apt fills it in
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
# shellcheck disable=SC2086 # none is debootstrap's own choice
debootstrap --variant=minbase --include=ca-certificates bookworm "$work" $mirror
rm -f "$work"/var/cache/apt/archives/*.deb
for file in /usr/local/share/ca-certificates/*.crt /etc/pip.conf; do
    [ ! -e "$file" ] || cp "$file" "$work$file"
done
chroot "$work" update-ca-certificates
unmount
chmod 755 "$work"
tar --one-file-system -C "$work" -cf "$archive" .
