'use strict';

// What the user's code may import or require: the modules that Node brings, and the
// packages that the function depends on.

const { createRequire, isBuiltin } = require('node:module');
const vm = require('node:vm');
const threads = require('./threads.js');

const requireBuiltin = require;
let requirePackage; // undefined: there are none

// usePackages makes those below a folder's node_modules the function's.
function usePackages(folder) {
  if (!folder) return;
  threads.bound(); // what they require does not pass here
  requirePackage = createRequire(`${folder}/function.js`);
}

function notFound(specifier) {
  const error = new Error(`Cannot find module '${specifier}': only Node's built-in modules can be loaded, and packages that the function's dependencies name`);
  error.code = 'MODULE_NOT_FOUND';
  return error;
}

function userRequire(specifier) {
  if (typeof specifier === 'string' && isBuiltin(specifier)) {
    if (isThreads(specifier)) threads.bound();
    return requireBuiltin(specifier);
  }
  if (!isPackage(specifier)) throw notFound(specifier);
  resolve(specifier);
  return requirePackage(specifier);
}

// resolve finds a package's file. What Node says where there is none shows the host's folders.
function resolve(specifier) {
  try {
    return requirePackage.resolve(specifier);
  } catch (error) {
    throw error.code === 'MODULE_NOT_FOUND' ? notFound(specifier) : error;
  }
}

// isPackage tells a package's name, or a module of one, from a path.
function isPackage(specifier) {
  return requirePackage !== undefined && typeof specifier === 'string' && /^[@a-z0-9]/i.test(specifier) && !specifier.includes(':');
}

const isThreads = (specifier) => specifier === 'worker_threads' || specifier === 'node:worker_threads';

// importDynamically serves import() of the user's code.
function importDynamically(specifier) {
  if (isThreads(specifier)) threads.bound();
  if (isBuiltin(specifier)) return import(specifier);
  if (!isPackage(specifier)) throw notFound(specifier);
  const { pathToFileURL } = require('node:url');
  return import(pathToFileURL(resolve(specifier)));
}

// link serves import statements: a synthetic module that exports what the built-in does.
async function link(specifier, referrer) {
  const namespace = await importDynamically(specifier);
  const names = Object.keys(namespace);
  return new vm.SyntheticModule(names, function () {
    for (const name of names) this.setExport(name, namespace[name]);
  }, { identifier: specifier, context: referrer.context });
}

module.exports = { usePackages, userRequire, importDynamically, link };
