# Locks, calls, and a look at what there is, in the shell.
set -eu

# ANCHOR: lock
rsipc lock deploy -- echo 'nobody else deploys now'
rsipc lock --nonblock deploy -- sh -c '
  [ -z "${RSIPC_OWNER_DIED:-}" ] || echo "somebody died in here: repair first"
  echo deploying'
# ANCHOR_END: lock

# ANCHOR: serve
rsipc serve upper -- tr a-z A-Z &
# ANCHOR_END: serve
until rsipc stat upper >/dev/null 2>&1; do sleep 0.05; done
# ANCHOR: call
rsipc call upper hello
# ANCHOR_END: call
kill $!

# ANCHOR: look
rsipc ls
rsipc stat deploy
rsipc watch --count 1
rsipc ls --json
# ANCHOR_END: look

# ANCHOR: rm
rsipc rm deploy
# ANCHOR_END: rm
