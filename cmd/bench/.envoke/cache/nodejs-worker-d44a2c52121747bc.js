'use strict';
const files = {
"./failure.js"(module, require) {
'use strict';

// Failures, as the host gets them: of anything that may be thrown, with the
// place in the user's own source and without a frame of the worker's.

const { inspect, types: { isNativeError } } = require('node:util');
const { exec, getPrototypeOf, includes, indexOf, join, push, slice, split, startsWith, uncurryThis } = require('./primordials.js');

const maxType = 128;
const maxMessage = 8 << 10;
const maxStack = 16 << 10;

const here = `${__dirname}/`;

const encoder = new TextEncoder();
const encodeInto = uncurryThis(TextEncoder.prototype.encodeInto);
const scratch = new Uint8Array(maxStack);
const subarray = uncurryThis(Uint8Array.prototype.subarray);

const frameStart = '\n    at ';
const frameLine = /^ {4}at (?:async )?(?:.*? \()?(.*?)(?::(\d+):(\d+))?\)?$/;

// describe makes the failure of the given kind that the host is told of. It has
// no prototype, so that no toJSON of the user's changes it.
function describe(kind, thrown, filename) {
  const { header, frames } = stackOf(thrown);
  const { line, column } = placeIn(frames, filename) ?? placeOfSyntaxError(header, filename) ?? {};
  return {
    __proto__: null,
    kind,
    type: cut(typeOf(thrown), maxType),
    message: cut(messageOf(thrown), maxMessage),
    line,
    column,
    stack_trace: cut(userStack(header, frames), maxStack),
  };
}

// attempt reads something of a value that may be a proxy or have getters that throw.
function attempt(read) {
  try {
    const text = read();
    return typeof text === 'string' ? text : '';
  } catch {
    return '';
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null || typeof value === 'function';
}

// typeOf is an error's name. A class that does not set one is called by its own.
function typeOf(thrown) {
  if (!isObject(thrown)) return thrown === null ? 'null' : typeof thrown;
  const name = attempt(() => thrown.name);
  if (name !== '' && name !== 'Error') return name;
  return attempt(() => getPrototypeOf(thrown).constructor.name) || name || 'Object';
}

function messageOf(thrown) {
  if (typeof thrown === 'string') return thrown;
  if (isObject(thrown)) {
    const message = attempt(() => thrown.message);
    if (message !== '') return message;
    if (isNativeError(thrown)) return '';
  }
  return attempt(() => inspect(thrown, { customInspect: false, depth: 2, breakLength: Infinity }));
}

// stackOf parts the stack into what stands before the frames and the frames.
function stackOf(thrown) {
  const stack = isObject(thrown) ? slice(attempt(() => thrown.stack), 0, 4 * maxStack) : '';
  const message = isObject(thrown) ? attempt(() => thrown.message) : '';
  const afterMessage = message === '' ? -1 : indexOf(stack, message) + message.length;
  const at = indexOf(stack, frameStart, afterMessage);
  if (at < 0) return { header: stack, frames: [] };
  return { header: slice(stack, 0, at), frames: split(slice(stack, at + 1), '\n') };
}

// placeIn is the place of the innermost frame in the user's file.
function placeIn(frames, filename) {
  for (let i = 0; i < frames.length; i++) {
    const at = indexOf(frames[i], `${filename}:`);
    const match = at < 0 ? null : exec(/^(\d+):(\d+)/, slice(frames[i], at + filename.length + 1));
    if (match !== null && match[1] > 0) return { line: +match[1], column: +match[2] };
  }
  return undefined;
}

// placeOfSyntaxError is the place of a SyntaxError, before whose stack V8 puts the
// file and line, the source line and a mark under it.
function placeOfSyntaxError(stack, filename) {
  if (!startsWith(stack, `${filename}:`)) return undefined;
  const lines = split(slice(stack, filename.length + 1), '\n', 3);
  const match = exec(/^\d+$/, lines[0]);
  if (match === null) return undefined;
  const mark = lines.length > 2 ? lines[2] : ''; // blank where it is the end that is wrong
  const before = indexOf(mark, '^');
  return { line: +match[0], column: (before < 0 ? mark.length : before) + 1 };
}

// userStack leaves out the frames of the worker and of Node, and what the worker called.
function userStack(header, frames) {
  const kept = [header];
  let natives = [];
  for (let i = 0; i < frames.length; i++) {
    const [, location, line] = exec(frameLine, frames[i]) ?? [];
    if (location === undefined || line === '0' || startsWith(location, 'node:') || includes(frames[i], here)) continue;
    push(natives, frames[i]);
    if (line === undefined && !includes(frames[i], 'eval at ')) continue;
    push(kept, ...natives);
    natives = [];
  }
  return join(kept, '\n');
}

// cut shortens a text to a number of bytes of UTF-8, not within a character.
function cut(text, bytes) {
  if (text.length * 3 <= bytes) return text;
  const { read } = encodeInto(encoder, text, subarray(scratch, 0, bytes));
  return slice(text, 0, read);
}

module.exports = { describe, cut, placeOfSyntaxError };
},
"./frames.js"(module, require) {
'use strict';

// Frames on the socketpair to the host, as documented in runtimes/PROTOCOL.md.

const net = require('node:net');
const { writeSync } = require('node:fs');
const { uncurryThis } = require('./primordials.js');

const type = {
  check: 1, load: 2, invoke: 3,
  ready: 16, loaded: 17, result: 18, failed: 19, log: 20,
};

const prefixSize = 4; // the length
const headerSize = 9; // the length, the type and the call
const bufferSize = 65536;

const utf8Slice = uncurryThis(Buffer.prototype.utf8Slice);
const utf8Write = uncurryThis(Buffer.prototype.utf8Write);
const readUInt32BE = uncurryThis(Buffer.prototype.readUInt32BE);
const writeUInt32BE = uncurryThis(Buffer.prototype.writeUInt32BE);
const subarray = uncurryThis(Buffer.prototype.subarray);
const set = uncurryThis(Uint8Array.prototype.set);
const { byteLength, allocUnsafeSlow: allocate, from: copyOf } = Buffer;
const { nextTick } = process;
const exit = process.exit.bind(process);
const writeToSocket = uncurryThis(net.Socket.prototype.write);

// A Reader cuts the stream into frames. A chunk is only valid during push, so
// what is left of it is copied.
class Reader {
  #onFrame;
  #partial = null; // the beginning of a frame
  #filled = 0;

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  push(chunk, size) {
    let at = this.#partial === null ? 0 : this.#complete(chunk, size);
    while (size - at >= prefixSize) {
      const end = at + prefixSize + readUInt32BE(chunk, at);
      if (end > size) break;
      this.#emit(chunk, at, end);
      at = end;
    }
    if (at < size) this.#keep(chunk, at, size);
  }

  // complete fills the partial frame and returns how much of the chunk that took.
  #complete(chunk, size) {
    let at = 0;
    if (this.#filled < prefixSize) {
      at = this.#fill(chunk, 0, size, prefixSize);
      if (this.#filled < prefixSize) return at;
      const prefix = this.#partial;
      this.#partial = allocate(prefixSize + readUInt32BE(prefix, 0));
      set(this.#partial, prefix, 0);
    }
    at = this.#fill(chunk, at, size, this.#partial.length);
    if (this.#filled === this.#partial.length) {
      const frame = this.#partial;
      this.#partial = null;
      this.#emit(frame, 0, frame.length);
    }
    return at;
  }

  #fill(chunk, at, size, want) {
    const end = at + want - this.#filled < size ? at + want - this.#filled : size;
    set(this.#partial, subarray(chunk, at, end), this.#filled);
    this.#filled += end - at;
    return end;
  }

  #keep(chunk, at, size) {
    this.#partial = allocate(prefixSize);
    this.#filled = 0;
    this.#complete(subarray(chunk, at, size), size - at);
  }

  #emit(buffer, at, end) {
    if (end - at < headerSize) return die('a frame without a header');
    this.#onFrame(buffer[at + 4], readUInt32BE(buffer, at + 5), utf8Slice(buffer, at + headerSize, end));
  }
}

// A Channel speaks frames on a descriptor. What is sent in one tick is written
// at once, by a plain write: a stream would cost more than the rest of a call.
class Channel {
  #fd;
  #socket;
  #buffer = allocate(bufferSize);
  #used = 0;
  #scheduled = false;
  #behind = 0; // writes that wait in the socket since the host does not keep up
  #flushLater = () => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(fd, onFrame) {
    this.#fd = fd;
    const reader = new Reader(onFrame);
    const callback = (size, chunk) => {
      reader.push(chunk, size);
      return true;
    };
    this.#socket = new net.Socket({
      fd, readable: true, writable: true, onread: { buffer: allocate(bufferSize), callback },
    });
    for (const event of ['end', 'close', 'error']) this.#socket.on(event, () => exit());
    this.#socket.resume();
  }

  // send queues a frame. A level of 0 or more is the byte before a log's text.
  send(type, call, text, level = -1) {
    const head = level < 0 ? headerSize : headerSize + 1;
    if (this.#used + head + text.length * 3 <= bufferSize) {
      this.#used += put(this.#buffer, this.#used, { type, call, text, level, head });
      if (!this.#scheduled) {
        this.#scheduled = true;
        nextTick(this.#flushLater);
      }
      return;
    }
    this.flush();
    if (head + text.length * 3 <= bufferSize) return this.send(type, call, text, level);
    const frame = allocate(head + byteLength(text));
    this.#write(frame, put(frame, 0, { type, call, text, level, head }));
  }

  // flush writes what was queued.
  flush() {
    const size = this.#used;
    this.#used = 0;
    if (size > 0) this.#write(this.#buffer, size);
  }

  #write(buffer, size) {
    let at = 0;
    while (at < size && this.#behind === 0) {
      try {
        at += writeSync(this.#fd, buffer, at, size - at);
      } catch (error) {
        if (error.code !== 'EAGAIN') return exit();
        break;
      }
    }
    if (at === size) return;
    this.#behind++;
    writeToSocket(this.#socket, copyOf(subarray(buffer, at, size)), () => { this.#behind--; });
  }
}

// die ends a worker that cannot go on; the host says why to nobody but the log.
function die(reason) {
  writeSync(2, `worker: the host sent ${reason}\n`);
  exit(70);
}

// put writes a frame at the given place of a buffer and returns its size.
function put(buffer, at, { type, call, text, level, head }) {
  const size = head + utf8Write(buffer, text, at + head);
  writeUInt32BE(buffer, size - prefixSize, at);
  buffer[at + 4] = type;
  writeUInt32BE(buffer, call, at + 5);
  if (level >= 0) buffer[at + headerSize] = level;
  return size;
}

module.exports = { Channel, Reader, die, type };
},
"./load.js"(module, require) {
'use strict';

// From source to a handler: a function of (event, context, callback?).

const vm = require('node:vm');
const { placeOfSyntaxError } = require('./failure.js');
const { importDynamically, link, userRequire } = require('./modules.js');
const { formOf, strayBracket, withoutModuleSyntax } = require('./scan.js');

const AsyncFunction = (async () => {}).constructor;

// parse compiles the code without running any of it. load, of what it returns,
// runs what must be run and gives the handler.
function parse({ filename, source }) {
  const text = source.replace(/^(\uFEFF?)#!/, '$1//'); // a module takes a hashbang, a function body does not
  const form = formOf(text);
  return { form, executes: form !== 'fragment', load: parsers[form](text, filename) };
}

const parsers = {
  fragment(source, filename) {
    const compiled = compileFragment(source, filename);
    refuseBreakout(source, filename);
    return () => (event, context) => compiled(event, event.params, context, userRequire)();
  },

  commonjs(source, filename) {
    const compiled = compile(source, ['exports', 'require', 'module', '__filename', '__dirname'], { filename });
    return () => {
      const module = { exports: {}, id: filename, filename, loaded: false };
      compiled.call(module.exports, module.exports, userRequire, module, filename, '.');
      module.loaded = true;
      return handlerOf(module.exports, 'module.exports');
    };
  },

  module(source, filename) {
    const module = compileModule(source, filename);
    return async () => {
      await module.link(link);
      await module.evaluate();
      return handlerOf(module.namespace, 'the module');
    };
  },
};

function compile(body, parameters, options) {
  return vm.compileFunction(body, parameters, { ...options, importModuleDynamically: importDynamically });
}

// compileFragment compiles a function body. Its names are the parameters of an
// outer function, so that a fragment may declare its own params or context. The
// wrapper has lines to itself: lines and columns are those of the user's source.
function compileFragment(source, filename) {
  const wrapped = `return async () => {\n${source}\n}`;
  try {
    return compile(wrapped, ['event', 'params', 'context', 'require'], { filename, lineOffset: -1 });
  } catch (error) {
    const lines = source.split('\n');
    const place = placeOfSyntaxError(error.stack, filename);
    if (place === undefined || place.line <= lines.length) throw error;
    const end = { line: lines.length, column: lines.at(-1).length + 1 };
    throw locate(error, source, { filename, ...end, message: 'Unexpected end of input' });
  }
}

// refuseBreakout refuses a fragment that is only well formed within the wrapper,
// such as "}; foo(); async () => {": the language checks the body of a function
// made from text on its own.
function refuseBreakout(source, filename) {
  try {
    new AsyncFunction(source);
  } catch (error) {
    throw locate(error, source, { filename, ...strayBracket(source) });
  }
}

// compileModule compiles an ES module. V8 tells nobody where a SyntaxError of a
// module is; so the code is compiled again as a function body, without its
// imports and exports, and if that has the same fault, it is there.
function compileModule(source, filename) {
  try {
    return new vm.SourceTextModule(source, {
      identifier: filename,
      importModuleDynamically: importDynamically,
      initializeImportMeta: (meta) => { meta.url = filename; },
    });
  } catch (error) {
    try {
      compileFragment(`${withoutModuleSyntax(source)}`, filename);
    } catch (again) {
      const place = placeOfSyntaxError(again.stack, filename);
      if (place !== undefined && again.message === error.message) throw locate(error, source, { filename, ...place });
    }
    throw error;
  }
}

// locate gives a SyntaxError the place that V8 would have given it.
function locate(error, source, { filename, line, column, message = error.message }) {
  const text = source.split('\n')[line - 1];
  error.message = message;
  error.stack = `${filename}:${line}\n${text}\n${' '.repeat(column - 1)}^\n\n${error.name}: ${message}`;
  return error;
}

// handlerOf finds the handler among what the code exports.
function handlerOf(exports, what) {
  const candidates = [exports, exports?.handler, exports?.default, exports?.default?.handler];
  const handler = candidates.find((candidate) => typeof candidate === 'function');
  if (handler === undefined) {
    throw new TypeError(`${what} is neither a function nor has a handler: export a function of (event, context)`);
  }
  return handler;
}

module.exports = { parse };
},
"./log.js"(module, require) {
'use strict';

// Where what a function prints goes: console.* and process.stdout and stderr
// become log frames of the call that printed.

const { Writable } = require('node:stream');
const { cut } = require('./failure.js');
const { replace, uncurryThis } = require('./primordials.js');

const levels = { debug: 0, info: 1, warn: 2, error: 3 };
const maxEntry = 8 << 10;
const maxPerCall = 1 << 20;
const entryCost = 16; // an empty line is not free
// Entries that are sent at once, so that they are not lost with a call that then
// loops or aborts. What comes after them waits for the end of the tick.
const promptEntries = 64;

const toString = uncurryThis(Buffer.prototype.toString);

// install redirects all printing to print(level, text).
function install(print) {
  let level; // of the console method under way
  const stream = (fallback) => Object.assign(new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      print(level ?? fallback, typeof chunk === 'string' ? chunk : toString(chunk));
      done();
    },
  }), { fd: fallback === levels.info ? 1 : 2 });
  define(process, 'stdout', stream(levels.info));
  define(process, 'stderr', stream(levels.error));
  for (const [method, of] of Object.entries({ ...levels, log: levels.info, trace: levels.error })) {
    const write = console[method];
    console[method] = (...args) => {
      const outer = level;
      level = of;
      try {
        write(...args);
      } finally {
        level = outer;
      }
    };
  }
}

