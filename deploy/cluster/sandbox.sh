#!/bin/sh
# The first process of a cluster, in network, mount and PID namespaces of its own: `unshare ... sandbox.sh STATE`.
# Whatever the cluster's daemons write, listen on or set, they do it here, and all of it ends with this process: the
# folder STATE is in memory, and so are the places outside of it that they write to whether one likes it or not.
set -eu
state=$1

mount -t tmpfs -o mode=755,size=8g tmpfs "$state"
mkdir "$state/var" "$state/work" "$state/sysctl"
mount -t overlay -o "lowerdir=/var,upperdir=$state/var,workdir=$state/work" overlay /var
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
[ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf # nobody answers here

# Settings of the whole machine that a kubelet sets: it sets ours.
while read -r key value; do
    file=$state/sysctl/$(echo "$key" | tr / .)
    echo "$value" >"$file"
    mount --bind "$file" "/proc/sys/$key"
done <<SETTINGS
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS

# Loopback is no address for a node, so it has one on a cable to the outside, where routers can stand.
ip link set lo up
ip netns add outside
ip link add node0 type veth peer name outside0 netns outside
ip address add 10.99.0.1/24 dev node0
ip link set node0 up
ip -n outside link set lo up
ip -n outside address add 10.99.0.2/24 dev outside0
ip -n outside link set outside0 up
ip -n outside route add default via 10.99.0.1
ip route add default dev node0 src 10.99.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
[ ! -e /proc/sys/net/bridge ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

touch "$state/ready"
exec env --ignore-signal=CHLD sleep infinity # so the kernel buries the orphans that come to the first process
