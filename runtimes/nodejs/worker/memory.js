'use strict';

// process.memoryUsage reads /proc/self, which the sandbox hides. In its place stand
// V8's own figures, and for the resident memory its highest value so far.

const { resourceUsage } = process;

const rss = () => resourceUsage.call(process).maxRSS * 1024;

function memoryUsage() {
  const heap = require('node:v8').getHeapStatistics();
  return {
    rss: rss(),
    heapTotal: heap.total_heap_size,
    heapUsed: heap.used_heap_size,
    external: heap.external_memory,
    arrayBuffers: 0, // part of external, which V8 does not tell apart
  };
}

function install() {
  process.memoryUsage = Object.assign(memoryUsage, { rss });
}

module.exports = { install };
