"""Calls the server with its argument, and prints the reply."""

import sys

import rsipc

text = sys.argv[1] if len(sys.argv) > 1 else ""
with rsipc.Endpoint.open() as client:
    server = client.find("shouter")
    try:
        print(client.call(server, text.encode()).decode())
    except rsipc.PeerGone:
        print("the server is gone")
