"""JSON, both ways: the event that a call is given, and what it returned. Python's
own encoder would write NaN, which is no JSON, so it is told not to; where it fails,
the value is looked through for the place. The json module itself is slow to import."""

from _json import encode_basestring, make_encoder, make_scanner
from failure import to_utf8

MAX_DEPTH = 10_000  # of a value that is looked through


class UnserializableResult(Exception):
    """Says which part of a result is no JSON."""


class UnserializableContext(Exception):
    """Says which part of a context is no JSON."""


class TooLarge(Exception):
    """A result over its limit."""


class TooLargeContext(Exception):
    """A context over its limit."""


def _no_constant(name):
    raise ValueError(f'{name} is no JSON')


class _Options:
    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float, parse_int, parse_constant = float, int, _no_constant


_scan = make_scanner(_Options)


def parse(payload):
    """Returns the value of JSON in UTF-8."""
    text = str(payload, 'utf-8').strip(' \t\n\r')
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f'the event is no JSON at character {stop.value}') from None
    except RecursionError:
        raise ValueError('the event is nested too deeply') from None
    if end != len(text):
        raise ValueError(f'the event has more after its JSON at character {end}')
    return value


def _refuse(value):
    raise UnserializableResult


_under_way = {}
_encode = make_encoder(_under_way, _refuse, encode_basestring, None, ':', ',', False, False, False)


def encode(value, limit):
    """Returns the JSON of a result in UTF-8."""
    try:
        data = to_utf8(''.join(_encode(value, 0)))
    except (UnserializableResult, ValueError, TypeError, RecursionError) as error:
        _under_way.clear()
        fault = _find_fault(value)
        if fault is None and isinstance(error, RecursionError):
            fault = 'result is nested too deeply'
        if fault is None:
            raise
        raise UnserializableResult(fault) from None
    if len(data) > limit:
        raise TooLarge(f'the result is larger than {limit} bytes of JSON')
    return data


def encode_context(context, limit):
    """Returns the JSON of what a function left in its context."""
    if not isinstance(context, dict):
        raise UnserializableContext(f'context is a {type(context).__name__}, and must be a dict')
    try:
        return encode(context, limit)
    except TooLarge:
        raise TooLargeContext from None
    except UnserializableResult as error:
        raise UnserializableContext(str(error).replace('result', 'context', 1)) from None


def _find_fault(result):
    """Says what in a value is no JSON, and where, or None."""
    trail = [('', iter([('result', result)]), None)]  # path, what is in it, itself
    around = set()
    while trail:
        path, children, container = trail[-1]
        step, value = next(children, (None, None))
        if step is None:
            around.discard(id(container))
            trail.pop()
            continue
        path += step
        fault = _fault(value)
        if fault:
            return f'{path} {fault}'
        if isinstance(value, (dict, list, tuple)):
            if id(value) in around:
                return f'{path} is circular'
            if len(trail) > MAX_DEPTH:
                return 'result is nested too deeply'
            around.add(id(value))
            trail.append((path, _children(value), value))
    return None


def _children(value):
    if isinstance(value, dict):
        return iter([(_member(key), item) for key, item in value.items()])
    return iter([(f'[{i}]', item) for i, item in enumerate(value)])


def _member(key):
    return f'.{key}' if isinstance(key, str) and key.isidentifier() else f'[{encode_basestring(str(key))}]'


def _fault(value):
    """Says what is wrong with a value, whatever is in it; '' if nothing is."""
    if value is None or isinstance(value, (str, int, list, tuple)):
        return ''
    if isinstance(value, float):
        return _fault_of_float(value)
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, float) and _fault_of_float(key):
                return f'has a key that {_fault_of_float(key)}'
            if key is not None and not isinstance(key, (str, int, float)):
                return f'has a key that is a {type(key).__name__}'
        return ''
    if hasattr(value, '__await__'):
        return f'is a {type(value).__name__}: it was not awaited'
    return f'is a {type(value).__name__}'


def _fault_of_float(value):
    if value != value:
        return 'is NaN'
    return {float('inf'): 'is Infinity', float('-inf'): 'is -Infinity'}.get(value, '')
