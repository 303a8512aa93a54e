#!/usr/bin/env bash
# Breaks a lab host on purpose, and mends it (root). Network faults are made at the host's link.
#   fault.sh cut HOST | heal HOST            black hole: frames vanish, the carrier stays
#   fault.sh unplug HOST | plug HOST         the carrier goes
#   fault.sh rate HOST KBIT | unrate HOST    bandwidth, each way
#   fault.sh loss HOST PERCENT | unloss HOST random loss of what the host receives
#   fault.sh delay HOST MS | undelay HOST    latency, each way
#   fault.sh part HOST PEER | unpart HOST PEER   HOST no longer hears PEER (nor PEER an answer)
#   fault.sh kill HOST DAEMON | start HOST DAEMON   SIGKILL; start returns when it answers
#   fault.sh stop HOST DAEMON | cont HOST DAEMON    hang and go on (SIGSTOP, SIGCONT)
#   fault.sh crash HOST                      power loss, guests included; up.sh brings it back
#   fault.sh smalldisk HOST MIB [DIR]        a small file system (default /var/lib/libvirt/small)
#   fault.sh fill HOST DIR | unfill HOST DIR fill it to the last block
# DAEMON: libvirtd, virtlogd, sshd. Network faults end with the host, too.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
lab_check_settings
fault=$1 host=$2
shift 2
host_alive "$host" || die "$host is not up"
link=$(host_link "$host") dir=$(host_dir "$host")

need() { [ "$1" = "$2" ] || usage; }
whole_number() { [[ $1 =~ ^[0-9]{1,9}$ ]] || die "$1 is not a whole number"; }
# drop_incoming TABLE MATCH...: in a table of its own, so that ending it is deleting it
drop_incoming() {
  local table=$1
  shift
  stop_dropping "$table"
  host_run "$host" nft "add table inet $table
    add chain inet $table input { type filter hook prerouting priority -400; }
    add rule inet $table input $* drop"
}
stop_dropping() { host_run "$host" nft "add table inet $1; delete table inet $1"; }
shape() { # both ends send at this rate
  ip link show "$link" >/dev/null
  tc qdisc replace dev "$link" root tbf rate "${1}kbit" burst 32k latency 200ms
  host_run "$host" tc qdisc replace dev eth0 root tbf rate "${1}kbit" burst 32k latency 200ms
}
signal_daemon() { # SIGNAL DAEMON
  local pid
  daemon_known "$2"
  pid=$(host_run "$host" cat "/run/lab.$2.pid")
  [ "$(host_run "$host" cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || die "$host: $2 does not run"
  host_run "$host" kill -s "$1" "$pid"
}
daemon_known() { [[ " ${lab_daemons[*]} " == *" $1 "* ]] || die "no daemon $1: ${lab_daemons[*]}"; }
undelay() {
  host_end_delay "$host"
  ip link set "$link" master "$KVM_LAB_BRIDGE"
}
delay() { # MILLISECONDS: bridge = far = near = relay = the host's cable
  local near far
  near=$(host_delay_link "$host") far=$KVM_LAB_BRIDGE-e$(host_number "$host")
  undelay
  ip link set "$link" nomaster
  ip link add "$near" type veth peer name "$far"
  ip link set "$near" up
  ip link set "$far" master "$KVM_LAB_BRIDGE" up
  setsid "$lab_scripts/relay.py" "$link" "$near" "$1" </dev/null >>"$dir/relay.log" 2>&1 &
  process_identity $! >"$dir/relay.pid"
  disown
}

case $fault in
  cut) need $# 0; ip link set "$link" nomaster ;;
  heal) need $# 0; ip link set "$link" master "$KVM_LAB_BRIDGE" ;;
  unplug) need $# 0; ip link set "$link" down ;;
  plug) need $# 0; ip link set "$link" up ;;
  rate) need $# 1; whole_number "$1"; shape "$1" ;;
  unrate)
    need $# 0
    tc qdisc delete dev "$link" root 2>/dev/null || true
    host_run "$host" tc qdisc delete dev eth0 root 2>/dev/null || true ;;
  loss) need $# 1; whole_number "$1"; drop_incoming lab_loss iifname eth0 numgen random mod 100 '<' "$1" ;;
  unloss) need $# 0; stop_dropping lab_loss ;;
  part) need $# 1; drop_incoming "lab_part_$1" ip saddr "$(host_address "$1")" ;;
  unpart) need $# 1; stop_dropping "lab_part_$1" ;;
  delay) need $# 1; whole_number "$1"; delay "$1" ;;
  undelay) need $# 0; undelay ;;
  kill)
    need $# 1
    signal_daemon KILL "$1"
    # gone, not only silent: a start that follows at once has to see that it does not run
    pid=$(host_run "$host" cat "/run/lab.$1.pid")
    wait_for 10 not host_run "$host" test -e "/proc/$pid" || die "$host: $1 does not die" ;;
  stop) need $# 1; signal_daemon STOP "$1" ;;
  cont) need $# 1; signal_daemon CONT "$1" ;;
  start)
    need $# 1
    daemon_known "$1"
    echo "$1" >"$dir/run/lab.control"
    wait_for 60 daemon_ready "$host" "$1" || die "$host: $1 does not answer" ;;
  crash) need $# 0; process_end "$dir/init.pid" ;;
  smalldisk)
    need $# $(($# > 1 ? 2 : 1))
    whole_number "$1"
    place=${2:-/var/lib/libvirt/small}
    image=$dir/small-$(basename "$place").img
    rm -f "$image"
    truncate -s "${1}M" "$image"
    mkfs.ext4 -q -m 0 -E root_owner=0:0 "$image"
    host_run "$host" mkdir -p "$place"
    host_run "$host" mount -o loop "$image" "$place"
    rm "$image" # the mount holds it, and nothing is left when that ends
    host_run "$host" chmod 777 "$place" ;;
  fill)
    need $# 1
    host_run "$host" dd if=/dev/zero of="$1/.fill" bs=64k status=none 2>/dev/null || true # ends when full
    host_run "$host" test -s "$1/.fill" || die "$host: cannot write in $1" ;;
  unfill) need $# 1; host_run "$host" rm -f "$1/.fill" ;;
  *) usage ;;
esac
