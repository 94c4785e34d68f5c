# A directory that a group of users shares.
set -eu

# ANCHOR: share
install -d -m 2770 -g users /dev/shm/team
rsipc --dir /dev/shm/team create queue jobs --mode 660
# ANCHOR_END: share
