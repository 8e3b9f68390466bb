"""Compiles the worker into one file that Python starts without compiling, on standard
output. Standard input is a JSON list of (name, source), each after what it imports."""

import importlib.util
import json
import marshal
import sys

START = '''
import builtins, marshal, sys

def start(files):
    own = dict(vars(builtins))  # the user may patch theirs
    for name, code in files:
        module = sys.modules[name] = type(sys)(name)
        module.__builtins__ = own
        exec(code, module.__dict__)
    for name, _ in files:
        del sys.modules[name]
    module.main()

start(marshal.loads(%r))
'''


def compiled(name, source):
    return compile(source, f'<envoke>/{name}.py', 'exec', dont_inherit=True, optimize=2)


files = tuple((name, compiled(name, source)) for name, source in json.load(sys.stdin))
main = compiled('start', START % marshal.dumps(files))
sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(main))
