#!/bin/sh
# Port forwards of virtual networks: /etc/libvirt/hooks/network.d/kvm-manager, written by KVM Manager, the same on every
# host. It does nothing for networks without forwards.
#
#   kvm-manager NETWORK started|stopped SUB EXTRA   run by libvirt, the network's document on standard input
#   kvm-manager NETWORK apply FILE                  run by KVM Manager
#
# Other calls of libvirt change nothing: what an active network is may not have the rules that its configuration has.
#
# The rules are data in the network's document: the attribute `forwards` of the element `kvmm:network`, each rule
# "PROTOCOL ADDRESS PORT GUEST GUEST-PORT MAC", commas in between. A rule that is not exactly of this form is left out.
# No text of the document becomes part of a command: what awk lets through goes to iptables-restore.
#
# A network has one chain of its own in the tables nat and filter, so that it is filled and emptied as a whole.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

case ${2:-} in
started | stopped) document=$(cat) ;;
apply) document=$(cat -- "$3") ;;
*) exit 0 ;;
esac

# Prints the network's chain, or with "rules" what iptables-restore takes, nothing when there is no rule.
read_document() {
  printf '%s' "$document" | awk -v what="$1" '
    BEGIN { RS = "<" }
    function is_address(text,   part, i) {
      if (split(text, part, ".") != 4) return 0
      for (i = 1; i <= 4; i++) if (part[i] !~ /^[0-9][0-9]?[0-9]?$/ || part[i] + 0 > 255) return 0
      return 1
    }
    function is_port(text) { return text ~ /^[1-9][0-9]?[0-9]?[0-9]?[0-9]?$/ && text + 0 <= 65535 }
    function rule(text,   field, to) {
      if (split(text, field, " ") != 6 || field[1] !~ /^(tcp|udp)$/ || !is_port(field[3])) return
      if (field[2] != "*" && !is_address(field[2])) return
      if (!is_address(field[4]) || !is_port(field[5])) return
      to = field[2] == "*" ? "" : "-d " field[2] "/32 "
      nat = nat "-A " chain " " to "-p " field[1] " -m addrtype --dst-type LOCAL -m " field[1] " --dport " field[3] \
        " -j DNAT --to-destination " field[4] ":" field[5] "\n"
      filter = filter "-A " chain " -d " field[4] "/32 -p " field[1] " -m " field[1] " --dport " field[5] \
        " -m conntrack --ctstate DNAT -j ACCEPT\n"
    }
    /^uuid>[0-9a-f-]+$/ && chain == "" {
      chain = substr($0, 6)
      gsub(/-/, "", chain)
      chain = "kvmm_" substr(chain, 1, 20)
    }
    /^kvmm:network[ \t\r\n]/ && match($0, /[ \t\r\n]forwards=["\047][^"\047]*["\047]/) {
      count = split(substr($0, RSTART + 11, RLENGTH - 12), rules, ",")
    }
    END {
      # The uuid may stand behind the rules.
      if (chain != "") for (i = 1; i <= count; i++) rule(rules[i])
      if (what == "chain") printf "%s", chain
      else if (nat != "") printf "*nat\n:%s - [0:0]\n%sCOMMIT\n*filter\n:%s - [0:0]\n%sCOMMIT\n", chain, nat, chain, filter
    }'
}

quiet() { "$@" 2>/dev/null; }

# Takes the network's chain out of a table, and what holds all of them when it was the last.
remove_from() {
  quiet iptables -w -t "$1" -D kvm_manager -j "$chain" || :
  quiet iptables -w -t "$1" -F "$chain" || :
  quiet iptables -w -t "$1" -X "$chain" || :
  if quiet iptables -w -t "$1" -S kvm_manager | grep -q '^-A'; then return; fi
  if [ "$1" = nat ]; then
    quiet iptables -w -t nat -D PREROUTING -j kvm_manager || :
    quiet iptables -w -t nat -D OUTPUT ! -d 127.0.0.0/8 -j kvm_manager || :
  else
    quiet iptables -w -D FORWARD -j kvm_manager || :
  fi
  quiet iptables -w -t "$1" -X kvm_manager || :
}

# Has the rule at the head of a chain: libvirt refuses, further down, what comes from outside.
first() {
  table=$1 hook=$2
  shift 2
  quiet iptables -w -t "$table" -D "$hook" "$@" || :
  iptables -w -t "$table" -I "$hook" "$@"
}

chain=$(read_document chain)
[ -n "$chain" ] || exit 0
rules=
[ "$2" = stopped ] || rules=$(read_document rules)
if [ -z "$rules" ]; then
  command -v iptables >/dev/null || exit 0
  remove_from nat
  remove_from filter
  exit 0
fi
printf '%s\n' "$rules" | iptables-restore -w --noflush
for table in nat filter; do
  quiet iptables -w -t "$table" -N kvm_manager || :
  quiet iptables -w -t "$table" -C kvm_manager -j "$chain" || iptables -w -t "$table" -A kvm_manager -j "$chain"
done
first nat PREROUTING -j kvm_manager
first nat OUTPUT ! -d 127.0.0.0/8 -j kvm_manager
first filter FORWARD -j kvm_manager
