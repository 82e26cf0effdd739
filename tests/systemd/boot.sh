#!/bin/sh
# Boots this machine's systemd in namespaces of its own, on a copy of this machine's files that lives in memory:
#   boot.sh FOLDER CHECKOUT
# FOLDER/files is laid over them; CHECKOUT is at /opt/checkout. Of what this machine starts itself, it starts nothing.
# When it reboots, it comes back with its disk and its network. All is gone when this process ends, but the control
# groups called as FOLDER.
set -eu
folder=$1 checkout=$2 stage=${3-outside} root=$1/memory/root
group=$(basename "$folder")

trees() { awk '$3 ~ /^cgroup2?$/ {print $2, $3, $4}' /proc/mounts; }

case $stage in
outside)
    exec unshare --mount --pid --net --fork --kill-child=KILL --propagation private "$0" "$folder" "$checkout" disk
    ;;
disk)
    ip link set lo up
    echo 179 >/proc/sys/net/ipv4/ip_unprivileged_port_start # the routers on this network are no root
    mkdir "$folder/memory"
    mount -t tmpfs -o mode=755 tmpfs "$folder/memory"
    mkdir "$folder/memory/over" "$folder/memory/work" "$root"
    mount -t overlay -o "lowerdir=/,upperdir=$folder/memory/over,workdir=$folder/memory/work" overlay "$root"
    rm -rf "$root"/etc/systemd/system/*.wants
    cp -a "$folder/files/." "$root"
    mkdir -p "$root/opt/checkout" "$root/opt/old"
    mount --bind "$checkout" "$root/opt/checkout"
    status=129
    while [ "$status" = 129 ]; do # SIGHUP, by which the kernel ends a first process that reboots
        status=0
        unshare --mount --pid --ipc --uts --fork --kill-child=KILL "$0" "$folder" "$checkout" machine || status=$?
    done
    exit "$status"
    ;;
machine)
    # In groups of its own where nobody else is, or cgroup v2 would let it limit nothing. It removes them when it ends.
    trees | while read -r tree _; do
        mkdir -p "$tree/$group"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$tree/$file" ] || cat "$tree/$file" >"$tree/$group/$file"
        done
        [ ! -e "$tree/cgroup.clone_children" ] || echo 1 >"$tree/$group/cgroup.clone_children"
        echo 0 >"$tree/$group/cgroup.procs"
    done
    exec unshare --cgroup "$0" "$folder" "$checkout" mounts
    ;;
esac

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys" # the machine's own
mount -t sysfs -o ro sysfs "$root/sys"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
trees | while read -r tree type options; do
    mkdir -p "$root$tree"
    mount -t "$type" -o "$options" "$type" "$root$tree"
done
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx" # without it, no unit with PrivateDevices starts
ln -s /proc/self/fd "$root/dev/fd"
for path in dev/shm run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$path"; done
chmod 755 "$root/run"
cd "$root"
pivot_root . opt/old
umount -l /opt/old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target </dev/null
