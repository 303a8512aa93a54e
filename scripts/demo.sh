#!/usr/bin/env bash
# The main job for real, on a bare Debian 12 with cargo: installs what is missing, builds kvmctl,
# then creates, boots, watches, shuts down and deletes a virtual machine: scripts/demo.sh
#
# It runs on qemu:///session as an unprivileged user: no root, no /dev/kvm, no daemon needed, and
# nothing of it is left behind. Installing packages needs root or sudo. Where QEMU cannot be
# installed the same job runs on the simulated host, which is said; with CI=true that is a failure.
set -euo pipefail

say() { printf '\n== %s\n' "$*"; }
step() { # COMMAND...: as a reader would type it
  printf '\n$ %s\n' "$*"
  "$@"
}

# job TARGET DISK-FLAGS...: the job itself. In the session it is this script again.
job() {
  local name=demo ctl=(kvmctl -c "$1")
  step "${ctl[@]}" vm create "$name" --memory 256M --vcpus 1 "${@:2}" --start
  step "${ctl[@]}" vm list
  # nothing boots in a simulated machine, so its console only has a prompt
  [ "$1" = mock:///demo ] || step "${ctl[@]}" vm console "$name" --until GUEST-UP --timeout 180s
  step "${ctl[@]}" vm show "$name"
  step "${ctl[@]}" vm list --wide
  step "${ctl[@]}" vm shutdown "$name" --timeout 120s
  step "${ctl[@]}" vm delete "$name" --delete-volumes --yes
  step "${ctl[@]}" vm list
  step "${ctl[@]}" op list
}

if [ "${1:-}" = job ]; then
  # A disk that boots by itself, as if it had been made or downloaded before.
  mkdir "$HOME/pool"
  cp "$KVM_SESSION/files/boot.qcow2" "$HOME/pool/demo.qcow2"
  step kvmctl -c qemu:///session pool create default --target "$HOME/pool"
  job qemu:///session --disk volume=default/demo.qcow2 --network user
  exit
fi
[ $# = 0 ] || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2; }

cd "$(dirname "$0")/.."
real=1
if ! scripts/setup.sh build demo; then
  real=
  say "QEMU and libvirt are not here and could not be installed"
  [ "${CI:-}" != true ] || exit 1
  scripts/setup.sh build
fi
say "building kvmctl"
cargo build --quiet -p kvm-cli
kvmctl=$(cargo metadata --format-version 1 --no-deps | grep -oP '"target_directory":"\K[^"]+')/debug/kvmctl

if [ -n "$real" ]; then
  guest=$(lab/guest.sh)
  say "a real virtual machine, on qemu:///session"
  lab/session.sh --give "$kvmctl" --give "$guest/boot.qcow2" --give scripts/demo.sh demo.sh job
else
  say "the same on the simulated host, mock:///demo"
  state=$(mktemp -d) # where it remembers its machines between commands
  trap 'rm -rf "$state"' EXIT
  export XDG_STATE_HOME=$state PATH=${kvmctl%/*}:$PATH
  job mock:///demo --disk 1G
fi
say "done; nothing is left behind"
