"""Where what a function prints goes: sys.stdout and sys.stderr become log frames of
the call that printed."""

import _thread
import sys
from _contextvars import ContextVar, copy_context
from _frozen_importlib import _find_spec
from io import RawIOBase, TextIOBase

from call import DEBUG, ERROR, INFO, WARN, background, current

_level = ContextVar('level', default=None)  # of the logging record under way


def _call():
    call = current.get()
    return background if call.answered else call


class _Stream(TextIOBase):
    """Text that becomes log entries. Closing it does nothing."""

    encoding, errors = 'utf-8', 'replace'

    def __init__(self, fd, level):
        self.fd = fd
        self.level = level
        self.name = ('<stdout>', '<stderr>')[fd - 1]
        self.mode = 'w'
        self.buffer = _Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f'write() argument must be str, not {type(text).__name__}')
        level = _level.get()
        _call().print(self, self.level if level is None else level, text)
        return len(text)

    def flush(self):
        _call().end_line(self)

    def close(self):
        self.flush()

    def writable(self):
        return True

    def fileno(self):
        return self.fd

    def reconfigure(self, **_options):
        """Takes the options of a TextIOWrapper: none of them matters here."""


class _Bytes(RawIOBase):
    """What sys.stdout.buffer is."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, data):
        self.stream.write(str(data, 'utf-8', 'replace'))
        return len(data)

    def flush(self):
        self.stream.flush()

    def close(self):
        self.flush()

    def writable(self):
        return True

    def fileno(self):
        return self.stream.fd


def install():
    sys.stdout = sys.__stdout__ = _Stream(1, INFO)
    sys.stderr = sys.__stderr__ = _Stream(2, ERROR)
    for name in 'start_new_thread', 'start_new', 'start_joinable_thread':
        if hasattr(_thread, name):
            setattr(_thread, name, _with_context(getattr(_thread, name)))
    sys.meta_path.insert(0, _Watch)


def _with_context(start):
    """Makes new threads inherit the context, and with it the call."""
    def start_with_context(function, *args, **options):
        run = copy_context().run

        def in_context(*args, **options):
            return run(function, *args, **options)
        return start(in_context, *args, **options)
    return start_with_context


class _Watch:
    """Sets the logging module up when it is imported, as nobody pays for it before."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != 'logging':
            return None
        sys.meta_path.remove(_Watch)
        spec = _find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            _set_up(module)
        spec.loader.exec_module = exec_module
        return spec


def _set_up(logging):
    """Shows records from INFO on, and gives what handlers print the record's level."""
    logging.root.setLevel(logging.INFO)
    if logging.lastResort is not None:
        logging.lastResort.setLevel(logging.NOTSET)
    handle = logging.Handler.handle

    def handle_with_level(self, record):
        outer = _level.set(_level_of(record.levelno))
        try:
            return handle(self, record)
        finally:
            _level.reset(outer)
    logging.Handler.handle = handle_with_level


def _level_of(number):
    if number >= 40:
        return ERROR
    if number >= 30:
        return WARN
    return INFO if number >= 20 else DEBUG
