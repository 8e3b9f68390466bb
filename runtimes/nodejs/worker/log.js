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
