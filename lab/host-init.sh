#!/usr/bin/env bash
# PID 1 of one lab host, started by up.sh in fresh namespaces: host-init.sh NAME
# Puts the host's own files over every place that a hypervisor writes to, runs its daemons,
# reaps orphans, and starts daemons again that are named in /run/lab.control (see fault.sh).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
name=$1
dir=$(host_dir "$name")

# /proc is still the machine's: it shows who we are outside
read -r outside _ </proc/self/stat
process_identity "$outside" >"$dir/init.pid"

mount --make-rprivate /
mount -t proc proc /proc
# The machine's own mounts go first: libvirt reads the list of mounts, and would use control groups
# of the machine that are listed there and hidden below ours.
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys # of this network namespace
# Control groups, rooted in this cgroup namespace, in the version that the machine runs: where
# version 2 lacks the CPU controller (hybrid machines), the controllers are in version 1.
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null || true
if ! grep -qw cpu /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
  umount /sys/fs/cgroup 2>/dev/null || true
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  # one hierarchy per line, "NUMBER:CONTROLLER[,CONTROLLER]:PATH"; version 2 has no controllers there
  while IFS=: read -r _ controllers _; do
    case $controllers in '' | name=*) continue ;; esac
    mkdir "/sys/fs/cgroup/$controllers"
    mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
  done </proc/self/cgroup
fi
mkdir -p /var/lib/kvm-manager # a place to mount on; nothing is written to the machine's own
for place in etc root run var/cache var/log var/lib/libvirt var/lib/kvm-manager; do
  mount --bind "$dir/$place" "/$place"
done
# Guests run under TCG on every machine alike. Needed, too, where the node is there but QEMU's
# user may not open it: libvirt then probes QEMU anew, for seconds, at each define and start.
if [ -e /dev/kvm ] && [ "${KVM_LAB_KVM:-0}" != 1 ]; then
  install -m 000 /dev/null /run/no-kvm
  mount --bind /run/no-kvm /dev/kvm
fi
mount --make-rshared / # mounts made later reach the guests' own namespaces
hostname "$name"
mkdir -p /run/sshd /run/lock /run/libvirt
ip link set lo up
wait_for 10 test -e /sys/class/net/eth0 # up.sh plugs the cable in
ip link set eth0 up
ip address add "$(host_address "$name")/24" dev eth0
ip route add default via "$KVM_LAB_NET.1"
# In version 2 a group that has processes cannot hand controllers down to libvirt's groups, so
# they move one level deeper (up.sh did so with our launcher before it plugged the cable in).
if [ -e /sys/fs/cgroup/cgroup.subtree_control ]; then
  mkdir -p /sys/fs/cgroup/init
  echo $$ >/sys/fs/cgroup/init/cgroup.procs
  for controller in $(</sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
  done
fi

# As on a booted machine. In the C locale libvirtd cuts a long name within a character, and QEMU
# refuses the path that it makes of it.
export LC_ALL=C.UTF-8
# A daemon gone mad must not eat the machine. QEMU inherits it: guests stay below 8 GiB.
limits=(--as=$((8 << 30)) --nofile=16384)
start() {
  local pid
  if { read -r pid <"/run/lab.$1.pid"; } 2>/dev/null &&
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]; then return; fi # it runs
  case $1 in
    virtlogd) prlimit "${limits[@]}" virtlogd & ;;
    libvirtd) prlimit "${limits[@]}" libvirtd --listen & ;;
    sshd) prlimit "${limits[@]}" /usr/sbin/sshd -D -e -f /etc/ssh/lab_sshd_config & ;;
    *) echo "no daemon $1"; return ;;
  esac
  echo $! >"/run/lab.$1.pid"
}
mkfifo -m 600 /run/lab.control
exec 3<>/run/lab.control # open for writing too: reading never meets an end
for daemon in "${lab_daemons[@]}"; do start "$daemon"; done
while :; do
  # bash reaps whatever ends meanwhile: QEMU, dnsmasq, swtpm
  if read -r daemon <&3; then start "$daemon"; fi
done
