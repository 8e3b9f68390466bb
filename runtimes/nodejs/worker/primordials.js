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
