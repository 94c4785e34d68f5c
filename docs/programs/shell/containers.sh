# Two pid namespaces, as those of two containers, that share a directory.
set -eu

# ANCHOR: share
export RSIPC_DIR=/dev/shm/ours
rsipc create queue jobs
unshare --pid --fork --mount-proc rsipc send jobs 'from another pid namespace'
rsipc recv jobs
# ANCHOR_END: share
