"""Failures, as the host gets them: of anything that may be raised, with the place in
the user's own source and without a frame of the worker's."""

from _json import encode_basestring_ascii as quote
from itertools import islice
from posix import environ
from sys import getrecursionlimit, setrecursionlimit

MAX_TYPE = 128
MAX_MESSAGE = 8 << 10
MAX_STACK = 16 << 10

FIRST_FRAMES, LAST_FRAMES = 10, 40  # that are shown of a long stack
MAX_CHAIN = 8                       # causes, and errors of groups, that are shown
ROOM = 200                          # frames that describing an error may need

CAUSED = '\nThe above exception was the direct cause of the following exception:\n\n'
PACKAGES = "only the standard library can be imported, and packages that the function's dependencies name"
NETWORK = (
    'functions reach the network by urllib.request, or by the proxy of HTTPS_PROXY'
    if b'HTTPS_PROXY' in environ else 'functions have no network but by "network": "egress"'
)
DURING = '\nDuring handling of the above exception, another exception occurred:\n\n'


class Code:
    """The user's code as it came."""

    def __init__(self, filename, source):
        self.filename = filename
        self.source = source

    def line(self, number):
        lines = self.source.split('\n', number)
        return lines[number - 1].rstrip('\r') if 0 < number <= len(lines) else ''


def describe(kind, error, code):
    """Returns the JSON of the failure that the host is told of."""
    if isinstance(error, MemoryError) and kind != 'load':
        kind = 'memory'
    if getrecursionlimit() < ROOM:
        setrecursionlimit(ROOM)  # the user's code has set it too low for us
    line = column = 0
    message, stack = message_of(error), ''
    try:
        line, column = place(error, code)
        stack = trace(error, code)
        message += hint(error)
    except Exception:  # an error's class may have properties that raise
        pass
    return (
        f'{{"kind":{quote(kind)},"type":{_text(type_of(error), MAX_TYPE)},'
        f'"message":{_text(message, MAX_MESSAGE)},"line":{line},"column":{column},'
        f'"stack_trace":{_text(stack, MAX_STACK)}}}'
    ).encode()


def _text(text, limit):
    return quote(cut(text, limit).decode())


def cut(text, limit):
    """Shortens a text to a number of bytes of UTF-8, not within a character."""
    data = to_utf8(text if len(text) <= limit else text[:limit])
    return data if len(data) <= limit else data[:limit].decode('utf-8', 'ignore').encode()


def to_utf8(text):
    """Encodes a text; what is left of a surrogate pair alone becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace').encode()


def type_of(error):
    return type.__dict__['__name__'].__get__(type(error))


def message_of(error):
    if isinstance(error, SyntaxError) and isinstance(error.msg, str):
        return error.msg
    try:
        return str.__str__(str(error))
    except BaseException:
        return '<exception str() failed>'


def hint(error):
    """Returns what the message does not tell its user: what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name and '.' not in error.name:
        return f': {PACKAGES}'
    for _ in range(MAX_CHAIN):
        if error is None:
            break
        if is_of_network(error):
            return f' ({NETWORK})'
        error = error.__cause__ or error.__context__
    return ''


def is_of_network(error):
    """Tells a name that was not resolved, and what the kernel denies of a socket."""
    if not isinstance(error, OSError):
        return False
    if type_of(error) == 'gaierror':
        return True
    entry, module = error.__traceback__, ''
    while entry is not None:
        module = entry.tb_frame.f_globals.get('__name__')
        entry = entry.tb_next
    return isinstance(error, PermissionError) and error.filename is None and module == 'socket'


def place(error, code):
    """Returns line and column, from 1, of the innermost place in the user's file, and
    zeros where there is none."""
    if isinstance(error, SyntaxError) and error.filename == code.filename:
        return max(error.lineno or 0, 0), max(error.offset or 0, 0)
    frames = _frames(error, code)
    if not frames:
        return 0, 0
    entry = frames[-1]
    return entry.tb_lineno, _column(entry, code)


def _frames(error, code):
    """Returns the traceback's entries in the user's file, outermost first."""
    frames, entry = [], error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == code.filename:
            frames.append(entry)
        entry = entry.tb_next
    return frames


def _column(entry, code):
    positions = getattr(entry.tb_frame.f_code, 'co_positions', None)  # from Python 3.11
    if positions is None:
        return 0
    line, _, column, _ = next(islice(positions(), entry.tb_lasti // 2, None), (None,) * 4)
    if line != entry.tb_lineno or column is None:
        return 0
    return len(code.line(line).encode()[:column].decode('utf-8', 'ignore')) + 1


def trace(error, code):
    """Returns the traceback as Python prints it, of the user's frames only."""
    parts, depth = [], 0
    while error is not None and depth < MAX_CHAIN:
        parts.insert(0, _own_trace(error, code))
        depth += 1
        if error.__cause__ is not None:
            parts.insert(0, CAUSED)
            error = error.__cause__
        elif error.__context__ is not None and not error.__suppress_context__:
            parts.insert(0, DURING)
            error = error.__context__
        else:
            error = None
    return ''.join(parts[1:] if error is not None else parts).rstrip('\n')


def _own_trace(error, code):
    frames = _frames(error, code)
    lines = ['Traceback (most recent call last):\n'] if frames else []
    left_out = len(frames) - FIRST_FRAMES - LAST_FRAMES
    for i, entry in enumerate(frames):
        if left_out > 0 and FIRST_FRAMES <= i < FIRST_FRAMES + left_out:
            if i == FIRST_FRAMES:
                lines.append(f'  [{left_out} more]\n')
            continue
        name = entry.tb_frame.f_code.co_name
        lines.append(_location(code, entry.tb_lineno, f', in {name}'))
    if isinstance(error, SyntaxError) and error.filename == code.filename:
        lines.append(_location(code, error.lineno or 0, '', error.offset or 0))
    message = message_of(error)
    lines.append(f'{type_of(error)}: {message}\n' if message else f'{type_of(error)}\n')
    for i, part in enumerate(getattr(error, 'exceptions', ())[:MAX_CHAIN], 1):  # of a group
        lines.append(f'Exception {i} in it:\n' + _own_trace(part, code))
    return ''.join(lines)


def _location(code, line, where, mark=0):
    text = code.line(line)
    shown = text.lstrip()
    location = f'  File "{code.filename}", line {line}{where}\n'
    if shown:
        location += f'    {shown[:MAX_TYPE]}\n'
    before = mark - 1 - (len(text) - len(shown))
    if 0 <= before <= MAX_TYPE:
        location += '    ' + ' ' * before + '^\n'
    return location
