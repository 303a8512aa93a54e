# shellcheck shell=bash disable=SC2034
# Names, paths and small tools that all lab scripts share; sourced by them.
#
# A host is a set of namespaces (mount, UTS, IPC, PID, network, cgroup). PID 1 of its PID
# namespace is host-init.sh: when that is killed, the kernel ends every process of the host
# and nothing else, and with the last process its mounts and network go too.
#
# Settings (environment). Labs that differ in all three run side by side.
#   KVM_LAB         state directory   /var/tmp/kvm-manager-lab
#   KVM_LAB_BRIDGE  bridge            kmlab0                    at most 11 characters
#   KVM_LAB_NET     first 3 octets    10.78.0                   host1 is .11, the machine .1

export KVM_LAB=${KVM_LAB:-/var/tmp/kvm-manager-lab}
export KVM_LAB_BRIDGE=${KVM_LAB_BRIDGE:-kmlab0}
export KVM_LAB_NET=${KVM_LAB_NET:-10.78.0}
lab_scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab_max_hosts=20
lab_daemons=(virtlogd libvirtd sshd)

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Refuses settings that cannot work, with the reason.
lab_check_settings() {
  [ "$(id -u)" = 0 ] || { say "needs root (namespaces, a bridge)"; exit 77; }
  [[ $KVM_LAB =~ ^(/[A-Za-z0-9._-]+)+$ ]] || die "KVM_LAB=$KVM_LAB: give an absolute path of plain characters"
  # libvirt's socket below it has to fit into 107 bytes
  [ ${#KVM_LAB} -le 64 ] || die "KVM_LAB=$KVM_LAB is longer than 64 characters: sockets need short paths"
  case $KVM_LAB/ in # a host has its own of these, so it would not see the lab's files
    /root/* | /etc/* | /run/* | /var/run/* | /var/log/* | /var/cache/* | /var/lib/libvirt/* | /var/lib/kvm-manager/*)
      die "KVM_LAB=$KVM_LAB: hosts have this directory of their own; choose one below /var/tmp" ;;
  esac
  [[ $KVM_LAB_BRIDGE =~ ^[a-z][a-z0-9]{0,10}$ ]] || die "KVM_LAB_BRIDGE=$KVM_LAB_BRIDGE: a to z, 0 to 9, at most 11"
  [[ $KVM_LAB_NET =~ ^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$ ]] || die "KVM_LAB_NET=$KVM_LAB_NET: like 10.78.0"
}

# Takes the lab's lock (up and down exclude each other); the descriptor is $lab_lock.
lab_take_lock() {
  while :; do
    exec {lab_lock}>"$KVM_LAB/lock"
    flock "$lab_lock"
    # "down --purge" may have removed the file while we waited for it
    [ "$KVM_LAB/lock" -ef "/proc/self/fd/$lab_lock" ] && return
    exec {lab_lock}>&-
    mkdir -p "$KVM_LAB"
  done
}

# --- a host's names
host_number() { echo "${1#host}"; }
host_address() { echo "$KVM_LAB_NET.$((10 + $(host_number "$1")))"; }
host_dir() { echo "$KVM_LAB/hosts/$1"; }
host_link() { echo "$KVM_LAB_BRIDGE-h$(host_number "$1")"; } # the bridge's end of its cable
host_delay_link() { echo "$KVM_LAB_BRIDGE-d$(host_number "$1")"; } # see "fault.sh delay"
host_cgroup() { echo "$KVM_LAB_BRIDGE-$1"; }
host_names() { # all that have ever been up, in order
  local dir
  for dir in "$KVM_LAB"/hosts/host*; do
    if [ -d "$dir" ]; then echo "${dir##*/}"; fi
  done | sort -V
}
# URI of its libvirtd for virsh outside the host
host_uri() {
  case ${2:-unix} in
    unix) echo "qemu+unix:///system?socket=$(host_dir "$1")/run/libvirt/libvirt-sock" ;;
    ssh) echo "qemu+ssh://root@$1/system?command=$KVM_LAB/ssh" ;;
    tls) echo "qemu+tls://$(host_address "$1")/system?pkipath=$KVM_LAB/pki" ;;
    *) die "no transport $2: unix, ssh, tls" ;;
  esac
}

# --- processes are remembered as "PID STARTTIME" in a file, so that a PID that the kernel gave
# to somebody else is never taken for ours
process_identity() { # PID -> "PID STARTTIME"; fails if there is none, or only a zombie
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }" # behind the name, which may hold anything
  [ "${fields[0]}" != Z ] && echo "$1 ${fields[19]}"
}
process_alive() { # FILE
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null && [ "$(process_identity "$pid")" = "$pid $start" ]
}
process_end() { # FILE: kill -9, wait until it is gone, forget it
  if process_alive "$1"; then
    kill -9 "$(cut -d' ' -f1 "$1")" 2>/dev/null || true
    wait_for 10 not process_alive "$1" || say "process $(<"$1") does not end"
  fi
  rm -f "$1"
}

not() { ! "$@"; }
# wait_for SECONDS COMMAND...: until it succeeds; fails when the time is over
wait_for() {
  local end=$((SECONDS + $1 + 1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

# ends the relay that "fault.sh delay" put between a host's cable and the bridge
host_end_delay() {
  process_end "$(host_dir "$1")/relay.pid"
  ip link delete "$(host_delay_link "$1")" 2>/dev/null || true
}
host_alive() { process_alive "$(host_dir "$1")/init.pid"; }
# host_run HOST COMMAND...: in the host, as if logged in there
host_run() {
  local host=$1 pid
  shift
  host_alive "$host" || die "$host is not up"
  pid=$(cut -d' ' -f1 "$(host_dir "$host")/init.pid")
  nsenter -t "$pid" -m -r -u -i -n -p -C --wdns=/ -- "$@"
}
# daemon_ready HOST DAEMON: it answers
daemon_ready() {
  case $2 in
    libvirtd) timeout 5 virsh -q -c "$(host_uri "$1")" uri ;;
    virtlogd) [ -S "$(host_dir "$1")/run/libvirt/virtlogd-sock" ] ;;
    sshd) timeout 2 bash -c "read -r banner </dev/tcp/$(host_address "$1")/22 && [[ \$banner == SSH-* ]]" ;;
    *) die "no daemon $2: ${lab_daemons[*]}" ;;
  esac
}
