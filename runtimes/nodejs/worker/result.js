'use strict';

// What a function returned, as JSON. JSON.stringify alone would turn NaN into
// null and leave functions and Maps out without a word, so the value is looked
// through first.

const { types } = require('node:util');
const { exec, getPrototypeOf, includes, isArray, isFinite, replace, stringify } = require('./primordials.js');

const { byteLength } = Buffer;
const ObjectPrototype = Object.prototype;
const ArrayPrototype = Array.prototype;
const identifier = /^[A-Za-z_$][A-Za-z0-9_$]*$/;
const maxPlainDepth = 64; // a circle is found by the slow way

// An Unserializable says which part of a result is no JSON.
class Unserializable extends Error {
  name = 'UnserializableResult';
}

// A TooLarge is a result that is larger than allowed, or than any string may be.
class TooLarge extends Error {}

// An UnserializableContext says which part of a context is no JSON.
class UnserializableContext extends Error {
  name = 'UnserializableContext';
}

// A TooLargeContext is what a function left in its context, and more than it may.
class TooLargeContext extends Error {}

let room; // bytes of JSON that are left for the result under way

// spend counts what a value takes at least, so that nobody waits for the JSON of
// what is too large anyway.
function spend(bytes) {
  room -= bytes;
  if (room < 0) throw new TooLarge();
}

// encode returns the JSON of a result; undefined is null. One of more than limit
// bytes may throw TooLarge: what it returns is to be counted.
function encode(value, limit) {
  try {
    room = limit;
    const plain = isPlain(value, 0);
    room = limit;
    const json = plain ? stringify(value) : stringifyStrictly(value);
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

// encodeContext returns the JSON of what a function left in its context.
function encodeContext(context, limit) {
  if (typeof context !== 'object' || context === null || isArray(context)) {
    throw new UnserializableContext('event.context is no object any more');
  }
  let json;
  try {
    json = encode(context, limit);
  } catch (error) {
    if (error instanceof TooLarge) throw new TooLargeContext();
    if (error instanceof Unserializable) throw new UnserializableContext(replace(error.message, /^result/, 'context'));
    throw error;
  }
  if (json[0] !== '{') throw new UnserializableContext('context is written as no object');
  if (json.length * 3 > limit && byteLength(json) > limit) throw new TooLargeContext();
  return json;
}

// isPlain tells whether a value is surely what JSON.stringify writes in full.
function isPlain(value, depth) {
  switch (typeof value) {
    case 'string': spend(value.length); return true;
    case 'boolean': case 'undefined': return true;
    case 'number': return isFinite(value);
    case 'object': break;
    default: return false;
  }
  if (value === null) return true;
  if (depth > maxPlainDepth || value.toJSON !== undefined) return false;
  const prototype = getPrototypeOf(value);
  if (prototype === ArrayPrototype && isArray(value)) {
    spend(value.length);
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
    if (typeof value === 'string' || isArray(value)) spend(value.length);
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

module.exports = { encode, encodeContext, TooLarge, TooLargeContext };
