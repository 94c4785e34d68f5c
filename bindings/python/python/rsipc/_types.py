"""What some calls return."""

from datetime import datetime
from typing import Literal, NamedTuple


class Peer(NamedTuple):
    """A handle that is open on a queue."""

    pid: int
    """The process's id, in the pid namespace that it attached in."""
    since: datetime
    """When it opened the queue (UTC)."""
    sends: bool
    """Whether it has sent, or tried to."""
    receives: bool
    """Whether it has received, or tried to."""


class Counters(NamedTuple):
    """What has happened to an object since it was created, in all processes.

    The numbers only grow (and begin again at 0 after 2**64 - 1): the difference of two looks, divided by the time between
    them, is a rate. They are read one after the other while others work, so they need not belong to the very same moment.
    Read them by their names: later releases may add some.

    They are statistics, on which nothing depends. A process that is killed may leave the bytes, and a rendezvous's
    messages, short by the message that it was passing on at that moment, and the last four numbers by what it was about
    to count.
    """

    sent: int
    """How many messages were sent; in a rendezvous, those that a receiver took. 0 for mutexes and semaphores, as are the
    next three."""
    received: int
    """How many messages were received. One on lease that comes back, and is received again, counts once."""
    bytes_sent: int
    """How many bytes the messages had that were sent."""
    bytes_received: int
    """How many bytes the messages had that were received."""
    waits: int
    """How often a call went to sleep, or was about to, since it had to wait: for a message, for room, for a unit, for the
    lock. A call counts once, however long it waits; in Python, where it looks for signals, once every 100 ms. One that ends in
    the short spin before it does not count. Who waits for several objects at once waits for each of them."""
    wakeups: int
    """How often one that slept was woken, by a call or by the kernel. More than waits: some were woken for nothing.
    Fewer: some waits ended with their time, or with their process, or before the sleep had begun."""
    recoveries: int
    """How often something was put right that a dead process had left: a mutex that passed from a dead owner to the next,
    the permits of a process that came back, a message that came back from a lease, the memory that it had for one,
    what it had half done when it was killed in the middle of a call. A death that leaves nothing behind leaves nothing
    to be put right."""
    deaths: int
    """How often a call came upon the death of a process (of a thread, for a mutex) through something that it had left.
    One that has left things in several places may be come upon in each."""


class Entry(NamedTuple):
    """One object in a namespace."""

    name: str
    """Its name."""
    kind: Literal["region", "mutex", "semaphore", "queue", "endpoint"]
    """Its kind."""
    size: int
    """How long its memory is, in bytes."""
    memory: int
    """How much memory it costs now, in bytes."""
