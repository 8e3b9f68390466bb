'use strict';

// From source to a handler: a function of (event, context, callback?).

const vm = require('node:vm');
const { placeOfSyntaxError } = require('./failure.js');
const { importDynamically, link, userRequire } = require('./modules.js');
const { deepestBracket, formOf, strayBracket, topLevelWord, withoutModuleSyntax } = require('./scan.js');

const AsyncFunction = (async () => {}).constructor;

// parse compiles the code without running any of it. load, of what it returns,
// runs what must be run and gives the handler.
function parse({ filename, source }) {
  const text = source.replace(/^(\uFEFF?)#!/, '$1//'); // a module takes a hashbang, a function body does not
  const form = formOf(text);
  return { form, executes: form !== 'fragment', load: compileAs(form, text, filename) };
}

// compileAs says of code that overflows V8's parser what is wrong with it.
function compileAs(form, source, filename) {
  try {
    return parsers[form](source, filename);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const place = { filename, ...deepestBracket(source) };
    throw locate(new SyntaxError(), source, { ...place, message: 'the code is nested too deeply' });
  }
}

const parsers = {
  fragment(source, filename) {
    const compiled = compileFragment(source, filename);
    refuseBreakout(source, filename);
    return () => (event, context) => compiled(event, event.params, context, userRequire)();
  },

  commonjs(source, filename) {
    const compiled = compile(source, ['exports', 'require', 'module', '__filename', '__dirname'], { filename });
    return () => {
      const module = { exports: {}, id: filename, filename, loaded: false };
      compiled.call(module.exports, module.exports, userRequire, module, filename, '.');
      module.loaded = true;
      return handlerOf(module.exports, 'module.exports');
    };
  },

  module(source, filename) {
    const module = compileModule(source, filename);
    return async () => {
      await module.link(link);
      await module.evaluate();
      return handlerOf(module.namespace, 'the module');
    };
  },
};

function compile(body, parameters, options) {
  return vm.compileFunction(body, parameters, { ...options, importModuleDynamically: importDynamically });
}

// compileFragment compiles a function body. Its names are the parameters of an
// outer function, so that a fragment may declare its own params or context. The
// wrapper has lines to itself: lines and columns are those of the user's source.
function compileFragment(source, filename, directive = '') {
  const wrapped = `${directive} return async () => {\n${source}\n}`;
  try {
    return compile(wrapped, ['event', 'params', 'context', 'require'], { filename, lineOffset: -1 });
  } catch (error) {
    const lines = source.split('\n');
    const place = placeOfSyntaxError(error.stack, filename);
    if (place === undefined || place.line <= lines.length) throw error;
    const end = { line: lines.length, column: lines.at(-1).length + 1 };
    throw locate(error, source, { filename, ...end, message: 'Unexpected end of input' });
  }
}

// refuseBreakout refuses a fragment that is only well formed within the wrapper,
// such as "}; foo(); async () => {": the language checks the body of a function
// made from text on its own.
function refuseBreakout(source, filename) {
  try {
    new AsyncFunction(source);
  } catch (error) {
    throw locate(error, source, { filename, ...strayBracket(source) });
  }
}

// compileModule compiles an ES module. V8 tells nobody where a SyntaxError of a
// module is.
function compileModule(source, filename) {
  try {
    return new vm.SourceTextModule(source, {
      identifier: filename,
      importModuleDynamically: importDynamically,
      initializeImportMeta: (meta) => { meta.url = filename; },
    });
  } catch (error) {
    const place = placeInModule(error, source, filename);
    throw place === undefined ? error : locate(error, source, { filename, ...place });
  }
}

// placeInModule compiles a module again as the body of a strict function, without
// its imports and exports: if that has the same fault, it is there. A fault of an
// import or export itself has no place.
function placeInModule(fault, source, filename) {
  if (fault.message === 'Illegal return statement') return topLevelWord(source, 'return');
  try {
    compileFragment(withoutModuleSyntax(source), filename, "'use strict';");
  } catch (again) {
    if (isSameFault(fault, again)) return placeOfSyntaxError(again.stack, filename);
  }
  return undefined;
}

function isSameFault(inModule, inFunction) {
  return inModule.message === inFunction.message
    || inModule.message === 'Unexpected reserved word' && inFunction.message.startsWith('await is only valid');
}

// locate gives a SyntaxError the place that V8 would have given it.
function locate(error, source, { filename, line, column, message = error.message }) {
  const text = source.split('\n')[line - 1];
  error.message = message;
  error.stack = `${filename}:${line}\n${text}\n${' '.repeat(column - 1)}^\n\n${error.name}: ${message}`;
  return error;
}

// handlerOf finds the handler among what the code exports.
function handlerOf(exports, what) {
  const candidates = [exports, exports?.handler, exports?.default, exports?.default?.handler];
  const handler = candidates.find((candidate) => typeof candidate === 'function');
  if (handler === undefined) {
    throw new TypeError(`${what} is neither a function nor has a handler: export a function of (event, context)`);
  }
  return handler;
}

module.exports = { parse };
