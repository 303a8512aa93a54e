#!/usr/bin/env bash
# Brings up lab hosts, real libvirt hosts on one machine: lab/up.sh [N]      (default 2, root)
# Prints one line per host: name, address, URI. Hosts that are up already are left alone;
# what a host has on its disks stays over down and up. Settings: see lib.sh.
#
# In the state directory afterwards, for clients:
#   hosts/hostN/          the host's own files; run/libvirt/libvirt-sock is its libvirtd
#   id_ed25519, known_hosts, ssh_config, ssh   SSH as root into each host by name
#   pki/                  client certificate, as libvirt's ?pkipath= expects it
#   guest/                vmlinuz, initrd, boot.qcow2, readable by QEMU in the hosts
#   shared/               the same path on each host: stands for shared storage
set -euo pipefail
. "$(dirname "$0")/lib.sh"

count=${1:-2}
if ! [[ $count =~ ^[0-9]+$ ]] || ((count < 1 || count > lab_max_hosts)); then
  say "how many hosts? 1 to $lab_max_hosts"
  exit 2
fi
lab_check_settings
"$lab_scripts/../scripts/setup.sh" --check demo lab || die "first run scripts/setup.sh demo lab"
if [ -d "$KVM_LAB" ] && [ ! -e "$KVM_LAB/lock" ] && [ -n "$(ls -A "$KVM_LAB")" ]; then
  die "$KVM_LAB is not empty and not a lab"
fi
mkdir -p "$KVM_LAB"
lab_take_lock
mkdir -p "$KVM_LAB"/{hosts,pki,shared,guest}
chmod 755 "$KVM_LAB" "$KVM_LAB/guest"
chmod 700 "$KVM_LAB/hosts"
chmod 1777 "$KVM_LAB/shared"
umask 022

# --- the guest, where QEMU's user can read it wherever the project is
guest=$("$lab_scripts/guest.sh")
for file in vmlinuz initrd boot.qcow2; do
  if ! cmp -s "$guest/$file" "$KVM_LAB/guest/$file"; then
    cp --reflink=auto "$guest/$file" "$KVM_LAB/guest/$file.new"
    mv "$KVM_LAB/guest/$file.new" "$KVM_LAB/guest/$file"
  fi
done

# --- the wire: a bridge of the machine, with an address on it
if ! ip link show "$KVM_LAB_BRIDGE" >/dev/null 2>&1; then
  if ip -4 -o address show | grep -qF " $KVM_LAB_NET."; then
    die "the machine has an address in $KVM_LAB_NET.0/24 already; set KVM_LAB_NET"
  fi
  echo "$KVM_LAB_BRIDGE" >"$KVM_LAB/bridge" # first: down.sh must know, even if we are killed now
  ip link add "$KVM_LAB_BRIDGE" type bridge
elif [ "$(cat "$KVM_LAB/bridge" 2>/dev/null)" != "$KVM_LAB_BRIDGE" ]; then
  die "the interface $KVM_LAB_BRIDGE is not of this lab ($KVM_LAB); set KVM_LAB_BRIDGE"
fi
ip address replace "$KVM_LAB_NET.1/24" dev "$KVM_LAB_BRIDGE"
ip link set "$KVM_LAB_BRIDGE" up

# --- identities: one client key, one certificate authority (RSA: libvirt asks for key encipherment)
quietly() { # certtool talks on stderr even when all is well
  local output
  output=$("$@" 2>&1) || die "$1: $output"
}
certificate() { # PREFIX NAME [TEMPLATE-LINE...] -> PREFIXkey.pem, PREFIXcert.pem
  local prefix=$1 name=$2
  shift 2
  quietly certtool --generate-privkey --key-type rsa --bits 2048 --outfile "${prefix}key.pem"
  printf '%s\n' "cn = $name" "organization = kvm-manager lab" "expiration_days = 3650" \
    tls_www_server tls_www_client signing_key encryption_key "$@" >"${prefix}template"
  quietly certtool --generate-certificate --load-privkey "${prefix}key.pem" --template "${prefix}template" \
    --load-ca-certificate "$KVM_LAB/pki/cacert.pem" --load-ca-privkey "$KVM_LAB/pki/cakey.pem" \
    --outfile "${prefix}cert.pem"
  rm "${prefix}template"
}
[ -s "$KVM_LAB/id_ed25519.pub" ] || {
  rm -f "$KVM_LAB/id_ed25519"
  ssh-keygen -q -t ed25519 -N '' -C kvm-manager-lab -f "$KVM_LAB/id_ed25519"
}
if [ ! -s "$KVM_LAB/pki/clientcert.pem" ]; then
  quietly certtool --generate-privkey --key-type rsa --bits 2048 --outfile "$KVM_LAB/pki/cakey.pem"
  printf '%s\n' "cn = kvm-manager lab CA" ca cert_signing_key "expiration_days = 3650" >"$KVM_LAB/pki/template"
  quietly certtool --generate-self-signed --load-privkey "$KVM_LAB/pki/cakey.pem" \
    --template "$KVM_LAB/pki/template" --outfile "$KVM_LAB/pki/cacert.pem"
  rm "$KVM_LAB/pki/template"
  certificate "$KVM_LAB/pki/client" kvm-manager-lab-client
