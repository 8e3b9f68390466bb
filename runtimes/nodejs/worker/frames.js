'use strict';

// Frames on the socketpair to the host, as documented in runtimes/PROTOCOL.md.

const net = require('node:net');
const { writeSync } = require('node:fs');
const { uncurryThis } = require('./primordials.js');

const type = {
  check: 1, load: 2, invoke: 3, more: 4, cancel: 5,
  ready: 16, loaded: 17, result: 18, failed: 19, log: 20, stream: 21, part: 22, context: 23,
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

  // send queues a frame. A first of 0 or more is a byte before the text: a log's level, a
  // part's kind.
  send(type, call, text, first = -1) {
    const head = first < 0 ? headerSize : headerSize + 1;
    if (this.#used + head + text.length * 3 <= bufferSize) {
      this.#used += put(this.#buffer, this.#used, { type, call, text, first, head });
      if (!this.#scheduled) {
        this.#scheduled = true;
        nextTick(this.#flushLater);
      }
      return;
    }
    this.flush();
    if (head + text.length * 3 <= bufferSize) return this.send(type, call, text, first);
    const frame = allocate(head + byteLength(text));
    this.#write(frame, put(frame, 0, { type, call, text, first, head }));
  }

  // sendBytes writes a frame whose payload is a byte and bytes.
  sendBytes(type, call, { bytes, size, first }) {
    this.flush();
    const frame = allocate(headerSize + 1 + size);
    set(frame, bytes, putHead(frame, 0, { type, call, first, size: frame.length }));
    this.#write(frame, frame.length);
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
function put(buffer, at, { type, call, text, first, head }) {
  const size = head + utf8Write(buffer, text, at + head);
  putHead(buffer, at, { type, call, first, size });
  return size;
}

// putHead writes what is before a payload and returns where that begins.
function putHead(buffer, at, { type, call, first, size }) {
  writeUInt32BE(buffer, size - prefixSize, at);
  buffer[at + 4] = type;
  writeUInt32BE(buffer, call, at + 5);
  if (first < 0) return at + headerSize;
  buffer[at + headerSize] = first;
  return at + headerSize + 1;
}

module.exports = { Channel, Reader, die, type };
