"""Streams. A function may return an iterator in place of a value, or a response whose
body is one: its items are the parts, sent as they are made."""

import frames
from frames import CANCEL, MORE, PART, STREAM, flush, send
from result import TooLarge, encode

WINDOW = 256 << 10  # bytes of parts that may wait for the host
PART_COST = 16
JSON, BYTES = b'\0', b'\1'

streams = {}  # under way, by their call


def stream_in(value):
    """Returns the items of a value that is to be streamed and what goes with them, or None."""
    if _is_stream(value):
        return value, None
    if isinstance(value, dict) and 'statusCode' in value and _is_stream(value.get('body')):
        return value['body'], {name: value[name] for name in ('statusCode', 'headers') if name in value}
    return None


def _is_stream(value):
    kind = type(value)
    return hasattr(kind, '__next__') or hasattr(kind, '__aiter__')


class Stream:
    __slots__ = 'id', 'call', 'limit', 'room', 'cancelled', 'task', 'wake'

    def __init__(self, call, limit):
        self.id = call.id
        self.call = call
        self.limit = limit
        self.room = WINDOW
        self.cancelled = False
        self.task = None  # that runs it, where calls share the event loop
        self.wake = None  # the future that it waits for room with

    def run(self, items, head, loop):
        """Sends the items of a stream, each before the next is asked for. Loop gives the
        event loop for those that need one."""
        if not hasattr(type(items), '__next__'):
            items = _in_turn(items.__aiter__(), loop())
        self._begin(head)
        try:
            for item in items:
                if not self._part(item):
                    break
                self._heed()
                if self.cancelled:
                    break
        finally:
            del streams[self.id]
            if close := getattr(items, 'close', None):
                close()

    async def run_awaiting(self, items, head, asyncio):
        """Is run for code whose calls share the event loop."""
        self.task = asyncio.current_task()
        source = items if hasattr(type(items), '__next__') else items.__aiter__()
        self._begin(head)
        try:
            async for item in _items(source, asyncio):
                if not self._part(item):
                    break
                await self._until_room()
        except asyncio.CancelledError:
            if not self.cancelled:
                raise
        finally:
            del streams[self.id]
            if close := getattr(source, 'aclose', None):
                await close()
            elif close := getattr(source, 'close', None):
                close()

    def _begin(self, head):
        payload = encode(head, self.limit)
        streams[self.id] = self
        send(STREAM, self.id, payload)
        flush()

    def _part(self, item):
        """Sends an item, unless the call has failed meanwhile."""
        if self.call.answered:
            return False
        if isinstance(item, (bytes, bytearray, memoryview)):
            payload = BYTES + item
        else:
            payload = JSON + encode(item, self.limit)
        if len(payload) > self.limit:
            raise TooLarge(f'a part is larger than {self.limit} bytes')
        self.room -= len(payload) - 1 + PART_COST
        send(PART, self.id, payload)
        flush()
        return True

    def _heed(self):
        """Takes what the host says about streams, waits for room, and puts all else by."""
        while not self.cancelled and (self.room <= 0 or frames.wait(0)):
            frames.put_by([frame for frame in frames.read_on() if not heed(*frame)])

    async def _until_room(self):
        while self.room <= 0:
            self.wake = self.task.get_loop().create_future()
            await self.wake

    def more(self, count):
        self.room += count
        if self.room > 0 and self.wake and not self.wake.done():
            self.wake.set_result(None)

    def cancel(self):
        self.cancelled = True
        if self.task:
            self.task.cancel()


def _in_turn(source, loop):
    """Iterates over what is asynchronous, for code that runs one call at a time."""
    try:
        while True:
            try:
                item = loop.run_until_complete(source.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        if close := getattr(source, 'aclose', None):
            loop.run_until_complete(close())


async def _items(source, asyncio):
    """Iterates over either kind, and lets others have their turn."""
    if hasattr(type(source), '__anext__'):
        async for item in source:
            yield item
        return
    for item in source:
        yield item
        await asyncio.sleep(0)


def heed(kind, id, payload):
    """Tells whether a frame is about a stream, and does what it says. A stream that is over
    hears nothing."""
    if kind not in (MORE, CANCEL):
        return False
    if stream := streams.get(id):
        stream.more(int(payload)) if kind == MORE else stream.cancel()
    return True
