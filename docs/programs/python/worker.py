"""Takes jobs on lease, until the queue is shut down."""

import os
import sys

import rsipc

jobs = rsipc.Queue.open_or_create("jobs")
while True:
    try:
        lease = jobs.lease()
    except rsipc.Closed:
        break
    with lease:
        if len(sys.argv) > 1:
            os.abort()  # dies over its job, if it is told to
        print(f"{lease.message.decode()} (delivery {lease.deliveries})")
    # only now is the job gone
