"""Says that it is time to stop."""

import rsipc

rsipc.Semaphore.open_or_create("stop", 0).release()
