#!/usr/bin/env bash
# Runs every check of this project and installs what is missing for it: scripts/test.sh [--no-lab]
#
#   1. the Rust side: format, rules, lints, tests, documents        cargo xtask ci
#   2. the tests against real libvirt hosts on this machine         lab/up.sh, cargo xtask lab
#   3. the demonstration                                            scripts/demo.sh
#
# What is fine takes one line; what is not shows its whole output. What cannot run says why.
# The lab needs root. Without root it is left out, and said so; in continuous integration
# (CI is set) that is a failure, and --no-lab is refused.
#
# The lab of this run is its own: one that you have brought up with lab/up.sh stays as it is.
# For a second run at the same time set KVM_LAB, KVM_LAB_BRIDGE and KVM_LAB_NET (lab/lib.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }
say() { printf 'test: %s\n' "$*" >&2; }

want_lab=yes
for argument in "$@"; do
  case $argument in
    --no-lab) want_lab= ;;
    -h | --help) usage; exit 0 ;;
    *) say "unknown option $argument"; usage >&2; exit 2 ;;
  esac
done
if [ -z "$want_lab" ] && [ -n "${CI:-}" ]; then
  say "--no-lab is not for continuous integration"
  exit 2
fi

export KVM_LAB=${KVM_LAB:-/var/tmp/kvm-manager-test}
export KVM_LAB_BRIDGE=${KVM_LAB_BRIDGE:-kmtest0}
export KVM_LAB_NET=${KVM_LAB_NET:-10.79.0}

scratch=$(mktemp -d)
lab_is_up=
passed=

# Adds up what the test runners of all steps counted, in the words of cargo's own runner, so that
# the last line of a run says how it went.
total() {
  awk -v passed="$passed" -v seconds="$SECONDS" '
    /^test result: / {
      for (i = 2; i <= NF; i++) {
        if ($i == "passed;") good += $(i - 1)
        if ($i == "failed;") bad += $(i - 1)
        if ($i == "ignored;") ignored += $(i - 1)
      }
    }
    END {
      printf "test result: %s. %d passed; %d failed; %d ignored; 0 measured; 0 filtered out; finished in %d.00s\n",
        passed ? "ok" : "FAILED", good, bad, ignored, seconds
    }' "$scratch/results"
}

finish() {
  trap - EXIT
  if [ -n "$lab_is_up" ] && ! lab/down.sh --purge; then
    say "the lab did not go down; try again: KVM_LAB=$KVM_LAB lab/down.sh --purge"
    passed=
  fi
  echo
  total
  rm -rf "$scratch"
  [ -n "$passed" ] || exit 1
}
: >"$scratch/results"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step NAME COMMAND...: one line when it works, everything it printed when it does not
step() {
  local name=$1 start=$SECONDS
  shift
  printf '%-10s' "$name"
  if "$@" >"$scratch/output" 2>&1 </dev/null; then
    printf 'ok      %5d s\n' $((SECONDS - start))
  else
    printf 'FAILED  %5d s\n' $((SECONDS - start))
    sed 's/^/    /' "$scratch/output"
    return 1
  fi
}

# xtask prints lines of its own; its counts are kept for the total and not shown twice.
xtask() { cargo xtask "$@" | tee -a "$scratch/results" | sed -u '/^test result: /d'; }

# --- the Rust side
# It may ask for a password, so it keeps the terminal; it is silent when nothing is missing.
scripts/setup.sh build test
xtask ci

# --- the lab
if [ -z "$want_lab" ]; then
  echo "lab       skipped          as asked (--no-lab)"
elif [ "$(id -u)" != 0 ] && [ -z "${CI:-}" ]; then
  echo "lab       skipped          it needs root (network namespaces, a bridge)"
else
  step lab-setup scripts/setup.sh demo lab
  # Guests without hardware acceleration and a compiler starve each other: build first.
  xtask lab --no-run
  exec 9>"$KVM_LAB.lock"
  if ! flock --nonblock 9; then
    say "another run uses the lab in $KVM_LAB; set KVM_LAB, KVM_LAB_BRIDGE and KVM_LAB_NET"
    exit 1
  fi
  lab_is_up=yes # also when it comes up only in part
  # Two tests run at a time, and many take two hosts each. What runs in the hosts must not hold our lock.
  step lab-up lab/up.sh 4 9>&-
  xtask lab
  step lab-down lab/down.sh --purge
  lab_is_up=
fi

# --- the demonstration
step demo scripts/demo.sh
passed=yes
