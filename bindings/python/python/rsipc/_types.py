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
