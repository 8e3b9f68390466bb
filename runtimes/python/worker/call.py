"""A call: a question of the host's that is answered once, and what is printed for it."""

from _contextvars import ContextVar
from failure import cut, describe
from frames import FAILED, LOG, flush, send
from result import TooLarge, TooLargeContext

DEBUG, INFO, WARN, ERROR = range(4)

MAX_ENTRY = 8 << 10   # bytes
MAX_LOGGED = 1 << 20  # bytes of one call
ENTRY_COST = 16       # an empty line is not free


class Call:
    __slots__ = 'id', 'code', 'answered', 'left', 'dropped', 'partial'

    def __init__(self, id, code, budget=MAX_LOGGED):
        self.id = id
        self.code = code
        self.answered = False
        self.left = budget  # bytes that may be logged yet
        self.dropped = 0    # characters
        self.partial = {}   # stream → level and text of a line that has not ended

    def answer(self, kind, payload):
        """Answers, unless that was done already."""
        if self.answered:
            return
        for stream in tuple(self.partial):
            self.end_line(stream)
        if self.dropped and self.id:
            send(LOG, self.id, bytes([WARN]) + b'%d more characters were not logged' % self.dropped)
        self.answered = True
        send(kind, self.id, payload)

    def fail(self, kind, error):
        if isinstance(error, TooLarge):
            kind = 'output'
        elif isinstance(error, TooLargeContext):
            kind = 'context'
        if not self.answered:
            self.answer(FAILED, describe(kind, error, self.code))

    def print(self, stream, level, text):
        """Logs what a stream was given, where it ends a line; else it waits for the rest."""
        if stream in self.partial:
            text = self.partial.pop(stream)[1] + text
        if text[-1:] == '\n':
            self.log(level, text[:-2] if text[-2:] == '\r\n' else text[:-1])
        elif text:
            self.partial[stream] = level, text[:MAX_ENTRY]

    def end_line(self, stream):
        if stream in self.partial:
            self.log(*self.partial.pop(stream))

    def log(self, level, text):
        entry = cut(text, MAX_ENTRY)
        self.left -= ENTRY_COST + len(entry)
        if self.left < 0:
            self.dropped += len(text)
            return
        send(LOG, self.id, bytes([level]) + entry)
        flush()  # at once: the call may hang or crash next

    def renew(self):
        self.left = MAX_LOGGED


# What is printed outside of any call belongs to this one.
background = Call(0, None)

# A thread, or a task, has the call of what started it.
current = ContextVar('call', default=background)
