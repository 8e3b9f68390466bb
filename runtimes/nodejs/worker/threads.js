'use strict';

// The threads of functions. V8 from Node.js 23 on maps room for code as writable, 512 MiB
// for each thread, and the kernel counts that as memory whether it is used or not. The host
// lets a worker have it once, and a thread gets less than that.

const CODE_MB = 16; // of compiled code of one thread

let done = !process.argv.includes('small-threads');
process.argv.length = 2; // the rest is the host's

// bound makes the threads small that are begun from now on.
function bound() {
  if (done) return;
  done = true;
  const threads = require('node:worker_threads');
  threads.Worker = class Worker extends threads.Worker {
    constructor(filename, options) {
      super(filename, { ...options, resourceLimits: { codeRangeSizeMb: CODE_MB, ...options?.resourceLimits } });
    }
  };
  require('node:module').syncBuiltinESMExports();
}

module.exports = { bound };
