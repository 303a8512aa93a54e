#!/usr/bin/env bash
# Runs a command in a lab host, or in a guest through its agent (root):
#   lab/exec.sh HOST COMMAND [ARGUMENT...]
#   lab/exec.sh HOST/GUEST COMMAND [ARGUMENT...]
# Passes on output and exit status; 124: the guest's command took longer than 120 s,
# 125: the agent did not answer.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
lab_check_settings
where=$1
shift
case $where in
  */*) host=${where%%/*} guest=${where#*/} ;;
  *) host_run "$where" "$@"; exit ;;
esac
agent() { virsh -q -c "$(host_uri "$host")" qemu-agent-command --timeout 30 "$guest" "$1" || exit 125; }

pid=$(agent "$(jq -nc '{execute: "guest-exec", arguments:
  {path: $ARGS.positional[0], arg: $ARGS.positional[1:], "capture-output": true}}' --args -- "$@")" |
  jq .return.pid)
[[ $pid =~ ^[0-9]+$ ]] || exit 125
end=$((SECONDS + 120))
while :; do
  answer=$(agent "{\"execute\": \"guest-exec-status\", \"arguments\": {\"pid\": $pid}}")
  [ "$(jq .return.exited <<<"$answer")" != true ] || break
  [ $SECONDS -lt $end ] || { say "$guest: no end of: $*"; exit 124; }
  sleep 0.2
done
jq -r '.return."out-data" // ""' <<<"$answer" | base64 -d
jq -r '.return."err-data" // ""' <<<"$answer" | base64 -d >&2
exit "$(jq '.return | .exitcode // (128 + (.signal // 0))' <<<"$answer")"
