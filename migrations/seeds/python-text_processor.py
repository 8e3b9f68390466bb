# Changes a text, or counts what is in it.

ACTIONS = {
    'uppercase': str.upper,
    'lowercase': str.lower,
    'title': str.title,
    'reverse': lambda text: text[::-1],
    'count': lambda text: {
        'characters': len(text), 'words': len(text.split()), 'lines': len(text.splitlines()),
    },
}


def handle(params):
    params = params if isinstance(params, dict) else {}
    action, text = params.get('action'), params.get('text')
    if action not in ACTIONS:
        raise ValueError(f'action must be one of {", ".join(ACTIONS)}')
    if not isinstance(text, str):
        raise TypeError('text must be a string')
    return {'action': action, 'result': ACTIONS[action](text)}
