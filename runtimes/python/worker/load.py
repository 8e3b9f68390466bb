"""From source to a handler: a function of the event."""

import builtins
import sys
from _ast import Assign, AsyncFunctionDef, FunctionDef, Lambda, Name, PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST

NAMES = 'handler', 'handle'
MODULE = 'function'  # what the user's module is called
COROUTINE = 0x80     # inspect.CO_COROUTINE


class Program:
    """Code that was compiled. load runs what must be run and returns the handler, a
    function of the event."""

    def __init__(self, form, serial, load, mixes=False):
        self.form = form
        self.executes = form != 'fragment'
        self.serial = serial  # a call that does not await: it keeps the worker to itself
        self.load = load
        self.mixes = mixes    # the params are in the context

    def describe(self):
        return b'{"form":"%s","executes":%s,"serial":%s}' % (
            self.form.encode(), _json(self.executes), _json(self.serial))


def _json(value):
    return b'true' if value else b'false'


def parse(code):
    """Compiles the code and runs none of it."""
    source = code.source.removeprefix('\ufeff')
    tree = compile(source, code.filename, 'exec', PyCF_ONLY_AST | PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
    name, node = _find_handler(tree)
    if name is None:
        compiled = compile(tree, code.filename, 'exec', PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
        serial = not compiled.co_flags & COROUTINE
        return Program('fragment', serial, lambda: _fragment(compiled, code, serial))
    arguments = _arguments(name, node, code)
    compiled = compile(tree, code.filename, 'exec', 0, True)
    return Program(name, not isinstance(node, AsyncFunctionDef),
                   lambda: _pass(arguments, _run_module(compiled, code, name)),
                   mixes=arguments is ARGUMENTS['handler'][1])


def _find_handler(tree):
    """Returns the name of the handler and what defines it, at the top level."""
    found = {}
    for node in tree.body:
        if isinstance(node, (FunctionDef, AsyncFunctionDef)):
            found[node.name] = node
        elif isinstance(node, Assign) and isinstance(node.value, Lambda):
            found.update((target.id, node.value) for target in node.targets if isinstance(target, Name))
    for name in NAMES:
        if name in found:
            return name, found[name]
    return None, None


def _arguments(name, node, code):
    """Returns a function that makes the handler's arguments of params and context. As
    many are passed as it requires; if it requires none, as many as it takes."""
    positional = node.args.posonlyargs + node.args.args
    count = len(positional) - len(node.args.defaults)
    if count == 0:
        count = 2 if node.args.vararg else min(len(positional), 2)
    if count > 2 or None in node.args.kw_defaults:
        raise SyntaxError(
            f'{name} requires more than it is given: it may take ({WHAT[name]})',
            (code.filename, node.lineno, 1, code.line(node.lineno)))
    return ARGUMENTS[name][count]


WHAT = {
    'handler': 'context) or (event, context',
    'handle': 'params) or (params, context',
}

ARGUMENTS = {
    'handler': (
        lambda params, context: (),
        lambda params, context: (_with(params, context),),
        lambda params, context: ({'params': params, 'context': context}, context),
    ),
    'handle': (
        lambda params, context: (),
        lambda params, context: (params,),
        lambda params, context: (params, context),
    ),
}


def _with(params, context):
    """Returns the context with the params in it, as a handler of one parameter gets it."""
    context['params'] = params
    return context


def _split(event):
    context = event.get('context')
    if context is None:
        context = event['context'] = {}
    return event.get('params'), context


def _run_module(compiled, code, name):
    """Runs the module and returns its handler."""
    module = type(sys)(MODULE)
    module.__file__, module.__loader__ = code.filename, _Loader(code)
    sys.modules[MODULE] = module
    exec(compiled, module.__dict__)
    handler = getattr(module, name)
    if not callable(handler):
        raise TypeError(f'{name} is no function when the code has run')
    return handler


def _pass(arguments, handler):
    return lambda event: handler(*arguments(*_split(event)))


def _fragment(compiled, code, serial):
    """Returns a handler that runs the fragment with globals of its own."""
    loader = _Loader(code)

    def scope(event):
        params, context = _split(event)
        return {
            '__builtins__': builtins, '__name__': '__main__', '__file__': code.filename, '__loader__': loader,
            'params': params, 'context': context,
        }

    def run(event):
        names = scope(event)
        exec(compiled, names)
        event['context'] = names.get('context')
        return names.get('result')

    async def run_awaiting(event):
        names = scope(event)
        await eval(compiled, names)
        event['context'] = names.get('context')
        return names.get('result')

    return run if serial else run_awaiting


class _Loader:
    """Shows the user's source in the tracebacks that the user's code prints."""

    def __init__(self, code):
        self._source = code.source

    def get_source(self, _name):
        return self._source
