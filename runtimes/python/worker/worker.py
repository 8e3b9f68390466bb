"""The worker: takes frames on descriptor 3, runs the user's function, answers."""

import builtins
import gc
import sys

import frames
import log
from call import Call, background, current
from failure import Code
from frames import CHECK, CONTEXT, INVOKE, LOAD, LOADED, READY, RESULT, die, flush, receive, send
from load import parse as parse_code
from result import encode, encode_context, parse
from stream import Stream, heed, stream_in

WARM_AFTER = 1  # seconds without work

handler = None     # of the code that was loaded
mixes = False      # it gets its params in its context
code = None
max_result = 0
loop = None        # asyncio's, for code that awaits
concurrent = False # calls run on the loop, many at once


def main():
    frames.install()
    log.install()
    sys.modules['__main__'] = type(sys)('__main__')  # the worker is not for the user to import
    sys.argv = ['']
    builtins.exit = builtins.quit = sys.exit  # as the site module would
    gc.collect()
    gc.freeze()  # what is here now is never garbage
    version = '%d.%d.%d' % sys.version_info[:3]
    send(READY, 0, b'{"version":"%s"}' % version.encode())
    flush()
    if not frames.wait(WARM_AFTER):
        warm_up()
    while not concurrent:
        outlive(serve_block)
    loop.add_reader(frames.FD, serve_block)
    while True:
        outlive(loop.run_forever)


def warm_up():
    """Imports what much code does, and takes long, while nobody waits."""
    import asyncio, json
    gc.collect()
    gc.freeze()


def outlive(run):
    """Runs something that ends only by what no call caught: a signal's handler that
    raises between two calls, an exit in a task. The worker goes on."""
    try:
        run()
    except MemoryError:
        die('more than the worker has memory for: heap out of memory')
    except BaseException as error:
        background.print(None, 3, f'uncaught: {type(error).__name__}: {error}\n')


def serve_block():
    """Serves the frames that have come."""
    for kind, id, payload in receive():
        if kind == INVOKE:
            on_invoke(id, payload)
        elif kind == LOAD:
            on_load(id, parse(payload))
        elif kind == CHECK:
            on_check(id, parse(payload))
        elif not heed(kind, id, payload):
            die(f'a frame of unknown type {kind}')


def on_check(id, message):
    """Checks code, in silence: the compiler's warnings come when it is loaded."""
    asked = Code(message['filename'], message['source'])
    call = Call(id, asked)
    current.set(Call(0, asked, budget=0))
    try:
        call.answer(LOADED, parse_code(asked).describe())
    except BaseException as error:
        call.fail('load', error)
    current.set(background)
    flush()


def on_load(id, message):
    global code, concurrent, handler, max_result, mixes
    code = Code(message['filename'], message['source'])
    max_result = message.get('max_result') or sys.maxsize
    if message.get('packages'):
        sys.path.append(message['packages'] + '/packages')
    if message.get('environment'):
        import os
        os.environ.update(message['environment'])
    call = Call(id, code)
    current.set(call)
    try:
        program = parse_code(code)
        if not program.serial:
            make_loop()
        handler = program.load()
        concurrent, mixes = not program.serial, program.mixes
        call.answer(LOADED, program.describe())
    except BaseException as error:
        call.fail('load', error)
    flush()


def on_invoke(id, payload):
    if handler is None:
        die('an invocation before the load was answered')
    call = Call(id, code)
    background.renew()
    try:
        event = parse(payload)
    except BaseException as error:
        call.fail('params', error)
        flush()
        return
    if concurrent:
        task = loop.create_task(invoke_awaiting(call, event))
        tasks.add(task)
        task.add_done_callback(on_done)
    else:
        invoke(call, event)
        flush()


def invoke(call, event):
    current.set(call)
    try:
        value = handler(event)
        if hasattr(value, '__await__'):
            value = make_loop().run_until_complete(value)
        if may_stream(value) and (found := stream_in(value)):
            Stream(call, max_result).run(*found, make_loop)
            value = None
        answer(call, event, encode(value, max_result))
    except BaseException as error:
        call.fail('thrown', error)


async def invoke_awaiting(call, event):
    current.set(call)
    try:
        value = handler(event)
        if hasattr(value, '__await__'):
            value = await value
        if may_stream(value) and (found := stream_in(value)):
            await Stream(call, max_result).run_awaiting(*found, sys.modules['asyncio'])
            value = None
        answer(call, event, encode(value, max_result))
    except BaseException as error:
        call.fail('thrown', error)


def answer(call, event, result):
    """Answers with a result, after what the function left in its context where that is asked
    for: of at most so many bytes."""
    if limit := event.get('retain'):
        context = event['context']
        if mixes:
            context.pop('params', None)
        left = encode_context(context, limit)
        send(CONTEXT, call.id, left)
    call.answer(RESULT, result)


def may_stream(value):
    """Tells at little cost what most values are not."""
    return type(value) is not dict or 'statusCode' in value


tasks = set()         # the loop itself holds them weakly
flush_planned = False


def on_done(task):
    """Plans one write for all calls that end in this round of the loop."""
    global flush_planned
    tasks.discard(task)
    if not flush_planned:
        flush_planned = True
        loop.call_soon(flush_all)


def flush_all():
    global flush_planned
    flush_planned = False
    flush()


def make_loop():
    """Returns the event loop. Its import takes longer than all the rest of a start."""
    global loop
    if loop is None:
        import asyncio
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop
