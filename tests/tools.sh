#!/bin/sh
# Says which of the Debian packages that the tests need are not installed.
for pair in cc:gcc g++:g++ make:make valgrind:valgrind nm:binutils cmake:cmake pkg-config:pkgconf abidw:abigail-tools mandoc:mandoc; do
  command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
done
python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
