"""The exceptions. Each is an Error, and where there is one of the same meaning, a built-in exception too."""

import queue
import sys


class Error(Exception):
    """Something went wrong in a call. The text says what was wrong and what would be right."""

    code: int = 0
    """The number of this kind of error in the C interface (`IPC_ERR_*` in ipc.h), which never changes."""


class InvalidArgument(Error, ValueError):
    """An argument is out of its range, or the handle is closed. Nothing was done."""

    code = -1


class NotFound(Error, FileNotFoundError):
    """No object of that name exists in the namespace."""

    code = -2


class AlreadyExists(Error, FileExistsError):
    """An object of that name exists already."""

    code = -3


class PermissionDenied(Error, PermissionError):
    """The operating system forbids it to this user, or the namespace's directory is not this user's own."""

    code = -4


class WrongKind(Error, TypeError):
    """The object is of another kind than the one that was opened."""

    code = -5


class WrongVersion(Error):
    """The object was made by a release of rsipc that lays its memory out in another way."""

    code = -6


class Corrupted(Error):
    """What is in the shared memory cannot have been written by rsipc."""

    code = -7


class WouldBlock(Error, BlockingIOError):
    """A call that was told not to wait would have had to."""

    code = -8


class Full(WouldBlock, queue.Full):
    """The queue has no room for the message (in a rendezvous: nobody receives), and the call was told not to wait.

    Nothing was sent.
    """


class Empty(WouldBlock, queue.Empty):
    """The queue has no message, and the call was told not to wait."""


class Timeout(Error, TimeoutError):
    """The time that the call was given has passed. Nothing was done."""

    code = -9


class SendTimeout(Full, Timeout):
    """The queue had no room for the message until the time had passed. Nothing was sent."""

    code = -9


class RecvTimeout(Empty, Timeout):
    """The queue had no message until the time had passed."""

    code = -9


if sys.version_info >= (3, 13):

    class Closed(Error, EOFError, queue.ShutDown):
        """The queue was shut down: nothing more can be sent, and what was sent before has been received."""

        code = -10

else:

    class Closed(Error, EOFError):
        """The queue was shut down: nothing more can be sent, and what was sent before has been received."""

        code = -10


class MessageTooLong(Error, ValueError):
    """The message is longer than the queue takes. Nothing was sent."""

    code = -11


class BufferTooSmall(Error):
    """The buffer is shorter than the next message, which is still in the queue."""

    code = -12


class NotRecoverable(Error):
    """The mutex was given up by an owner who could not repair what it guards."""

    code = -13


class Deadlock(Error, RuntimeError):
    """The calling thread holds this mutex already, and would wait for itself."""

    code = -14


class NotOwner(Error, RuntimeError):
    """The calling thread does not hold the mutex through this handle, or the process no permit or lease to give back."""

    code = -15


class Interrupted(Error, InterruptedError):
    """A signal handler ran during a wait. Python's calls handle the signal and wait on instead of raising this."""

    code = -16


class NoSpace(Error, OSError):
    """The file system or a resource limit has no room for it. What was there before is untouched."""

    code = -17


class NoMemory(Error, MemoryError):
    """The process may not map more memory."""

    code = -18


class TooManyFiles(Error, OSError):
    """The process or the system has no file descriptor left."""

    code = -19


class LimitReached(Error):
    """One of rsipc's own limits is reached; the text names it."""

    code = -20


class Reentrant(Error):
    """The call came from a signal handler that interrupted another call of this thread."""

    code = -21


class Unsupported(Error):
    """The system lacks something that rsipc stands on."""

    code = -22


class PeerGone(Error, ConnectionError):
    """The process that a message was for, or that had the request, is gone, or has closed its endpoint."""

    code = -24


class NoReply(Error):
    """Who received the request forgot it without replying."""

    code = -25


class Disconnected(Error, ConnectionError):
    """A wait of a handle that was told to end so (Queue.end_with_peers): no other sender, or no other receiver, is left."""

    code = -26


class OsError(Error, OSError):
    """Any other error of the operating system; `errno` has its number."""

    code = -23


class OwnerDied(Error):
    """An owner of the mutex died, and what it guards may be half changed. The mutex is not held: see Mutex.recover."""

    code = 1
