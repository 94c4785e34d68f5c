"""Moves 10 from one account to the other. They add up to 0."""

import os
import sys

import rsipc

region = rsipc.Region.open_or_create("accounts", 16)
mutex = rsipc.Mutex.open_or_create("accounts-lock")
accounts = memoryview(region).cast("q")

with mutex.recover() as owner_died:
    if owner_died:
        print(f"somebody died: {accounts[0]} and {accounts[1]}")
        accounts[1] = -accounts[0]
    accounts[0] -= 10
    if len(sys.argv) > 1:
        os.abort()  # dies in the middle, if it is told to
    accounts[1] += 10
    print(f"{accounts[0]} and {accounts[1]}")
