package rust

// The files of a build. The user's own is called userFile whatever its form, and keeps its
// lines, so that what the compiler and a panic say of it is true of what was sent.
const (
	userFile   = "function.rs"
	mainFile   = "main.rs"
	moduleFile = "function.wasm"
)

// fragmentMain runs a fragment as the body of a closure: a value at its end, `return` and
// `?` all mean what they look like, and the value may refer to the params. The file that it
// includes must be one expression.
const fragmentMain = `#[macro_use]
extern crate envoke;
#[allow(unused_imports)]
use envoke::prelude::*;

fn main() {
    let (mut params, mut context) = envoke::input(1);
    let mut function = || include!("` + userFile + `");
    envoke::answer!(function());
}
`

// fragmentOpens makes a block of a fragment. It is in its first line, whose columns are one
// off.
const fragmentOpens, fragmentCloses = "{", "\n}\n"

// handlerMain follows the user's own items in their file. An extern crate that is declared
// anywhere gives all of the crate its macros; a glob gives way to names of the user's own.
const handlerMain = `
#[macro_use]
extern crate envoke;
#[allow(unused_imports)]
use envoke::prelude::*;
fn main() { envoke::answer!(envoke::call(handler)); }
`

// wrapped are the files of a build, and which of them is the crate's root.
func wrapped(form Form, source string) (files map[string][]byte, root string) {
	switch form {
	case Fragment:
		return map[string][]byte{
			userFile: []byte(fragmentOpens + source + fragmentCloses), mainFile: []byte(fragmentMain),
		}, mainFile
	case Handler:
		return map[string][]byte{userFile: []byte(source + handlerMain)}, userFile
	default:
		return map[string][]byte{userFile: []byte(source)}, userFile
	}
}
