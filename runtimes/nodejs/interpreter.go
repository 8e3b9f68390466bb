package nodejs

import (
	"context"

	"envoke/runtimes/interpreter"
)

// node is how Node.js is looked for. The oldest version is that whose vm modules take
// import() from functions without crashing. What it reserves is room for compiled code, which
// V8 of Node.js 23 and later maps as writable all at once: 512 MiB.
var node = interpreter.Kind{
	Title: "Node.js", Command: "node", Setting: "NODE", Least: []int{20},
	Ask: []string{"-e", `
const maps = require("fs").readFileSync("/proc/self/maps", "utf8");
const unit = 16 << 20; // in which mappings of few pages vanish
let code = 0;
for (const [, from, to] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rwxp .* 0 *$/gm)) code += parseInt(to, 16) - parseInt(from, 16);
process.stdout.write(JSON.stringify({
	Path: process.execPath, Version: process.version, Files: [...new Set(maps.match(/\/.*$/gm))].sort(),
	Reserved: Math.round(code / unit) * unit,
}))`},
}

// Find resolves the Node.js to use: a path or a command, or empty for the one on PATH.
// An error is one line that says what to do.
func Find(ctx context.Context, asked string) (interpreter.Interpreter, error) {
	return node.Find(ctx, asked)
}
