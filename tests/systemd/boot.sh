#!/bin/sh
# Boots this machine's systemd in namespaces of its own, on a copy of this machine's files that lives in memory:
#   boot.sh FOLDER CHECKOUT
# FOLDER/files is laid over them; CHECKOUT is at /opt/checkout. All is gone when the first process ends, but the control
# groups called as FOLDER.
set -eu
folder=$1 checkout=$2 root=$1/memory/root
group=$(basename "$folder")
if [ "${3-}" != inside ]; then
    awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts | while read -r tree; do
        mkdir "$tree/$group"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$tree/$file" ] || cat "$tree/$file" >"$tree/$group/$file"
        done
        [ ! -e "$tree/cgroup.clone_children" ] || echo 1 >"$tree/$group/cgroup.clone_children"
        echo $$ >"$tree/$group/cgroup.procs"
    done
    exec unshare --mount --pid --cgroup --net --ipc --uts --fork --kill-child=KILL --propagation private \
        "$0" "$folder" "$checkout" inside
fi

ip link set lo up
mkdir "$folder/memory"
mount -t tmpfs -o mode=755 tmpfs "$folder/memory"
mkdir "$folder/memory/over" "$folder/memory/work" "$root"
cp -a "$folder/files/." "$folder/memory/over"
mount -t overlay -o "lowerdir=/,upperdir=$folder/memory/over,workdir=$folder/memory/work" overlay "$root"
mkdir -p "$root/opt/checkout" "$root/opt/old"
mount --bind "$checkout" "$root/opt/checkout"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys" # the machine's own
mount -t sysfs -o ro sysfs "$root/sys"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
awk '$3 ~ /^cgroup2?$/ {print $2, $3, $4}' /proc/mounts | while read -r tree type options; do
    mkdir -p "$root$tree"
    mount -t "$type" -o "$options" "$type" "$root$tree"
done
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
for path in dev/shm run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$path"; done
chmod 755 "$root/run"
cd "$root"
pivot_root . opt/old
umount -l /opt/old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target </dev/null