function define(object, name, value) {
  Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
}

// A Budget bounds what one call may log.
class Budget {
  #left = maxPerCall;
  #entries = 0;
  dropped = 0; // characters

  // take returns the text to log, or undefined where nothing is left.
  take(text) {
    const entry = cut(replace(text, /\r?\n$/, ''), maxEntry);
    this.#left -= entryCost + entry.length;
    if (this.#left >= 0) return entry;
    this.dropped += text.length;
    return undefined;
  }

  // isPrompt tells whether the entry just taken is sent at once.
  isPrompt() {
    return this.#entries < promptEntries && this.#entries++ >= 0;
  }
}

module.exports = { install, Budget, levels };
},
"./modules.js"(module, require) {
'use strict';

// What the user's code may import or require: the modules that Node brings.

const { isBuiltin } = require('node:module');
const vm = require('node:vm');

const requireBuiltin = require;

function notFound(specifier) {
  const error = new Error(`Cannot find module '${specifier}': only Node's built-in modules can be loaded`);
  error.code = 'MODULE_NOT_FOUND';
  return error;
}

function userRequire(specifier) {
  if (typeof specifier !== 'string' || !isBuiltin(specifier)) throw notFound(specifier);
  return requireBuiltin(specifier);
}

// importDynamically serves import() of the user's code.
function importDynamically(specifier) {
  if (!isBuiltin(specifier)) throw notFound(specifier);
  return import(specifier);
}

// link serves import statements: a synthetic module that exports what the built-in does.
async function link(specifier, referrer) {
  const namespace = await importDynamically(specifier);
  const names = Object.keys(namespace);
  return new vm.SyntheticModule(names, function () {
    for (const name of names) this.setExport(name, namespace[name]);
  }, { identifier: specifier, context: referrer.context });
}

module.exports = { userRequire, importDynamically, link };
},
"./primordials.js"(module, require) {
'use strict';

// What the worker uses of the language after the user's code has run is taken
// here, before it runs: a function may patch JSON or a prototype for itself
// without confusing the worker.

const { bind, call } = Function.prototype;
const uncurryThis = bind.bind(call);

module.exports = {
  uncurryThis,
  parse: JSON.parse,
  stringify: JSON.stringify,
  isArray: Array.isArray,
  isFinite: Number.isFinite,
  getPrototypeOf: Object.getPrototypeOf,
  exec: uncurryThis(RegExp.prototype.exec),
  includes: uncurryThis(String.prototype.includes),
  indexOf: uncurryThis(String.prototype.indexOf),
  join: uncurryThis(Array.prototype.join),
  push: uncurryThis(Array.prototype.push),
  replace: uncurryThis(String.prototype.replace),
  slice: uncurryThis(String.prototype.slice),
  split: uncurryThis(String.prototype.split),
  startsWith: uncurryThis(String.prototype.startsWith),
};
},
"./result.js"(module, require) {
'use strict';

// What a function returned, as JSON. JSON.stringify alone would turn NaN into
// null and leave functions and Maps out without a word, so the value is looked
// through first.

const { types } = require('node:util');
const { exec, getPrototypeOf, includes, isArray, isFinite, replace, stringify } = require('./primordials.js');

const ObjectPrototype = Object.prototype;
const ArrayPrototype = Array.prototype;
const identifier = /^[A-Za-z_$][A-Za-z0-9_$]*$/;
const maxPlainDepth = 64; // a circle is found by the slow way

// An Unserializable says which part of a result is no JSON.
class Unserializable extends Error {
  name = 'UnserializableResult';
}

// A TooLarge is a result that no string can hold.
class TooLarge extends Error {}

// encode returns the JSON of a result; undefined is null.
function encode(value) {
  try {
    const json = isPlain(value, 0) ? stringify(value) : stringifyStrictly(value);
    if (json === undefined) return 'null';
    return includes(json, '\\ud') ? replaceLoneSurrogates(json) : json;
  } catch (error) {
    switch (error instanceof RangeError && error.message) {
      case 'Maximum call stack size exceeded': throw new Unserializable('result is nested too deeply');
      case 'Invalid string length': throw new TooLarge();
    }
    throw error;
  }
}

// isPlain tells whether a value is surely what JSON.stringify writes in full.
function isPlain(value, depth) {
  switch (typeof value) {
    case 'string': case 'boolean': case 'undefined': return true;
    case 'number': return isFinite(value);
    case 'object': break;
    default: return false;
  }
  if (value === null) return true;
  if (depth > maxPlainDepth || value.toJSON !== undefined) return false;
  const prototype = getPrototypeOf(value);
  if (prototype === ArrayPrototype && isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      if (!isPlain(value[i], depth + 1)) return false;
    }
    return true;
  }
  if (prototype !== ObjectPrototype && prototype !== null) return false;
  for (const key in value) {
    if (!isPlain(value[key], depth + 1)) return false;
  }
  return true;
}

