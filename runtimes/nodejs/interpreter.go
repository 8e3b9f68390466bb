package nodejs

import (
	"context"

	"envoke/runtimes/interpreter"
)

// node is how Node.js is looked for. The oldest version is that whose vm modules take
// import() from functions without crashing.
var node = interpreter.Kind{
	Title: "Node.js", Command: "node", Setting: "NODE", Least: []int{20},
	Ask: []string{"-e", `
const maps = require("fs").readFileSync("/proc/self/maps", "utf8");
process.stdout.write(JSON.stringify({
	Path: process.execPath, Version: process.version, Files: [...new Set(maps.match(/\/.*$/gm))].sort(),
}))`},
}

// Find resolves the Node.js to use: a path or a command, or empty for the one on PATH.
// An error is one line that says what to do.
func Find(ctx context.Context, asked string) (interpreter.Interpreter, error) {
	return node.Find(ctx, asked)
}
