'use strict';

// A function may return an iterator in place of a value, or a response whose body is one:
// its items are the parts of a stream, sent as they are made.

const { types } = require('node:util');
const { type } = require('./frames.js');
const { getPrototypeOf, uncurryThis } = require('./primordials.js');
const { encode, TooLarge } = require('./result.js');

const { asyncIterator, iterator } = Symbol;
const PromiseOf = Promise;
const { byteLength, from } = Buffer;
const { isUint8Array, isAnyArrayBuffer } = types;
const byteLengthOf = uncurryThis(Object.getOwnPropertyDescriptor(getPrototypeOf(Uint8Array.prototype), 'byteLength').get);

const window = 262144; // bytes of parts that may wait for the host
const partCost = 16;
const kind = { json: 0, bytes: 1 };

const streams = { __proto__: null }; // under way, by their call

// streamIn finds what a function returned to be streamed: { items, head }, where head is
// what goes with it.
function streamIn(value) {
  if (typeof value !== 'object' || value === null) return undefined;
  if (isStream(value)) return { items: value, head: null };
  if (value.statusCode === undefined || !isStream(value.body)) return undefined;
  return { items: value.body, head: { __proto__: null, statusCode: value.statusCode, headers: value.headers } };
}

function isStream(value) {
  if (typeof value !== 'object' || value === null) return false;
  if (typeof value[asyncIterator] === 'function') return true;
  return typeof value.next === 'function' && typeof value[iterator] === 'function';
}

// A Stream is one call's.
class Stream {
  #channel;
  #call;
  #maxPart;
  #room = window;
  #wake; // of what waits for room
  #cancelled = false;

  constructor(channel, call, maxPart) {
    this.#channel = channel;
    this.#call = call;
    this.#maxPart = maxPart;
  }

  // run sends the items. It throws what the iterator throws, and TooLarge.
  async run({ items, head }) {
    const { id } = this.#call;
    const source = typeof items[asyncIterator] === 'function' ? items[asyncIterator]() : items[iterator]();
    this.#channel.send(type.stream, id, encode(head, this.#maxPart));
    streams[id] = this;
    let ended = false;
    try {
      while (this.#isWanted()) {
        ended = true; // if next throws, it has
        const { done, value } = await source.next();
        if (done) return;
        ended = false;
        if (!this.#isWanted()) return;
        this.#send(await value);
        await this.#untilRoom();
      }
    } finally {
      delete streams[id];
      if (!ended) await source.return?.();
    }
  }

  // isWanted tells whether more is: not after an error that nothing caught, either.
  #isWanted() {
    return !this.#cancelled && !this.#call.answered;
  }

  // send sends one part at once: what comes before the next may take long.
  #send(value) {
    const bytes = bytesOf(value);
    if (bytes !== undefined) {
      const size = byteLengthOf(bytes);
      this.#spend(size);
      return this.#channel.sendBytes(type.part, this.#call.id, { bytes, size, first: kind.bytes });
    }
    const json = encode(value, this.#maxPart);
    this.#spend(byteLength(json));
    this.#channel.send(type.part, this.#call.id, json, kind.json);
    return this.#channel.flush();
  }

  #spend(bytes) {
    if (bytes > this.#maxPart) throw new TooLarge();
    this.#room -= bytes + partCost;
  }

  #untilRoom() {
    if (this.#room > 0 || this.#cancelled) return undefined;
    return new PromiseOf((resolve) => { this.#wake = resolve; });
  }

  more(bytes) {
    this.#room += bytes;
    if (this.#room > 0) this.#wake?.();
  }

  cancel() {
    this.#cancelled = true;
    this.#wake?.();
  }
}

function bytesOf(value) {
  if (isUint8Array(value)) return value;
  return isAnyArrayBuffer(value) ? from(value) : undefined;
}

// more and cancel take the host's word about a stream. One that is over hears nothing.
function more(id, digits) {
  streams[id]?.more(+digits);
}

function cancel(id) {
  streams[id]?.cancel();
}

module.exports = { Stream, cancel, more, streamIn };
