#!/bin/sh
# Runs each program with a namespace of its own and a time limit; says which one failed. $WRAPPER, if set, runs it (valgrind).
set -u
status=0
dir=
# What a program left in shared memory goes also when this script is stopped.
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
for program; do
  dir=$(mktemp -d -p /dev/shm) || exit 1
  # shellcheck disable=SC2086 # the wrapper is a command with arguments
  if RSIPC_DIR=$dir timeout 300 ${WRAPPER:-} "$program" >"$dir/.output" 2>&1; then
    echo "ok     $program"
    grep '^limits:' "$dir/.output"
  else
    echo "FAILED $program (exit status $?)"
    cat "$dir/.output"
    status=1
  fi
  rm -rf "$dir"
done
exit $status
