'use strict';

// The worker: takes frames on descriptor 3, runs the user's function, answers.

const { AsyncLocalStorage } = require('node:async_hooks');
const { Channel, die, type } = require('./frames.js');
const { describe } = require('./failure.js');
const { parse: parseCode } = require('./load.js');
const { usePackages } = require('./modules.js');
const log = require('./log.js');
const { parse, stringify, uncurryThis } = require('./primordials.js');
const { encode, encodeContext, TooLarge, TooLargeContext } = require('./result.js');
const { Stream, cancel, more, streamIn } = require('./stream.js');

const { byteLength } = Buffer;
const run = uncurryThis(AsyncLocalStorage.prototype.run);
const getStore = uncurryThis(AsyncLocalStorage.prototype.getStore);

const calls = new AsyncLocalStorage();
const channel = new Channel(3, onFrame);

const WARM_AFTER = 50; // milliseconds without a frame

let filename = 'function.js';
let maxResult = Infinity;
let handler;
let idle; // a timer, until the first frame comes

// A Call is a question of the host's that is answered once.
class Call {
  id;
  failureKind; // of what nothing catches
  answered = false;
  retained = null; // the event whose context is kept, and how large that may be
  budget = new log.Budget();

  constructor(id, failureKind = 'thrown') {
    this.id = id;
    this.failureKind = failureKind;
  }

  answer(frameType, text) {
    if (this.answered) return;
    if (this.budget.dropped > 0) send(log.levels.warn, this, `${this.budget.dropped} more characters were not logged`);
    this.answered = true;
    channel.send(frameType, this.id, text);
  }

  fail(kind, thrown) {
    if (!this.answered) this.answer(type.failed, stringify(describe(kind, thrown, filename)));
  }
}

// What is printed or thrown outside of any call belongs to this one. Its budget
// is renewed with each call.
const background = new Call(0);
background.answered = true;

function onFrame(frameType, id, payload) {
  clearTimeout(idle);
  switch (frameType) {
    case type.invoke: return onInvoke(new Call(id), payload);
    case type.more: return more(id, payload);
    case type.cancel: return cancel(id);
    case type.check: return onCheck(new Call(id), parse(payload));
    case type.load: return onLoad(new Call(id, 'load'), parse(payload));
    default: return die(`a frame of unknown type ${frameType}`);
  }
}

function onCheck(call, code) {
  try {
    const { form, executes } = parseCode(code);
    call.answer(type.loaded, stringify({ __proto__: null, form, executes }));
  } catch (error) {
    call.answer(type.failed, stringify(describe('load', error, code.filename)));
  }
}

function onLoad(call, code) {
  filename = code.filename;
  maxResult = code.max_result || Infinity;
  usePackages(code.packages);
  for (const name in code.environment) process.env[name] = code.environment[name];
  run(calls, call, load, call, code);
}

async function load(call, code) {
  try {
    const { form, executes, load } = parseCode(code);
    handler = await load();
    call.answer(type.loaded, stringify({ __proto__: null, form, executes }));
  } catch (error) {
    call.fail('load', error);
  }
}

function onInvoke(call, payload) {
  if (handler === undefined) return die('an invocation before the load was answered');
  let event;
  try {
    event = parse(payload);
  } catch (error) {
    return call.fail('params', error);
  }
  background.budget = new log.Budget();
  if (event.retain !== undefined) {
    call.retained = { event, limit: event.retain };
    delete event.retain;
  }
  run(calls, call, invoke, call, event);
}

async function invoke(call, event) {
  try {
    if (handler.length >= 3) return await invokeWithCallback(call, event);
    return succeed(call, await handler(event, event.context));
  } catch (error) {
    return call.fail('thrown', error);
  }
}

// invokeWithCallback answers with what comes first: the callback, or a promise
// that is rejected or has a value. One without a value says nothing: that is how
// an async function ends that still waits for its callback.
async function invokeWithCallback(call, event) {
  const callback = (error, value) => {
    if (error !== null && error !== undefined) call.fail('thrown', error);
    else succeed(call, value);
  };
  const returned = handler(event, event.context, callback);
  if (typeof returned?.then !== 'function') return;
  const value = await returned;
  if (value !== undefined) succeed(call, value);
}

function succeed(call, value) {
  if (call.answered) return undefined;
  try {
    const found = streamIn(value);
    if (found !== undefined) return stream(call, found);
    const json = encode(value, maxResult);
    if (json.length * 3 > maxResult && byteLength(json) > maxResult) throw new TooLarge();
    if (call.retained !== null) sendContext(call);
    call.answer(type.result, json);
  } catch (error) {
    if (error instanceof TooLargeContext) call.fail('context', error);
    else if (error instanceof TooLarge) call.fail('output', new TooLarge(`the result is larger than ${maxResult} bytes of JSON`));
    else call.fail('thrown', error);
  }
  return undefined;
}

// sendContext sends what the function left in its context.
function sendContext(call) {
  const { event, limit } = call.retained;
  const json = encodeContext(event.context, limit);
  if (!call.answered) channel.send(type.context, call.id, json);
}

async function stream(call, found) {
  try {
    await new Stream(channel, call, maxResult).run(found);
    if (call.retained !== null) sendContext(call);
    call.answer(type.result, 'null');
  } catch (error) {
    if (error instanceof TooLargeContext) call.fail('context', error);
    else if (error instanceof TooLarge) call.fail('output', new TooLarge(`a part is larger than ${maxResult} bytes`));
    else call.fail('thrown', error);
  }
}

// onUncaught takes what no call caught: it fails the call that it came from, if
// that is still under way, and the worker goes on.
function onUncaught(thrown) {
  const call = getStore(calls) ?? background;
  if (!call.answered) call.fail(call.failureKind, thrown);
  else print(log.levels.error, `uncaught: ${stackOrValue(thrown)}`);
}

function stackOrValue(thrown) {
  const { type, message, stack_trace: stack } = describe('thrown', thrown, filename);
  return stack || `${type}: ${message}`;
}

function print(level, text) {
  const call = getStore(calls) ?? background;
  const { budget } = call.answered ? background : call;
  const entry = budget.take(text);
  if (entry === undefined) return;
  send(level, call, entry);
  if (budget.isPrompt()) channel.flush();
}

function send(level, call, text) {
  channel.send(type.log, call.answered ? 0 : call.id, text, level);
}

// warmUp runs code of each form while nobody waits: V8 compiles the worker's own when it
// is run first.
async function warmUp() {
  const sources = [
    'module.exports = async (event, context) => ({ sum: event.params.a + 1 })',
    'export default (event) => [`${event.params.a}`]',
    'return params.a',
  ];
  for (const source of sources) {
    const call = new Call(0);
    const { load } = parseCode(parse(stringify({ filename, source })));
    const rehearsed = await run(calls, call, load);
    encode(await run(calls, call, rehearsed, parse('{"params":{"a":1}}')), maxResult);
  }
}

log.install(print);
require('./memory.js').install();
require('./egress.js').install();
process.setUncaughtExceptionCaptureCallback(onUncaught);
process.on('unhandledRejection', onUncaught);
process.on('exit', () => channel.flush());
channel.send(type.ready, 0, stringify({ version: process.version }));
idle = setTimeout(warmUp, WARM_AFTER);
