#!/usr/bin/env bash
# Installs what this project needs on Debian 12 (x86-64), and nothing that is already there.
#
#   scripts/setup.sh [GROUP...]            install what is missing (default: every group)
#   scripts/setup.sh --check [GROUP...]    only say what is missing
#
#   build   what cargo needs besides cargo: C compiler, pkg-config, libvirt's headers
#   test    OpenSSH, against which the tests hold our own SSH
#   demo    QEMU, libvirt, and the tools that build the test guest (lab/guest.sh)
#   lab     what the lab's hosts need besides: libvirt's system daemon, sshd, swtpm, OVMF ...
#
# Exit status: 0 everything is there; 1 something is missing (--check) or could not be
# installed; 2 usage; 69 not a Debian system; 77 root is needed, the command is printed.
#
# libvirt and QEMU come from bookworm-backports in one transaction: their packages depend on
# each other's exact version. An older libvirt or QEMU is upgraded with them; nothing is ever
# removed, and no package may start or restart a service meanwhile.
set -euo pipefail

# shellcheck disable=SC2034  # read through a nameref
declare -A from_backports=(
  [build]="libvirt-dev"
  [demo]="libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-driver-storage
    libvirt-daemon-driver-network libvirt-daemon-log qemu-system-x86 qemu-utils"
  [lab]="libvirt-daemon-system libvirt-clients qemu-system-modules-spice qemu-block-extra
    libvirt-daemon-driver-storage-iscsi-direct"
)
# shellcheck disable=SC2034
declare -A from_base=(
  [build]="gcc libc6-dev pkg-config"
  [test]="openssh-server openssh-client"
  [demo]="busybox-static kmod cpio zstd qemu-guest-agent mtools dosfstools syslinux
    syslinux-common fdisk e2fsprogs systemd-boot-efi binutils"
  [lab]="openssh-server openssh-client iproute2 iputils-ping nftables iptables dnsmasq-base
    swtpm swtpm-tools ovmf gnutls-bin genisoimage jq python3 curl libxml2-utils
    openvswitch-switch tgt"
)
all_groups=(build test demo lab)

say() { printf 'setup: %s\n' "$*" >&2; }
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

# packages TABLE GROUP... -> their packages, one per line
packages() {
  local -n table=$1
  local group package
  for group in "${@:2}"; do
    for package in ${table[$group]:-}; do echo "$package"; done
  done
}
wanted() { { packages from_backports "${groups[@]}"; packages from_base "${groups[@]}"; } | sort -u; }

# installed PACKAGE... -> those that are
installed() { # dpkg-query reports unknown packages as an error: that is an answer here
  { dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true; } |
    awk '$2 == "installed" { print $1 }'
}

# missing -> the asked packages that are not installed
missing() {
  local want
  mapfile -t want < <(wanted)
  comm -23 <(printf '%s\n' "${want[@]}") <(installed "${want[@]}" | sort)
}

# invoke-rc.d and deb-systemd-invoke ask this file; 101 is "action forbidden". One that is
# already there waits aside. allow_services repairs what a killed run left behind, too.
policy=/usr/sbin/policy-rc.d
aside=$policy.before-kvm-manager
forbid_services() {
  allow_services
  if [ -e "$policy" ]; then mv "$policy" "$aside"; fi
  printf '#!/bin/sh\n# written by kvm-manager scripts/setup.sh while it runs\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}
allow_services() {
  if grep -qs 'written by kvm-manager' "$policy"; then rm -f "$policy"; fi
  if [ -e "$aside" ]; then mv "$aside" "$policy"; fi
}

check_only=
groups=()
for arg in "$@"; do
  case $arg in
    --check) check_only=1 ;;
    -h | --help) usage; exit 0 ;;
    *)
      if [[ " ${all_groups[*]} " != *" $arg "* ]]; then
        say "no group '$arg'; there are: ${all_groups[*]}"
        exit 2
      fi
      groups+=("$arg") ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=("${all_groups[@]}")

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  say "this is not a Debian system; needed are its packages:" \
    "$(wanted | paste -sd ' ')"
  exit 69
fi
mapfile -t lacking < <(missing)
if [ ${#lacking[@]} = 0 ]; then
  if [ -z "$check_only" ] && [ "$(id -u)" = 0 ]; then allow_services; fi
  exit 0
fi
if [ -n "$check_only" ]; then
  say "missing for ${groups[*]}: ${lacking[*]}"
  exit 1
fi

if [ "$(id -u)" != 0 ]; then
  self=$(realpath "$0")
  if sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ] && sudo -v; }; then
    exec sudo "$self" "${groups[@]}"
  fi
  say "missing for ${groups[*]}: ${lacking[*]}"
  say "installing packages needs root; run:"
  if command -v sudo >/dev/null; then
    printf '  sudo %q %s\n' "$self" "${groups[*]}" >&2
  else
    printf "  su -c '%q %s'\n" "$self" "${groups[*]}" >&2
  fi
  exit 77
fi

# --- from here on as root, with something to install -----------------------------------------

# run COMMAND...: silent when it works, its last lines when it does not
run() {
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 25 "$log" >&2
    say "did not work: $*"
    exit 1
  fi
}

# Adds bookworm-backports unless the machine has it, from the mirror its base release comes from.
add_backports() {
  [ -z "$(apt-get indextargets 'Created-By: Packages' 'Release: bookworm-backports')" ] || return 0
  local uri key=/usr/share/keyrings/debian-archive-keyring.gpg
  local list=/etc/apt/sources.list.d/kvm-manager-backports.list
  # shellcheck disable=SC2016  # apt expands it
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
    'Origin: Debian' 'Codename: bookworm' 'Component: main' | sed -n 1p)
  [ -e "$key" ] || key= # then apt's own trusted keys
  if [ -z "$uri" ]; then
    say "apt knows no source of Debian bookworm main; see /etc/apt/sources.list*"
    exit 1
  fi
  say "adding $uri bookworm-backports ($list)"
  echo "deb ${key:+[signed-by=$key] }$uri bookworm-backports main" >"$list"
  run apt-get update -q -o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
}

say "installing for ${groups[*]}: ${lacking[*]}"
log=$(mktemp)
trap 'allow_services; rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -y -q --no-install-recommends --no-remove
  -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
target_release=()
run apt-get update -q
if [ "$release" = bookworm ]; then
  add_backports
  target_release=(-t bookworm-backports)
else # its own libvirt and QEMU: new enough from Debian 13 on
  say "this is $release; only bookworm is tested"
fi
forbid_services
# Those of the other groups that are already here come along, to stay at the same version.
mapfile -t others < <(packages from_backports "${all_groups[@]}")
mapfile -t backports < <({ packages from_backports "${groups[@]}"; installed "${others[@]}"; } | sort -u)
mapfile -t base < <(packages from_base "${groups[@]}" | sort -u)
# Whatever "-t" is asked for drags its dependencies from backports too, so the rest goes apart.
run "${install[@]}" "${target_release[@]}" "${backports[@]}"
run "${install[@]}" "${base[@]}"
mapfile -t lacking < <(missing)
if [ ${#lacking[@]} -gt 0 ]; then
  say "apt was content, yet these are missing: ${lacking[*]}"
  exit 1
fi
if [ -d /run/systemd/system ] && [[ " ${groups[*]} " =~ " "(test|lab)" " ]]; then
  say "note: no service was started, but those that are new start with the machine from now on;" \
    "if that is not wanted: systemctl disable ssh libvirtd tgt"
fi
