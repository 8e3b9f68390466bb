"""A bare ASGI application, the least that a function behind uvicorn costs."""

import json


async def app(scope, receive, send):
    body = b''
    more = True
    while more:
        message = await receive()
        body += message.get('body', b'')
        more = message.get('more_body', False)
    params = json.loads(body)['params']
    reply = json.dumps({
        'result': params['a'] + params['b'],
        'request_id': '00000000-0000-8210-8000-000000000000',
        'language_title': 'python-bench',
        'execution_time_ms': 0.051,
        'memory_usage_bytes': 52428800,
        'cached': False,
    }, separators=(',', ':')).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-type', b'application/json'),
        (b'content-length', b'%d' % len(reply)),
    ]})
    await send({'type': 'http.response.body', 'body': reply})
