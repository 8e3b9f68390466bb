"""The function in Google's functions-framework."""

import json


def add(request):
    params = request.get_json()['params']
    reply = json.dumps({
        'result': params['a'] + params['b'],
        'request_id': '00000000-0000-8210-8000-000000000000',
        'language_title': 'python-bench',
        'execution_time_ms': 0.051,
        'memory_usage_bytes': 52428800,
        'cached': False,
    }, separators=(',', ':'))
    return reply, 200, {'content-type': 'application/json'}
