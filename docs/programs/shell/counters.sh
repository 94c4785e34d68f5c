# What has happened to a queue, in the shell.
set -eu
rsipc create queue jobs
rsipc send jobs one two three
rsipc recv jobs

# ANCHOR: look
rsipc stat jobs
rsipc stat --json jobs
rsipc watch --interval 0.5 --count 2 jobs
# ANCHOR_END: look
