// A worker that does what it is told to, for the pool's tests: it speaks
// runtimes/PROTOCOL.md, and breaks it on demand. Code is the name of a behaviour of
// Load; params choose the behaviour of an Invoke.
import fs from "node:fs";
import net from "node:net";

const socket = new net.Socket({ fd: 3, readable: true, writable: true });
socket.on("end", () => process.exit(0));
socket.on("error", () => process.exit(0));

function send(type, call, payload) {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUInt32BE(5 + body.length);
  head[4] = type;
  head.writeUInt32BE(call, 5);
  socket.write(Buffer.concat([head, body]));
}
const json = (type, call, value) => send(type, call, JSON.stringify(value));
const fail = (call, kind, more) => json(19, call, { kind, type: "Error", message: kind + " message", ...more });
const log = (call, level, text) => send(20, call, Buffer.concat([Buffer.from([level]), Buffer.from(text)]));
const hang = () => { for (;;); };

let loads = 0;
function load(call, { source }) {
  loads++;
  switch (source) {
    case "bad": return fail(call, "load", { line: 2, column: 3, stack_trace: "at function.js:2:3" });
    case "hang": return hang();
    case "exit": return process.exit(4);
    case "junk": return json(17, call + 1, {});
    default: return json(17, call, { form: "fragment", executes: source !== "plain" });
  }
}

const acts = {
  echo: (call, event) => json(18, call, event),
  pid: (call) => json(18, call, { pid: process.pid, loads }),
  hold: (call, { params }) => fs.existsSync(params.file) ? json(18, call, null) : setTimeout(() => acts.hold(call, { params }), 5),
  never: () => {},
  hang,
  exit: () => process.exit(3),
  abort: () => process.abort(),
  fill: (_, { params }) => { acts.filled = Buffer.alloc(params.mb << 20, 1); },
  crash: () => { throw new Error("crashed on purpose"); },
  close: () => { fs.closeSync(3); hang(); },
  heap: () => { const all = []; for (;;) all.push(new Array(10000).fill(all.length)); },
  throw: (call) => fail(call, "thrown", { type: "TypeError", line: 1, column: 7, stack_trace: "at function.js:1:7" }),
  output: (call) => fail(call, "output"),
  badparams: (call) => fail(call, "params"),
  oddkind: (call) => fail(call, "odd"),
  oddfailure: (call) => send(19, call, "{"),
  junk: () => fs.writeSync(3, Buffer.alloc(64, 0xff)),
  short: () => fs.writeSync(3, Buffer.alloc(9)),
  unknown: (call) => json(18, call + 1000, null),
  oddtype: (call) => send(99, call, ""),
  loaded: (call) => json(17, call, {}),
  large: (call, { params }) => send(18, call, Buffer.alloc(params.bytes, 0x31)),
  log: (call, { params }) => { for (let i = 0; i < params.lines; i++) log(call, 2, "line " + i + "x".repeat(params.pad ?? 0)); json(18, call, null); },
  print: (call, { params }) => { log(call, 3, params.text); json(18, call, null); },
  oddlog: (call) => { send(20, call, Buffer.from([9, 65])); json(18, call, null); },
  stderr: (call, { params }) => { const text = "e".repeat(params.width) + "\n"; for (let i = 0; i < params.lines; i++) fs.writeSync(2, text); json(18, call, null); },
};

function take(type, call, payload) {
  const body = JSON.parse(payload.toString());
  if (type === 1) return body.source === "bad" ? load(call, body) : load(call, { source: body.source === "hang" || body.source === "exit" ? body.source : "plain" });
  if (type === 2) return load(call, body);
  return (acts[body.params?.do] ?? acts.echo)(call, body);
}

let buffered = Buffer.alloc(0);
socket.on("data", (chunk) => {
  buffered = buffered.length ? Buffer.concat([buffered, chunk]) : chunk;
  while (buffered.length >= 9 && buffered.length >= 4 + buffered.readUInt32BE()) {
    const frame = buffered.subarray(0, 4 + buffered.readUInt32BE());
    buffered = buffered.subarray(frame.length);
    take(frame[4], frame.readUInt32BE(5), frame.subarray(9));
  }
});
if (process.argv[2] === "mute") setInterval(() => {}, 1000);
else json(16, 0, { version: process.version });
