#!/usr/bin/env bash
# Proves the lab itself (root, about a minute): hosts answer over every transport, guests boot from
# their disk by BIOS and by UEFI and answer their agent, faults bite and heal, and whatever happens,
# an up.sh killed half-way included, "down.sh --purge" leaves the machine as it was.
# Runs in a lab of its own, beside any other.
set -euo pipefail
export KVM_LAB=${KVM_LAB:-/var/tmp/kvm-manager-selftest}
export KVM_LAB_BRIDGE=${KVM_LAB_BRIDGE:-kmself0} KVM_LAB_NET=${KVM_LAB_NET:-10.80.0}
. "$(dirname "$0")/lib.sh"
lab_check_settings
trap '"$lab_scripts/down.sh" --purge' EXIT
trap 'exit 130' INT TERM

ok() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
on() { virsh -q -c "$(host_uri "$1" "${transport:-unix}")" "${@:2}"; }
# What of the lab the machine shows: interfaces, mounts, control groups, packet filter, files, processes.
machine() {
  ip -o link | cut -d: -f2 | cut -d@ -f1 | grep "^ $KVM_LAB_BRIDGE" || true
  grep -F "$KVM_LAB" /proc/mounts || true
  find /sys/fs/cgroup -maxdepth 2 -name "$KVM_LAB_BRIDGE*"
  nft list ruleset
  find "$KVM_LAB" -maxdepth 1 2>/dev/null || true
  lab_processes
}
lab_processes() { # of our hosts: another PID namespace, and the environment that up.sh handed down
  local environ process
  { grep -lzxF "KVM_LAB=$KVM_LAB" /proc/[0-9]*/environ 2>/dev/null || true; } | while read -r environ; do
    process=${environ%/environ}
    [ "$(readlink "$process/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || cat "$process/comm" 2>/dev/null || true
  done
}
check_clean() {
  local now
  now=$(machine)
  [ "$now" = "$before" ] || { diff <(echo "$before") <(echo "$now") >&2; die "$1 left something behind"; }
}

guest_xml() { # NAME bios|uefi
  local firmware=
  [ "$2" = bios ] || firmware="<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>"
  cat <<END
<domain type='qemu'>
  <name>$1</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>$firmware<boot dev='hd'/></os>
  <features><acpi/></features><cpu mode='maximum'/>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/$1.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><source network='default'/><model type='virtio'/></interface>
    <serial type='pty'><log file='/var/log/libvirt/$1.log' append='on'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
END
}
guest_line() { tr -d '\r' <"$(host_dir host1)/var/log/libvirt/$1.log" 2>/dev/null | grep "^GUEST-UP" | tail -n 1; }
guest_boot() { # NAME: start it, wait for a new announcement that says what is expected
  rm -f "$(host_dir host1)/var/log/libvirt/$1.log"
  on host1 start "$1"
  wait_for 180 guest_line "$1" || die "$1 did not come up within 180 s"
  guest_line "$1" | grep -qE "^GUEST-UP name=$2 ip=192\.168\.122\.[0-9]+ boot=$3 agent=yes id=[0-9a-f]{32}$" ||
    die "$1 says: $(guest_line "$1")"
  ok "$(guest_line "$1")"
}

"$lab_scripts/down.sh" --purge
before=$(machine)

"$lab_scripts/up.sh" 2 >/dev/null
ok "two hosts are up"
for transport in unix ssh tls; do
  for host in host1 host2; do
    [ "$(on "$host" hostname)" = "$host" ] || die "$host does not answer over $transport"
  done
done
unset transport
"$lab_scripts/exec.sh" host1 ssh -o BatchMode=yes host2 hostname | grep -qx host2 || die "no SSH from host1 to host2"
ok "both answer over unix, ssh and tls, and reach each other by ssh"
for kind in pool net; do
  on host1 "$kind-list" --name | grep -qx default || die "host1 lacks the $kind default"
done
"$lab_scripts/exec.sh" host1 sh -c '! test -r /dev/kvm -a -c /dev/kvm' || die "host1 sees /dev/kvm"

for firmware in bios uefi; do
  cp "$KVM_LAB/guest/boot.qcow2" "$(host_dir host1)/var/lib/libvirt/images/$firmware.qcow2"
  guest_xml "$firmware" "$firmware" >"$KVM_LAB/$firmware.xml"
  on host1 define "$KVM_LAB/$firmware.xml" >/dev/null
  rm "$KVM_LAB/$firmware.xml"
  guest_boot "$firmware" guest "$firmware"
done
[ "$("$lab_scripts/exec.sh" host1/bios uname -s)" = Linux ] || die "the agent of bios does not answer"
if "$lab_scripts/exec.sh" host1/bios sh -c 'exit 7'; then die "exit status lost"; else [ $? = 7 ] || die "exit status is not 7"; fi
"$lab_scripts/exec.sh" host1/bios label remembered
ok "commands run through the agent"

before_pid=$("$lab_scripts/exec.sh" host1 cat /run/lab.libvirtd.pid)
"$lab_scripts/fault.sh" kill host1 libvirtd
wait_for 10 not daemon_ready host1 libvirtd || die "libvirtd answers after being killed"
"$lab_scripts/fault.sh" start host1 libvirtd
[ "$("$lab_scripts/exec.sh" host1 cat /run/lab.libvirtd.pid)" != "$before_pid" ] || die "libvirtd is the same as before"
[ "$(on host1 list --name | sort | paste -sd ' ')" = "bios uefi" ] || die "guests did not survive libvirtd's death"
ok "guests survive kill -9 of libvirtd"
reaches() { "$lab_scripts/exec.sh" host2 ping -q -c 1 -W 2 host1; }
bites_and_heals() { # FAULT MENDING [PEER]
  "$lab_scripts/fault.sh" "$1" host1 "${@:3}"
  if reaches >/dev/null; then die "host2 reaches host1 in spite of $1"; fi
  "$lab_scripts/fault.sh" "$2" host1 "${@:3}"
  wait_for 20 reaches || die "host2 does not reach host1 after $2"
}
bites_and_heals cut heal
bites_and_heals unplug plug
bites_and_heals part unpart host2
round_trip() { "$lab_scripts/exec.sh" host2 ping -q -c 3 -i 0.2 host1 | sed -n 's|^rtt [^=]*= \([0-9]*\).*|\1|p'; }
"$lab_scripts/fault.sh" delay host1 100
[ "$(round_trip)" -ge 200 ] || die "a delay of 100 ms each way is not felt: $(round_trip) ms"
"$lab_scripts/fault.sh" undelay host1
[ "$(round_trip)" -lt 150 ] || die "the delay is still there: $(round_trip) ms"
"$lab_scripts/fault.sh" loss host1 50
lost=$("$lab_scripts/exec.sh" host2 ping -q -c 60 -i 0.02 -W 1 host1 | sed -n 's/.* \([0-9]*\)[.0-9]*% packet loss.*/\1/p')
if ((lost < 20 || lost > 80)); then die "a loss of 50 % loses $lost %"; fi
"$lab_scripts/fault.sh" unloss host1
"$lab_scripts/fault.sh" smalldisk host1 20
"$lab_scripts/fault.sh" fill host1 /var/lib/libvirt/small
if "$lab_scripts/exec.sh" host1 sh -c 'head -c 1M /dev/zero >/var/lib/libvirt/small/x' 2>/dev/null; then die "not full"; fi
"$lab_scripts/fault.sh" unfill host1 /var/lib/libvirt/small
"$lab_scripts/exec.sh" host1 sh -c 'head -c 1M /dev/zero >/var/lib/libvirt/small/x'
ok "faults bite and heal"

"$lab_scripts/down.sh"
[ -z "$(lab_processes)" ] || die "processes are left: $(lab_processes)"
"$lab_scripts/down.sh"
"$lab_scripts/up.sh" 1 >/dev/null
guest_boot bios remembered bios
"$lab_scripts/down.sh" --purge
check_clean "down --purge"
ok "disks outlive the host, and nothing outlives --purge"

for delay in 0.05 0.15 0.3 0.5 0.7 0.9; do # whatever up.sh does at that time
  "$lab_scripts/up.sh" 2 >/dev/null 2>&1 &
  sleep "$delay"
  kill -9 $! 2>/dev/null || true
  wait $! 2>/dev/null || true
  "$lab_scripts/down.sh" --purge
  check_clean "up.sh killed after $delay s and down --purge"
done
ok "an up.sh killed half-way is cleaned up"