// stringifyStrictly looks at each value after its toJSON, and keeps the path to it.
function stringifyStrictly(result) {
  const path = []; // the objects around the value, outermost first
  let depth = 0;
  return stringify(result, function (key, value) {
    while (depth > 0 && path[depth - 1].value !== this) depth--;
    const step = { key, value, isItem: isArray(this) };
    path[depth] = step;
    const fault = faultOf(value);
    if (fault !== '') throw new Unserializable(`${pathTo(path, depth)} is ${fault}`);
    if (typeof value !== 'object' || value === null) return value;
    for (let i = 0; i < depth; i++) {
      if (path[i].value === value) throw new Unserializable(`${pathTo(path, depth)} is circular`);
    }
    depth++;
    return value;
  });
}

function faultOf(value) {
  switch (typeof value) {
    case 'number': return isFinite(value) ? '' : `${value}`;
    case 'bigint': return 'a BigInt';
    case 'function': return 'a function';
    case 'symbol': return 'a symbol';
    case 'object': return value === null ? '' : faultOfObject(value);
    default: return '';
  }
}

function faultOfObject(value) {
  if (types.isMap(value)) return 'a Map';
  if (types.isSet(value)) return 'a Set';
  if (types.isWeakMap(value)) return 'a WeakMap';
  if (types.isWeakSet(value)) return 'a WeakSet';
  if (types.isPromise(value)) return 'a Promise: it was not awaited';
  if (types.isBoxedPrimitive(value)) return faultOf(value.valueOf());
  return '';
}

