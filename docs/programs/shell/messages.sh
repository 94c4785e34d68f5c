# Messages in the shell.
set -eu
cd "$(mktemp -d)"
touch 'a cat.jpg' dog.jpg

# ANCHOR: send
rsipc create queue pictures --capacity 100 --exist-ok
find . -name '*.jpg' | rsipc send pictures
rsipc send pictures 'one more'
# ANCHOR_END: send

# ANCHOR: recv
rsipc recv pictures
rsipc recv --nonblock pictures || echo 'nothing there'
rsipc recv --timeout 0.5 pictures
# ANCHOR_END: recv

# ANCHOR: follow
rsipc create queue jobs --unbounded
seq 5 | rsipc send jobs
rsipc shutdown jobs
rsipc recv --follow jobs | while read -r job; do
  echo "doing $job"
done
# ANCHOR_END: follow

# ANCHOR: files
rsipc create queue backup --max-message 1M
tar c . | rsipc send --raw backup &
rsipc recv --follow --raw backup | tar t &
# ANCHOR_END: files
wait %1
rsipc shutdown backup
wait
