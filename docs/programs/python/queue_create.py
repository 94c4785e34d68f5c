"""Creates a queue of each capacity."""

import rsipc

rsipc.Queue.open_or_create("bounded", capacity=4, max_message=1000)
rsipc.Queue.open_or_create("unbounded", capacity=None, max_message=1000)
rsipc.Queue.open_or_create("rendezvous", capacity=0, max_message=1000)