// pathTo spells the way to the value at the given depth, as in result.a[2].
function pathTo(path, depth) {
  let text = 'result';
  for (let i = 1; i <= depth; i++) {
    const { key, isItem } = path[i];
    if (isItem) text += `[${key}]`;
    else text += exec(identifier, key) ? `.${key}` : `[${stringify(key)}]`;
  }
  return text;
}

// A lone surrogate is no text: strict readers of JSON refuse even its escape.
function replaceLoneSurrogates(json) {
  return replace(json, /\\(?:\\|ud[89a-f][0-9a-f]{2})/g, (escape) => (escape === '\\\\' ? escape : '\ufffd'));
}

module.exports = { encode, TooLarge };
},
"./scan.js"(module, require) {
'use strict';

// Which form the user's code has, told by its tokens: words in strings,
// templates, regular expressions and comments do not count. This is no parser: it
// knows just enough of the grammar to tell a regular expression from a division.
// Every pattern below matches up to the end at worst, so scanning is linear in
// the source whatever it is.

const blank = /(?:\s+|\/\/[^\n\r\u2028\u2029]*|\/\*(?:[^*]|\*(?!\/))*(?:\*\/)?)*/y;
const number = /\.?\d[\w.]*/y;
const word = /(?:[\w$\\]|[^\x00-\x7f\s])+/y;
const quoted = { "'": /'(?:[^'\\\n\r]+|\\(?:\r\n|[^]))*'?/y, '"': /"(?:[^"\\\n\r]+|\\(?:\r\n|[^]))*"?/y };
const template = /(?:[^`\\$]+|\\[^]?|\$(?!\{))*(?:`|\$\{)?/y; // up to its end or a substitution
const regex = /\/(?:\\.|\[(?:\\.|[^\]\\\n\r])*\]?|[^/\\[\n\r])*(?:\/[\w$]*)?/y;
const punctuator = /=>|===?|!==?|[<>]=|\+\+|--|\?\.|\.\.\.|[^]/y;

const wordsBeforeExpression = new Set([
  'await', 'case', 'delete', 'do', 'else', 'extends', 'in', 'instanceof', 'new', 'of', 'return', 'throw', 'typeof', 'void', 'yield',
]);
const wordsBeforeBlock = new Set(['do', 'else']);
const wordsBeforeCondition = new Set(['for', 'if', 'while', 'with']);
const closing = new Set([')', ']', '}']);

// A Scanner cuts source into tokens of { kind, text, at, depth }.
class Scanner {
  tokens = [];
  closers = new Map(); // from a square bracket's place in tokens to its end's
  stray; // where the first closing bracket without an opening one is
  #source;
  #at = 0;
  #open = []; // per open bracket: its text, and whether an expression may follow its end
  #endsStatement = false; // of the bracket closed last

  constructor(source) {
    this.#source = source;
    for (this.#match(blank); this.#at < source.length; this.#match(blank)) this.#token();
  }

  #token() {
    const c = this.#source[this.#at];
    if (c in quoted) return this.#add('string', quoted[c]);
    if (c === '`') return this.#template('`');
    if (c === '/' && this.#expressionMayFollow()) return this.#add('regex', regex);
    if (this.#matches(number)) return this.#add('number', number);
    if (this.#matches(word)) return this.#add('word', word);
    if (c === '}' && this.#open.at(-1)?.text === '${') return this.#template(this.#close(c));
    if (c === '(' || c === '[' || c === '{') this.#openBracket(c);
    else if (closing.has(c)) this.#close(c);
    return this.#add('punctuator', punctuator);
  }

  // template scans from a backtick, or from the end of a substitution, on.
  #template(opening) {
    const at = this.#at;
    this.#at += opening.length;
    const text = this.#match(template);
    this.#push('template', text, at);
    if (text.endsWith('${')) this.#open.push({ text: '${', endsStatement: false });
  }

  #openBracket(text) {
    const previous = this.tokens.at(-1);
    const endsStatement = text === '(' ? this.#beforeCondition(previous) : text === '{' && this.#beforeBlock(previous);
    this.#open.push({ text, endsStatement, index: this.tokens.length });
  }

  #close(text) {
    const bracket = this.#open.pop();
    if (bracket === undefined) this.stray ??= this.#at;
    else if (text === ']') this.closers.set(bracket.index, this.tokens.length);
    this.#endsStatement = bracket?.endsStatement ?? true;
    return text;
  }

  #beforeCondition(previous) {
    if (previous?.text === 'await') return this.tokens.at(-2)?.text === 'for';
    return wordsBeforeCondition.has(previous?.text) && !this.#isProperty();
  }

  // beforeBlock tells a block from an object literal.
  #beforeBlock(previous) {
    if (previous === undefined) return true;
    if (previous.kind === 'word') {
      return wordsBeforeBlock.has(previous.text) || this.#isProperty() || !wordsBeforeExpression.has(previous.text);
    }
    if (previous.text === ':') return this.#open.at(-1)?.endsStatement ?? true;
    return [';', '{', '}', ')', '=>'].includes(previous.text);
  }

  // expressionMayFollow tells whether a slash begins a regular expression.
  #expressionMayFollow() {
    const previous = this.tokens.at(-1);
    if (previous === undefined) return true;
    const { kind, text } = previous;
    if (kind === 'word') return wordsBeforeExpression.has(text) && !this.#isProperty();
    if (kind === 'template') return text.endsWith('${');
    if (kind !== 'punctuator') return false;
    if (text === ')' || text === '}') return this.#endsStatement;
    return text !== ']' && text !== '++' && text !== '--';
  }

  // isProperty tells whether the last token is the name after a dot.
  #isProperty() {
    const before = this.tokens.at(-2)?.text;
    return before === '.' || before === '?.';
  }

  #matches(pattern) {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#source);
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const [text] = pattern.exec(this.#source);
    this.#at += text.length;
    return text;
  }

  #add(kind, pattern) {
    const at = this.#at;
    this.#push(kind, this.#match(pattern), at);
  }

  #push(kind, text, at) {
    this.tokens.push({ kind, text, at, depth: this.#open.length });
  }
}

