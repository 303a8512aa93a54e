#!/usr/bin/env bash
# Ends lab hosts and everything in them: lab/down.sh [--purge] [HOST...]     (default all, root)
# Their disks and settings stay for the next up.sh; --purge removes them, and with all hosts
# also the state directory. Right at any time: nothing up, half up, up.sh killed, run twice.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

purge=
if [ "${1:-}" = --purge ]; then
  purge=1
  shift
fi
lab_check_settings
[ -e "$KVM_LAB/lock" ] || { rmdir "$KVM_LAB" 2>/dev/null || true; exit 0; } # no lab, nothing to end
lab_take_lock

remove_cgroups() {
  local group
  for group in "/sys/fs/cgroup/$(host_cgroup "$1")" /sys/fs/cgroup/*/"$(host_cgroup "$1")"; do
    [ ! -d "$group" ] || wait_for 5 find "$group" -depth -type d -exec rmdir {} + ||
      say "control group $group is still in use"
  done
}

hosts=("$@")
[ $# -gt 0 ] || mapfile -t hosts < <(host_names)
for host in "${hosts[@]}"; do
  dir=$(host_dir "$host")
  [ -d "$dir" ] || { say "no host $host"; continue; }
  host_end_delay "$host"
  process_end "$dir/launcher.pid"
  process_end "$dir/init.pid"
  ip link delete "$(host_link "$host")" 2>/dev/null || true
  remove_cgroups "$host"
  if [ -n "$purge" ]; then rm -rf --one-file-system "$dir"; fi
done
[ $# -eq 0 ] || exit 0

if [ -e "$KVM_LAB/bridge" ]; then
  ip link delete "$(<"$KVM_LAB/bridge")" 2>/dev/null || true
  rm "$KVM_LAB/bridge"
fi
if [ -n "$purge" ]; then
  rm -rf --one-file-system "$KVM_LAB"/{hosts,guest,pki,shared,id_ed25519,id_ed25519.pub,known_hosts,ssh_config,ssh}
  rm "$KVM_LAB/lock"
  rmdir "$KVM_LAB" || say "left $KVM_LAB, which holds something that is not the lab's"
fi
