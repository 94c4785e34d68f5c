#!/bin/sh
# The shared library exports what the header declares and nothing else, each with a version, and has the soname that programs are linked against.
set -eu
library=$1 header=$2 map=$3
exported=$(nm -D --defined-only "$library" | awk '$2 == "T" { print $3 }' | sort)
# Each of the header's functions is in one node of the version script, whose name is behind it.
declared=$(grep -o '\bipc_[a-z_]*(' "$header" | tr -d '(' | sort -u | while read -r name; do
  node=$(awk -v name="$name;" '$2 == "{" { node = $1 } $1 == name { print node }' "$map")
  echo "$name@@${node:-(none)}"
done)
if [ "$exported" != "$declared" ]; then
  echo "exported by the library only, or declared by $header with a node in $map only:" >&2
  { echo "$exported"; echo "$declared"; } | sort | uniq -u | sed 's/^/  /' >&2
  exit 1
fi
readelf -d "$library" | grep -q 'soname: \[librsipc\.so\.0\]' || { echo "the soname is not librsipc.so.0" >&2; exit 1; }
echo "ok     symbols of $library"