// formOf is "module", "commonjs" or "fragment".
function formOf(source) {
  if (!/export|import/.test(source)) return 'fragment';
  const { tokens, closers } = new Scanner(source);
  let form = 'fragment';
  for (let i = 0; i < tokens.length; i++) {
    if (isModuleSyntax(tokens, i)) return 'module';
    if (isExportsAssignment(tokens, i, closers)) form = 'commonjs';
  }
  return form;
}

// isModuleSyntax finds an import or export declaration at the top level. Both are
// reserved words, so they cannot be anything but a property, import() or import.meta.
function isModuleSyntax(tokens, i) {
  const { kind, text, depth } = tokens[i];
  if (kind !== 'word' || depth !== 0 || isDot(tokens[i - 1])) return false;
  if (text === 'export') return true;
  return text === 'import' && !isDot(tokens[i + 1]) && tokens[i + 1]?.text !== '(';
}

// isExportsAssignment finds "exports" that begins the left side of an assignment:
// module.exports = …, module.exports.x = …, exports.x = …, exports['x'] = ….
function isExportsAssignment(tokens, i, closers) {
  if (tokens[i].kind !== 'word' || tokens[i].text !== 'exports') return false;
  const ofModule = isDot(tokens[i - 1]) && tokens[i - 2]?.text === 'module' && !isDot(tokens[i - 3]);
  if (isDot(tokens[i - 1]) && !ofModule) return false;
  let end = i + 1;
  for (;;) {
    if (tokens[end]?.text === '.') end += 2;
    else if (tokens[end]?.text === '[') end = (closers.get(end) ?? tokens.length) + 1;
    else break;
  }
  return tokens[end]?.text === '=' && tokens[end].kind === 'punctuator' && (ofModule || end > i + 1);
}

