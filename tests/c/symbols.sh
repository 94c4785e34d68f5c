#!/bin/sh
# The shared library exports what the header declares and nothing else, and has the soname that programs are linked against.
set -eu
library=$1 header=$2
exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort)
declared=$(grep -o '\bipc_[a-z_]*(' "$header" | tr -d '(' | sort -u)
if [ "$exported" != "$declared" ]; then
  echo "the library exports other symbols than the header declares:"
  echo "$exported" | sed 's/^/  exported: /' >&2
  echo "$declared" | sed 's/^/  declared: /' >&2
  exit 1
fi
readelf -d "$library" | grep -q 'soname: \[librsipc\.so\.0\]' || { echo "the soname is not librsipc.so.0" >&2; exit 1; }
echo "ok     symbols of $library"
