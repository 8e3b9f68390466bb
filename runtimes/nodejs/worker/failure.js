'use strict';

// Failures, as the host gets them: of anything that may be thrown, with the
// place in the user's own source and without a frame of the worker's.

const { hasNetwork } = require('./egress.js');
const { inspect, types: { isNativeError } } = require('node:util');
const { exec, getPrototypeOf, includes, indexOf, join, push, replace, slice, split, startsWith, uncurryThis } = require('./primordials.js');

const maxType = 128;
const maxMessage = 8 << 10;
const maxStack = 16 << 10;

const here = `${__dirname}/`;

const encoder = new TextEncoder();
const encodeInto = uncurryThis(TextEncoder.prototype.encodeInto);
const scratch = new Uint8Array(maxStack);
const subarray = uncurryThis(Uint8Array.prototype.subarray);

// Where Node was, which it puts before the stack of an error of its compiler.
const placeInNode = /^node:[^\n]*\n(?:[^\n]+\n)*\n/;
// What Node says where the kernel denied a connection; a resolver's errors do not tell why.
const networkDenied = /\b(?:(?:connect|listen|bind) (?:EPERM|EACCES)|getaddrinfo E\w+|query\w* ECONNREFUSED)\b/;
const why = hasNetwork
  ? "functions reach the network by Node's own agents of http, https and fetch, or by the proxy of HTTPS_PROXY"
  : 'functions have no network but by "network": "egress"';

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

// messageOf is the message with that of its cause: "fetch failed" alone says nothing.
function messageOf(thrown) {
  const cause = isNativeError(thrown) ? messageOfCause(thrown) : '';
  const message = cause === '' ? ownMessageOf(thrown) : `${ownMessageOf(thrown)}: ${cause}`;
  if (!isNativeError(thrown) || exec(networkDenied, message) === null) return message;
  return `${message} (${why})`;
}

// messageOfCause looks for one that has text: that of several attempts to connect has none.
function messageOfCause(thrown) {
  return attempt(() => thrown.cause.message) || attempt(() => thrown.cause.errors[0].message);
}

function ownMessageOf(thrown) {
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
  const stack = isObject(thrown) ? replace(attempt(() => thrown.stack), placeInNode, '') : '';
  const message = isObject(thrown) ? attempt(() => thrown.message) : '';
  const afterMessage = message === '' ? -1 : indexOf(stack, message) + message.length;
  const at = indexOf(stack, frameStart, afterMessage);
  if (at < 0) return { header: stack, frames: [] };
  return { header: slice(stack, 0, at), frames: split(slice(stack, at + 1, at + 4 * maxStack), '\n') };
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