function isDot(token) {
  return token?.text === '.' || token?.text === '?.';
}

// strayBracket is the line and column, from 1, of the first closing bracket that
// nothing opened.
function strayBracket(source) {
  const before = source.slice(0, new Scanner(source).stray ?? 0).split('\n');
  return { line: before.length, column: before.at(-1).length + 1 };
}

// withoutModuleSyntax blanks import and export out of a module, so that what is
// left may be a function body with everything in its place.
function withoutModuleSyntax(source) {
  const { tokens } = new Scanner(source);
  let text = '';
  let end = 0;
  for (let i = 0; i < tokens.length; i++) {
    if (!isModuleSyntax(tokens, i)) continue;
    const last = endOfDeclaration(tokens, i);
    const to = tokens[last].at + tokens[last].text.length;
    const blank = source.slice(tokens[i].at, to).replace(/[^\n\r]/g, ' ');
    text += source.slice(end, tokens[i].at) + (tokens[last].text === 'default' ? blank.replace('  ', '_=') : blank);
    [end, i] = [to, last];
  }
  return text + source.slice(end);
}

// endOfDeclaration is the last token of what is no plain statement about an
// import or export: the name of the module, the brace after the names, or the
// word before what is exported.
function endOfDeclaration(tokens, i) {
  const isImport = tokens[i].text === 'import';
  const next = tokens[i + 1]?.text;
  if (!isImport && next !== '{' && next !== '*') return next === 'default' ? i + 1 : i;
  let end = i;
  while (end < tokens.length - 1 && tokens[end].kind !== 'string' && tokens[end].text !== ';') {
    end++;
    if (!isImport && tokens[end].text === '}' && tokens[end + 1]?.text !== 'from') break;
  }
  return end;
}

