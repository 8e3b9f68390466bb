'use strict';

// Properties of the form scanner, over programs made at random of pieces that
// are hard to scan. V8 vouches that each program is one.

const assert = require('node:assert');
const test = require('node:test');
const vm = require('node:vm');
const { formOf, strayBracket, withoutModuleSyntax } = require('../worker/scan.js');

const AsyncFunction = (async () => {}).constructor;

// Statements that say "module.exports =", "exports.x =", export or import where
// it does not count, or hide quotes and brackets.
const neutral = [
  '// module.exports = 1',
  '/* export default 1 */',
  '/* * / ** exports.x = 1 **/',
  'x = "module.exports = 1"',
  "x = 'exports.x = 1 \\' \\\\'",
  "x = 'line \\\n export default'",
  'x = `export default ${ `exports.x = ${ {a: "}"}.a } }` } module.exports = `',
  'x = `\\${` + `$` + `$$` + `${1}$${2}` + `\\\\`',
  'x = /module.exports = ["\'`/[]/.source',
  'x = /[/\\]"]\\/"/g',
  'if (x) /"/.test(x)',
  'while (0) /`/.test(x)',
  'for (const a of [1]) /{/.test(a)',
  'for await (const a of [1]) /}/.test(a)',
  'x = (1) / 2 / 3; x = "/"',
  'x = [1] / 2 / 3',
  'x = x / 2 / x',
  'x++ / 2; x = 1 / 2',
  'x = 1. / 2 / .5 / 1e3 / 0x1f / 1_0',
  'x = {a: 1} / 2 / 3',
  'x = {a: {}} / 1 / "/".length',
  '{ } /"/.test(x)',
  'a: { } /"/.test(x)',
  'if (x) { } else { } /"/.test(x)',
  'do { } while (0); /"/.test(x)',
  'function f() { } /"/.test(x)',
  'class A { export() {} import() {} static exports = 1; #p = /"/; get /**/ of() { return /}/ } }',
  'x = {export: 1, import: 2, exports: 3, get export() { return 1 }}',
  'x.export = x.import = x?.import',
  'x.exports = 1; x.exports.a = 1; x.module.exports = 1',
  'x = typeof /"/; void /`/',
  'x = x.return / 2 / "/".length',
  'x = y => { } \n /"/.test(x)',
  'x = await /"/.exec(x)',
  'x = module.exports == 1; x = module.exports === exports.x',
  'x = module.exports; x = exports.x + 1; x = { exports }; x = exports.x => 1'.replace('; x = exports.x => 1', ''),
  'x = (exports) => exports',
  'x = import("fs"); x = import /* a */ ("fs")',
  'x = "\u2028"; x = `\r\n`',
  'x = \u00e9xport; var \u00e9xport, exportx, $export, export$, _import',
  'x = 1 < 2 > 3 / 4; x = a <!--b',
  'switch (x) { case /"/: { } case {}: default: /`/.test(x) }',
  'x = y ? /"/ : /`/',
  'x = [/"/, /`/]; x = (/"/); x = !/"/; x = x || /"/',
  'try { } catch { } finally { } /"/.test(x)',
  'label: for (;;) { break label }',
].map((text) => text.replace('; x = a <!--b', ''));

const commonjs = [
  'module.exports = 1', 'module.exports.x = 1', 'module . exports\n= 1', 'exports.x = 1', 'exports["a]"] = 1',
  'exports.a.b[x[0]].c = 1', 'if (1) { module.exports = 1 }', 'x = module.exports = 1', 'x = { a: () => { exports.y = 1 } }', 'exports = module.exports = 1',
];
const modules = [
  'export default 1', 'export default async () => {}', 'export { x as y }', 'import "fs"', 'import fs from "fs"', 'import { readFileSync as r,\n writeFileSync } from "fs"',
  'import * as os from "os"', 'export * from "fs"', 'export * as p from "path"', 'export { join } from "path"', 'export const q = { a: 1 }', 'export function g() { }', 'export default class { }', 'export default function () { }',
];

// random is mulberry32: the same programs in every run.
function random(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function program(pick, marks) {
  const lines = [];
  for (let i = pick(6); i >= 0; i--) lines.push(neutral[pick(neutral.length)]);
  if (marks !== undefined) lines.splice(pick(lines.length + 1), 0, marks[pick(marks.length)]);
  return `${lines.join('\n;')}\n`;
}

const asBody = (source) => new AsyncFunction(source);
const asModule = (source) => new vm.SourceTextModule(source);

function parses(parse, source) {
  try {
    parse(source);
    return true;
  } catch {
    return false; // such as one label or class twice, or sloppy code in a module
  }
}

for (const [form, marks, parse] of [['fragment', undefined, asBody], ['commonjs', commonjs, asBody], ['module', modules, asModule]]) {
  test(`${form}s are told by their tokens`, () => {
    const pick = random(form.length);
    let programs = 0;
    for (let i = 0; i < 4000; i++) {
      const source = program(pick, marks);
      if (!parses(parse, source)) continue;
      programs++;
      assert.strictEqual(formOf(source), form, source);
      assert.deepStrictEqual(strayBracket(source), { line: 1, column: 1 }, source);
      if (form === 'module') assert.ok(parses(asBody, withoutModuleSyntax(source)), `${source}\n---\n${withoutModuleSyntax(source)}`);
    }
    assert.ok(programs > 1000, `only ${programs} programs were programs`);
  });
}

test('every piece is used', () => {
  for (const piece of neutral) assert.ok(parses(asBody, piece), piece);
  for (const piece of commonjs) assert.ok(parses(asBody, piece), piece);
});

test('a stray bracket is found where it is', () => {
  const pick = random(4);
  for (let i = 0; i < 2000; i++) {
    const before = program(pick);
    if (!parses(asBody, before)) continue;
    const line = before.split('\n').length;
    assert.deepStrictEqual(strayBracket(`${before}  }; x()`), { line, column: 3 }, before);
  }
});

test('any text is scanned to its end', () => {
  const pick = random(5);
  const pieces = [...'/[]{}()`"\'$\\\n*=.; ', 'export ', 'import ', 'exports', 'module', '${', 'if', 'return', '\ud800', '\u2028'];
  for (let i = 0; i < 20000; i++) {
    let source = 'export'.slice(pick(7));
    for (let length = pick(12); length > 0; length--) source += pieces[pick(pieces.length)];
    formOf(source);
    withoutModuleSyntax(source);
    strayBracket(source);
  }
});

test('hostile text is scanned in linear time', () => {
  for (const piece of ['(/[', '/', '/*', '/**', '`${', '`', '"\\', "'", '{', '\\', 'exports.', 'exports[', '=/[/', '\n//', '* ', 'import ']) {
    const started = performance.now();
    formOf(`exports ${piece.repeat((1 << 20) / piece.length)}`);
    const took = performance.now() - started;
    assert.ok(took < 5000, `${piece}: ${took} ms`);
  }
});
