"""Sends three samples, a structure each."""

import struct

import rsipc

SAMPLE = struct.Struct("IId")  # sensor, number, degrees Celsius, as they lie in memory

samples = rsipc.Queue.open_or_create("samples", max_message=SAMPLE.size)
for number in 1, 2, 3:
    samples.send(SAMPLE.pack(7, number, 20 + number / 2))