module.exports = { formOf, strayBracket, withoutModuleSyntax };
},
"./worker.js"(module, require) {
'use strict';

// The worker: takes frames on descriptor 3, runs the user's function, answers.

const { AsyncLocalStorage } = require('node:async_hooks');
const { Channel, die, type } = require('./frames.js');
const { describe } = require('./failure.js');
const { parse: parseCode } = require('./load.js');
const log = require('./log.js');
const { parse, stringify, uncurryThis } = require('./primordials.js');
const { encode, TooLarge } = require('./result.js');

const { byteLength } = Buffer;
const run = uncurryThis(AsyncLocalStorage.prototype.run);
const getStore = uncurryThis(AsyncLocalStorage.prototype.getStore);

const calls = new AsyncLocalStorage();
const channel = new Channel(3, onFrame);

let filename = 'function.js';
let maxResult = Infinity;
let handler;

// A Call is a question of the host's that is answered once.
class Call {
  id;
  failureKind; // of what nothing catches
  answered = false;
  budget = new log.Budget();

  constructor(id, failureKind = 'thrown') {
    this.id = id;
    this.failureKind = failureKind;
  }

  answer(frameType, text) {
    if (this.answered) return;
    if (this.budget.dropped > 0) send(log.levels.warn, this, `${this.budget.dropped} more characters were not logged`);
    this.answered = true;
    channel.send(frameType, this.id, text);
  }

  fail(kind, thrown) {
    if (!this.answered) this.answer(type.failed, stringify(describe(kind, thrown, filename)));
  }
}

// What is printed or thrown outside of any call belongs to this one. Its budget
// is renewed with each call.
const background = new Call(0);
background.answered = true;

function onFrame(frameType, id, payload) {
  switch (frameType) {
    case type.invoke: return onInvoke(new Call(id), payload);
    case type.check: return onCheck(new Call(id), parse(payload));
    case type.load: return onLoad(new Call(id, 'load'), parse(payload));
    default: return die(`a frame of unknown type ${frameType}`);
  }
}

function onCheck(call, code) {
  try {
    const { form, executes } = parseCode(code);
    call.answer(type.loaded, stringify({ __proto__: null, form, executes }));
  } catch (error) {
    call.answer(type.failed, stringify(describe('load', error, code.filename)));
  }
}

function onLoad(call, code) {
  filename = code.filename;
  maxResult = code.max_result || Infinity;
  run(calls, call, load, call, code);
}

async function load(call, code) {
  try {
    const { form, executes, load } = parseCode(code);
    handler = await load();
    call.answer(type.loaded, stringify({ __proto__: null, form, executes }));
  } catch (error) {
    call.fail('load', error);
  }
}

function onInvoke(call, payload) {
  if (handler === undefined) return die('an invocation before the load was answered');
  let event;
  try {
    event = parse(payload);
  } catch (error) {
    return call.fail('params', error);
  }
  background.budget = new log.Budget();
  run(calls, call, invoke, call, event);
}

async function invoke(call, event) {
  try {
    if (handler.length >= 3) return await invokeWithCallback(call, event);
    return succeed(call, await handler(event, event.context));
  } catch (error) {
    return call.fail('thrown', error);
  }
}

// invokeWithCallback answers with what comes first: the callback, or a promise
// that is rejected or has a value. One without a value says nothing: that is how
// an async function ends that still waits for its callback.
async function invokeWithCallback(call, event) {
  const callback = (error, value) => {
    if (error !== null && error !== undefined) call.fail('thrown', error);
    else succeed(call, value);
  };
  const returned = handler(event, event.context, callback);
  if (typeof returned?.then !== 'function') return;
  const value = await returned;
  if (value !== undefined) succeed(call, value);
}

function succeed(call, value) {
  if (call.answered) return;
  try {
    const json = encode(value);
    if (json.length * 3 > maxResult && byteLength(json) > maxResult) throw new TooLarge();
    call.answer(type.result, json);
  } catch (error) {
    if (error instanceof TooLarge) call.fail('output', new TooLarge(`the result is larger than ${maxResult} bytes of JSON`));
    else call.fail('thrown', error);
  }
}

// onUncaught takes what no call caught: it fails the call that it came from, if
// that is still under way, and the worker goes on.
function onUncaught(thrown) {
  const call = getStore(calls) ?? background;
  if (!call.answered) call.fail(call.failureKind, thrown);
  else print(log.levels.error, `uncaught: ${stackOrValue(thrown)}`);
}

function stackOrValue(thrown) {
  const { type, message, stack_trace: stack } = describe('thrown', thrown, filename);
  return stack || `${type}: ${message}`;
}

function print(level, text) {
  const call = getStore(calls) ?? background;
  const { budget } = call.answered ? background : call;
  const entry = budget.take(text);
  if (entry === undefined) return;
  send(level, call, entry);
  if (budget.isPrompt()) channel.flush();
}

function send(level, call, text) {
  channel.send(type.log, call.answered ? 0 : call.id, text, level);
}

log.install(print);
process.setUncaughtExceptionCaptureCallback(onUncaught);
process.on('unhandledRejection', onUncaught);
process.on('exit', () => channel.flush());
channel.send(type.ready, 0, stringify({ version: process.version }));
},
};
const modules = {};
function load(name) {
  if (!(name in files)) return require(name);
  if (!(name in modules)) files[name](modules[name] = { exports: {} }, load);
  return modules[name].exports;
}
load("./worker.js");
