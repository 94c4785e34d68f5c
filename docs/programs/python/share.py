"""Opens a queue that a group of users shares, or creates it for them."""

import sys

import rsipc

directory = sys.argv[1] if len(sys.argv) > 1 else "/dev/shm/team"
jobs = rsipc.Queue.open_or_create("jobs", dir=directory, mode=0o660)
jobs.send(b"for the team")
