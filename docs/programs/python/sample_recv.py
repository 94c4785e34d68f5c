"""Prints three samples."""

import struct

import rsipc

SAMPLE = struct.Struct("IId")  # sensor, number, degrees Celsius, as they lie in memory

samples = rsipc.Queue.open_or_create("samples", max_message=SAMPLE.size)
for _ in range(3):
    sensor, number, celsius = SAMPLE.unpack(samples.recv())
    print(f"sensor {sensor}, sample {number}: {celsius:.1f} degrees")
