#!/bin/sh
# The first process of a cluster, in network, mount and PID namespaces of its own: `unshare ... sandbox.sh STATE NODE...`
# Whatever the cluster's daemons write, listen on or set, they do it here, and all of it ends with this process: the
# folder STATE is in memory, and so are the places outside of it that they write to whether one likes it or not.
set -eu
state=$1
shift

mount -t tmpfs -o mode=755,size=14g tmpfs "$state"
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

# The fabric: what stands here is outside of the nodes, as the API server is, and what routers are on a cable with. Each
# node has a network of its own. Pods keep their addresses within the fabric, and leave it with one of its own.
ip link set lo up
ip link add fabric type bridge
ip address add 10.99.0.254/24 dev fabric
ip link set fabric up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
nft -f - <<RULES
table ip fabric {
    chain leave {
        type nat hook postrouting priority srcnat
        oifname != "fabric" ip saddr 10.98.0.0/16 masquerade
    }
}
RULES
number=0
for node; do
    number=$((number + 1))
    ip netns add "$node"
    ip link add "$node" type veth peer name eth0 netns "$node"
    ip link set "$node" master fabric up
    ip -n "$node" link set lo up
    ip -n "$node" address add "10.99.0.$number/24" dev eth0
    ip -n "$node" link set eth0 up
    ip -n "$node" route add default via 10.99.0.254
    ip route add "10.98.$number.0/24" via "10.99.0.$number"
    ip netns exec "$node" sh -c 'cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 0 >ipv4/conf/all/rp_filter
        [ ! -e bridge ] || echo 1 >bridge/bridge-nf-call-iptables'
done
[ "$number" = 0 ] || ip route add 10.97.0.0/16 via 10.99.0.1 # for those outside who ask for a Service

touch "$state/ready"
exec env --ignore-signal=CHLD sleep infinity # so the kernel buries the orphans that come to the first process
