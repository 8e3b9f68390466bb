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
