"""Frames on the socketpair to the host, as documented in runtimes/PROTOCOL.md."""

import select
from _collections import deque
from _struct import Struct
from _thread import allocate_lock
from posix import _exit, read, set_inheritable, write

CHECK, LOAD, INVOKE, MORE, CANCEL = 1, 2, 3, 4, 5
READY, LOADED, RESULT, FAILED, LOG, STREAM, PART, CONTEXT = 16, 17, 18, 19, 20, 21, 22, 23

FD = 3
BLOCK = 1 << 16

_header = Struct('>IBI')  # the length of what follows it, the type, the call
_prefix = 4
_rest = bytearray()  # the beginning of a frame
_queue = deque()     # frames to write
_put_by = []         # frames that came while a stream was run
_writing = allocate_lock()


def receive():
    """Returns the frames that were put by, else those that read_on returns."""
    if _put_by:
        held = _put_by[:]
        _put_by.clear()
        return held
    return read_on()


def put_by(frames):
    """Keeps frames for receive."""
    _put_by.extend(frames)


def read_on():
    """Waits for bytes and returns the frames that are whole, as (type, call, payload)."""
    try:
        chunk = read(FD, max(BLOCK, _missing()))
    except OSError:
        chunk = b''
    if not chunk:
        _exit(0)
    if not _rest:
        at = _cut(chunk, frames := [])
        if at < len(chunk):
            _rest.extend(chunk[at:])
        return frames
    _rest.extend(chunk)
    if _missing() > 0:
        return []
    del _rest[:_cut(_rest, frames := [])]
    return frames


def wait(seconds):
    """Tells whether there is something to receive within a time."""
    poll = select.poll()
    poll.register(FD, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _missing():
    """Returns how many bytes the first frame of _rest lacks, where that is known."""
    if len(_rest) < _header.size:
        return 0
    return _prefix + _header.unpack_from(_rest)[0] - len(_rest)


def _cut(data, frames):
    """Appends the whole frames of data and returns where they end."""
    at, size = 0, len(data)
    while size - at >= _header.size:
        length, kind, call = _header.unpack_from(data, at)
        if at + _prefix + length > size:
            break
        frames.append((kind, call, data[at + _header.size:at + _prefix + length]))
        at += _prefix + length
        if length < _header.size - _prefix:
            die('a frame without a header')
    return at


def send(kind, call, payload):
    """Queues a frame."""
    _queue.append(_header.pack(_header.size - _prefix + len(payload), kind, call) + payload)


def flush():
    """Writes what is queued. Threads and signal handlers may come in between: whoever
    holds the lock writes for all, so that no frame is written into another."""
    while _queue and _writing.acquire(False):
        try:
            _write(b''.join([_queue.popleft() for _ in range(len(_queue))]))
        finally:
            _writing.release()


def _write(data):
    try:
        while written := write(FD, data):
            if written == len(data):
                return
            data = data[written:]
    except OSError:
        _exit(0)


def die(reason):
    """Ends a worker that cannot go on; the host says why to nobody but the log."""
    try:
        write(2, f'worker: the host sent {reason}\n'.encode())
    finally:
        _exit(70)


def install():
    """Keeps the descriptor from what the user's code may run in this process's place."""
    set_inheritable(FD, False)
