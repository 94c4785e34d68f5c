# What the tutorial does in the shell.
set -eu

# ANCHOR: compile
cc -o numbers numbers.c $(pkg-config --cflags --libs rsipc)
# ANCHOR_END: compile

# ANCHOR: send
./numbers 1000 &
# ANCHOR_END: send

until [ "$(rsipc stat --json jobs 2>/dev/null | grep -c '"waiting": 64')" = 1 ]; do sleep 0.05; done
# ANCHOR: ls
rsipc ls
# ANCHOR_END: ls

# ANCHOR: work
python3 squares.py &
python3 squares.py &
# ANCHOR_END: work

# ANCHOR: total
(cd total && cargo run --quiet -- 1000)
# ANCHOR_END: total
wait

# ANCHOR: again
rsipc rm jobs squares
./numbers 100000 &
python3 squares.py &
python3 squares.py & victim=$!
(cd total && cargo run --quiet -- 100000) & total=$!
# ANCHOR_END: again

until rsipc stat squares >/dev/null 2>&1; do sleep 0.01; done
# ANCHOR: kill
kill -9 $victim
wait $total
# ANCHOR_END: kill
wait

set +e # it says what may be wrong with this machine, too
# ANCHOR: doctor
rsipc doctor
rsipc rm jobs squares
# ANCHOR_END: doctor
