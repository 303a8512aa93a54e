#!/usr/bin/env bash
# Runs a command as an unprivileged user whose libvirt (qemu:///session) is private and temporary:
#   lab/session.sh [--give FILE]... COMMAND [ARGUMENT...]
#
# Started as root it becomes the user "nobody", since root has no session; started as an ordinary
# user it stays that user. HOME, the XDG directories and TMPDIR lie in a new directory, also as
# $KVM_SESSION; FILEs are copied to $KVM_SESSION/files, which is in PATH, for whoever cannot read
# the originals. Of the environment only what a terminal and a test need is passed on.
# When the command ends, and on Ctrl-C or TERM, the libvirtd, virtlogd, QEMU and whatever else was
# started in there are ended and the directory is removed. One that was killed outright is cleaned
# up by the next. Exit status: the command's; 2 usage, 125 the session could not be made.
set -euo pipefail

say() { printf 'session: %s\n' "$*" >&2; }
files=()
while [ "${1:-}" = --give ] && [ $# -ge 2 ]; do
  files+=("$2")
  shift 2
done
case ${1:--} in -*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac

as_user=() uid=$(id -u) gid=$(id -g)
if [ "$uid" = 0 ]; then
  uid=65534 gid=65534
  as_user=(setpriv --reuid="$uid" --regid="$gid" --clear-groups)
fi

# started PID -> its start time, as /proc has it; fails if there is none, or only a zombie
started() {
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [ "${fields[0]}" != Z ] && echo "${fields[19]}"
}
# processes_of DIR: the user's processes that carry DIR in their environment or arguments.
# Its name is random, so nobody else's do.
processes_of() {
  local process pid
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    if [ -O "$process" ] || [ "$(stat -c %u "$process" 2>/dev/null)" = "$uid" ]; then
      if grep -qsF "$1/" "$process/environ" "$process/cmdline" && started "$pid" >/dev/null; then echo "$pid"; fi
    fi
  done
}
# end_session DIR: asks its processes to end, insists after 5 s, removes it
end_session() {
  local signal=TERM pids tries
  for ((tries = 0; tries < 100; tries++)); do
    mapfile -t pids < <(processes_of "$1")
    [ ${#pids[@]} -gt 0 ] || break
    [ "$tries" -lt 50 ] || signal=KILL
    kill -s "$signal" "${pids[@]}" 2>/dev/null || true
    sleep 0.1
  done
  [ ${#pids[@]} -eq 0 ] || say "these processes do not end: ${pids[*]}"
  rm -rf --one-file-system "$1"
}
# those of scripts that were killed: the file "owner" says which process made a directory
end_forgotten() {
  local dir pid start
  for dir in "${TMPDIR:-/tmp}"/kvm-session.??????; do
    if [ -d "$dir" ] && [ -O "$dir" ] && { read -r pid start <"$dir/owner"; } 2>/dev/null &&
      [ "$(started "$pid")" != "$start" ]; then end_session "$dir"; fi
  done
}

end_forgotten
session=$(mktemp -d "${TMPDIR:-/tmp}/kvm-session.XXXXXX")
echo "$$ $(started $$)" >"$session/owner"
trap 'end_session "$session"' EXIT
# libvirt's sockets below it have to fit into 107 bytes
[ ${#session} -le 40 ] || { say "$session is too long for sockets; set TMPDIR to a shorter path"; exit 125; }
chmod 755 "$session"
mkdir "$session/files"
for file in "${files[@]}"; do
  cp --reflink=auto "$file" "$session/files/" || exit 125
  chmod a+rX "$session/files/$(basename "$file")"
done
mkdir -m 700 "$session"/{home,config,data,state,cache,run,tmp}
chown "$uid:$gid" "$session"/{home,config,data,state,cache,run,tmp}

environment=(PATH="$session/files:$PATH" HOME="$session/home" TMPDIR="$session/tmp" KVM_SESSION="$session"
  XDG_CONFIG_HOME="$session/config" XDG_DATA_HOME="$session/data" XDG_STATE_HOME="$session/state"
  XDG_CACHE_HOME="$session/cache" XDG_RUNTIME_DIR="$session/run"
  USER="$(id -un "$uid")" LOGNAME="$(id -un "$uid")")
for name in TERM COLUMNS LINES LANG LC_ALL TZ NO_COLOR CI RUST_BACKTRACE RUST_LOG; do
  if [ -n "${!name+set}" ]; then environment+=("$name=${!name}"); fi
done

# In the background, so that a TERM to this script acts at once. There bash gives a command no
# input and no Ctrl-C, so both are given back.
cd "$session/home"
"${as_user[@]}" env -i --default-signal=INT,QUIT "${environment[@]}" "$@" <&0 &
child=$!
# A shell in there would put a TERM off until its own command ends: so all of them are told.
trap 'kill -s TERM $(processes_of "$session") 2>/dev/null || true' TERM HUP
trap : INT # from the terminal, it went to the command too
status=0
while :; do
  wait "$child" && status=0 || status=$?
  started "$child" >/dev/null || break # else a signal interrupted the waiting
done
exit "$status"