fi

# --- a host's own files, made once
make_host() {
  local host=$1 dir new address
  dir=$(host_dir "$host") new=$(host_dir "$host").new address=$(host_address "$1")
  rm -rf "$new"
  mkdir -p "$new"/{root/.ssh,run,var/cache/libvirt,var/log/libvirt,var/lib/libvirt,var/lib/kvm-manager}
  chmod 700 "$new/root" "$new/root/.ssh"
  cp -a /etc "$new/"

  # /etc: a host with a name and no password, and nothing of the machine's libvirt
  rm -rf "$new"/etc/{libvirt,pki,hostname,hosts,shadow}
  echo "$host" >"$new/etc/hostname"
  printf '%s: files\n' passwd group shadow hosts >"$new/etc/nsswitch.conf" # there is no name server
  install -m 600 /dev/null "$new/etc/shadow"
  echo 'root:*:19000:0:99999:7:::' >"$new/etc/shadow" # "!" would lock key logins too
  mkdir -p "$new"/etc/libvirt/{qemu/networks/autostart,storage/autostart}
  if [ -d /etc/libvirt/nwfilter ]; then cp -a /etc/libvirt/nwfilter "$new/etc/libvirt/"; fi
  cat >"$new/etc/libvirt/libvirtd.conf" <<END
host_uuid = "$(printf '78000000-0000-4000-8000-%012d' "$(host_number "$host")")"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
listen_tls = 1
listen_tcp = 0
END
  cat >"$new/etc/libvirt/qemu.conf" <<END
security_driver = "none"
remember_owner = 0
vnc_listen = "0.0.0.0"
spice_listen = "0.0.0.0"
shared_filesystems = [ "$KVM_LAB/shared" ]
END
  # STP would cost 4 s per new guest port, dnsmasq's probing of an address 3 s per lease
  cat >"$new/etc/libvirt/qemu/networks/default.xml" <<END
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.$((121 + $(host_number "$host"))).1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.$((121 + $(host_number "$host"))).2' end='192.168.$((121 + $(host_number "$host"))).254'/></dhcp>
  </ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
END
  cat >"$new/etc/libvirt/storage/default.xml" <<END
<pool type='dir'><name>default</name><target><path>/var/lib/libvirt/images</path></target></pool>
END
  ln -s ../default.xml "$new/etc/libvirt/qemu/networks/autostart/default.xml"
  ln -s ../default.xml "$new/etc/libvirt/storage/autostart/default.xml"

  # swtpm's certificate authority would otherwise be the machine's
  sed -i 's|/var/lib/swtpm-localca|/var/lib/libvirt/swtpm-localca|' "$new/etc/swtpm-localca.conf"
  mkdir -p "$new"/var/lib/libvirt/{boot,images,dnsmasq,qemu,swtpm,swtpm-localca}
  chmod 711 "$new"/var/lib/libvirt/{boot,images}
  chown libvirt-qemu:libvirt-qemu "$new/var/lib/libvirt/qemu"
  chown --reference=/var/lib/swtpm-localca "$new/var/lib/libvirt/swtpm-localca"

  ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$new/etc/ssh/lab_host_key"
  cat >"$new/etc/ssh/lab_sshd_config" <<END
ListenAddress $address
HostKey /etc/ssh/lab_host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
END

  # TLS: libvirt's own, and QEMU's for migration
  mkdir -p "$new"/etc/pki/{CA,qemu,libvirt/private}
  certificate "$new/etc/pki/" "$host" "dns_name = $host" "ip_address = $address"
  cp "$KVM_LAB/pki/cacert.pem" "$new/etc/pki/CA/cacert.pem"
  cp "$KVM_LAB/pki/cacert.pem" "$new/etc/pki/qemu/ca-cert.pem"
  local role
  for role in server client; do
    cp "$new/etc/pki/cert.pem" "$new/etc/pki/libvirt/${role}cert.pem"
    cp "$new/etc/pki/key.pem" "$new/etc/pki/libvirt/private/${role}key.pem"
    cp "$new/etc/pki/cert.pem" "$new/etc/pki/qemu/$role-cert.pem"
    cp "$new/etc/pki/key.pem" "$new/etc/pki/qemu/$role-key.pem"
  done
  chmod 644 "$new"/etc/pki/qemu/*.pem # QEMU's user reads them
  rm "$new"/etc/pki/{cert,key}.pem
  mv "$new" "$dir" # whole or not at all
}

# --- who is where: the same for all hosts, with all hosts in it
write_shared_files() {
  local host dir
  {
    echo "Host *"
    printf '  %s\n' "User root" "IdentityFile $KVM_LAB/id_ed25519" "IdentitiesOnly yes" "BatchMode yes" \
      "UserKnownHostsFile $KVM_LAB/known_hosts" "GlobalKnownHostsFile /dev/null" "StrictHostKeyChecking yes"
    for host in $(host_names); do printf 'Host %s\n  HostName %s\n' "$host" "$(host_address "$host")"; done
  } >"$KVM_LAB/ssh_config"
  printf '#!/bin/sh\nexec ssh -F %s/ssh_config "$@"\n' "$KVM_LAB" >"$KVM_LAB/ssh"
  chmod 755 "$KVM_LAB/ssh"
  for host in $(host_names); do
    echo "$host,$(host_address "$host") $(cut -d' ' -f1,2 "$(host_dir "$host")/etc/ssh/lab_host_key.pub")"
  done >"$KVM_LAB/known_hosts"
  for dir in "$KVM_LAB"/hosts/host*; do
    { echo "127.0.0.1 localhost"
      for host in $(host_names); do echo "$(host_address "$host") $host"; done; } >"$dir/etc/hosts"
    install -m 600 "$KVM_LAB/id_ed25519" "$dir/root/.ssh/id_ed25519"
    cp "$KVM_LAB/id_ed25519.pub" "$dir/root/.ssh/authorized_keys"
    cp "$KVM_LAB/known_hosts" "$dir/root/.ssh/known_hosts"
  done
}

# --- its own control group: guests of the same name on two hosts stay apart, and a host cannot
# take all memory or all process numbers of the machine
half_memory=$(($(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo) * 512))
set_limit() { if [ -e "$1" ]; then echo "$2" >"$1" 2>/dev/null || true; fi; }
make_cgroups() { # HOST -> the groups' cgroup.procs files
  local hierarchy group
  for hierarchy in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    [ -e "${hierarchy}cgroup.procs" ] || continue
    # directories with a cgroup.type are groups of version 2, not hierarchies of version 1
    if [ "$hierarchy" != /sys/fs/cgroup/ ] && [ -e "${hierarchy}cgroup.type" ]; then continue; fi
    group=$hierarchy$(host_cgroup "$1")
    mkdir -p "$group"
    if [ -e "$group/cpuset.cpus" ] && [ ! -e "$group/cgroup.type" ]; then # v1: empty until set
      cat "${hierarchy}cpuset.cpus" >"$group/cpuset.cpus"
      cat "${hierarchy}cpuset.mems" >"$group/cpuset.mems"
    fi
    set_limit "$group/memory.limit_in_bytes" "$half_memory"
    set_limit "$group/memory.max" "$half_memory"
    set_limit "$group/pids.max" 8192
    echo "$group/cgroup.procs"
  done
}

start_host() {
  local host=$1 dir group groups
  dir=$(host_dir "$host")
  process_end "$dir/launcher.pid" # of a start that was killed half-way
  host_end_delay "$host"
  rm -rf "$dir/run" "$dir/init.pid"
  mkdir -p "$dir/run"
  mapfile -t groups < <(make_cgroups "$host")
  (
    process_identity "$BASHPID" >"$dir/launcher.pid" # from here on down.sh can end it
    exec {lab_lock}>&-
    for group in "${groups[@]}"; do echo "$BASHPID" >"$group"; done
    exec setsid unshare -m -u -i -n -p -C --fork --kill-child \
      "$lab_scripts/host-init.sh" "$host" </dev/null >>"$dir/init.log" 2>&1
  ) &
  disown
  wait_for 20 host_alive "$host" || host_failed "$host" "did not start"
  for group in "${groups[@]%/cgroup.procs}"; do # version 2: see host-init.sh
    [ -e "$group/cgroup.type" ] || continue
    mkdir -p "$group/launcher"
    cut -d' ' -f1 "$dir/launcher.pid" >"$group/launcher/cgroup.procs"
  done
  ip link delete "$(host_link "$host")" 2>/dev/null || true
  ip link add "$(host_link "$host")" type veth peer name eth0 netns "$(cut -d' ' -f1 "$dir/init.pid")"
  ip link set "$(host_link "$host")" master "$KVM_LAB_BRIDGE" up
}
host_failed() {
  tail -n 15 "$(host_dir "$1")/init.log" >&2 || true
  die "$1: $2; more in $(host_dir "$1")/init.log and var/log/libvirt beside it"
}

for ((i = 1; i <= count; i++)); do
  [ -d "$(host_dir "host$i")" ] || make_host "host$i"
done
write_shared_files
for ((i = 1; i <= count; i++)); do
  host_alive "host$i" || start_host "host$i"
done
for ((i = 1; i <= count; i++)); do
  for daemon in "${lab_daemons[@]}"; do
    wait_for 60 daemon_ready "host$i" "$daemon" || host_failed "host$i" "$daemon does not answer"
  done
  # the machine's firewall sees bridged frames where br_netfilter is loaded
  [ "$i" = 1 ] || host_run "host$i" ping -q -c 1 -W 5 host1 >/dev/null ||
    die "host$i does not reach host1: does a firewall of the machine drop frames on $KVM_LAB_BRIDGE?"
  echo "host$i $(host_address "host$i") $(host_uri "host$i")"
done
