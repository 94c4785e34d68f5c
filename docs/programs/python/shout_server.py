"""Replies to each request with the same text in capital letters. An empty one ends it."""

import rsipc

with rsipc.Endpoint.open("shouter") as server:
    while True:
        request = server.recv()
        if request.wants_reply:
            request.reply(request.data.upper())
        if not request.data:
            break
