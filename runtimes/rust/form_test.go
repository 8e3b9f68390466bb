package rust

import (
	"strings"
	"testing"
)

func TestFormOf(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   Form
	}{
		"nothing":                       {"", Fragment},
		"an expression":                 {`params["a"].as_i64().unwrap() + 1`, Fragment},
		"a handler":                     {"fn handler(params: Map<String, Value>) -> Value { json!(1) }", Handler},
		"a public handler":              {"use serde_json::Value;\npub fn handler(params: Value) -> i32 { 1 }", Handler},
		"white space and comments":      {"fn /* a */\n\t// b\nhandler() {}", Handler},
		"a program":                     {"fn main() {}", Program},
		"a program with a handler":      {"fn handler() {} fn main() { handler() }", Program},
		"a program by generics":         {"fn f<T>(_: T) where T: Fn() -> [u8; 2] {} fn main() {}", Program},
		"a shebang":                     {"#!/usr/bin/env rust 'fn\nfn main() {}", Program},
		"an attribute like a shebang":   {"#![allow(unused)] fn main() {}", Program},
		"and with a space":              {"#! [allow(unused)] fn main() {}", Program},
		"another name":                  {"fn handlers() {} fn main2() {}", Fragment},
		"a call":                        {"let x = handler(params); main()", Fragment},
		"in a module":                   {"mod m { fn main() {} pub fn handler() {} }", Fragment},
		"in a function":                 {"fn f() { fn handler() {} }", Fragment},
		"in a macro":                    {"macro_rules! m { () => { fn main() {} } }", Fragment},
		"in a line comment":             {"// fn main() {}\n1", Fragment},
		"in a doc comment":              {"/// fn handler()\nfn other() {}", Fragment},
		"in a block comment":            {"/* fn main() {} */ 1", Fragment},
		"in nested comments":            {"/* /* */ fn main() {} */ 1", Fragment},
		"behind nested comments":        {"/* /* */ */ fn main() {}", Program},
		"in a comment without an end":   {"/* /* */ fn main() {}", Fragment},
		"in a string":                   {`let s = "fn main() {}"; s`, Fragment},
		"behind a quote in a string":    {`let s = "\" fn main() {}"; s`, Fragment},
		"behind a backslash":            {`static S: &str = "\\"; fn main() {}`, Program},
		"in a raw string":               {`let s = r"\"; fn main() {}`, Program},
		"in a raw string with hashes":   {`let s = r##"" fn main() {} "# "##; 1`, Fragment},
		"behind a raw string":           {`const S: &str = r#"""#; fn main() {}`, Program},
		"in bytes":                      {`let s = b"\" fn main() {}"; 1`, Fragment},
		"in raw bytes":                  {`let s = br#"" fn main() {}"#; 1`, Fragment},
		"in a C string":                 {`let s = c"fn main() {}"; 1`, Fragment},
		"behind a quote as character":   {`const C: char = '"'; fn main() {}`, Program},
		"behind an escaped quote":       {`const C: char = '\''; fn main() {}`, Program},
		"behind an escape":              {`const C: char = '\u{7b}'; fn main() {}`, Program},
		"behind a brace as character":   {`const C: char = '{'; fn main() {}`, Program},
		"behind a byte":                 {`const C: u8 = b'"'; fn main() {}`, Program},
		"behind an escaped byte":        {`const C: u8 = b'\''; fn main() {}`, Program},
		"behind a letter":               {"const C: char = 'é'; fn main() {}", Program},
		"behind a lifetime":             {`fn f<'a>(s: &'a str) -> &'a str { s } fn handler() {}`, Handler},
		"behind a label":                {"fn f() { 'a: loop { break 'a } } fn main() {}", Program},
		"behind a lifetime and a quote": {`const S: &'static str = "'"; fn main() {}`, Program},
		"behind numbers":                {"const N: f64 = 1.0e5 + 0x1f as f64; fn main() {}", Program},
		"behind a range":                {"const N: u8 = [0; 1..2]; fn main() {}", Program},
		"a raw word":                    {"r#fn main() {}", Fragment},
		"a raw name":                    {"fn r#main() {}", Fragment},
		"r as a name":                   {"const r: u8 = 1; fn main() {}", Program},
		"too many ends":                 {"} fn main() {}", Program},
		"not UTF-8":                     {"\xff\xfe fn main() {}", Program},
		"cut in a string":               {`"\`, Fragment},
		"cut in a character":            {"'", Fragment},
		"cut in a raw string":           {`r#"fn main() {}`, Fragment},
	} {
		if got := FormOf(c.source); got != c.want {
			t.Errorf("%s: %s, want %s: %s", name, got, c.want, c.source)
		}
	}
}

// FuzzFormOf: whatever the source is, the scanner comes to its end, and what stands before a
// main in comments or strings does not hide it.
func FuzzFormOf(f *testing.F) {
	for _, source := range []string{
		"", "fn main() {}", "fn handler() {}", `r##"a"# "##`, "/* /* */", `'\''`, "'a", `b'"'`, "#!x", "\xff'\xff'", `br"`, "r#fn",
	} {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		form := FormOf(source)
		if form != Fragment && form != Handler && form != Program {
			t.Fatal(form)
		}
		for _, hidden := range []string{
			"/* " + strings.ReplaceAll(source, "*", "") + " */",
			"// " + strings.ReplaceAll(source, "\n", "") + "\n",
			`const S: &str = "` + strings.NewReplacer(`"`, "", `\`, "").Replace(source) + `";`,
			`const S: &str = r##"` + strings.ReplaceAll(source, `"`, "") + `"##;`,
		} {
			if got := FormOf(hidden + "fn main() {}"); got != Program {
				t.Errorf("%q hides main: %s", hidden, got)
			}
			if got := FormOf(hidden); got != Fragment {
				t.Errorf("%q is a %s", hidden, got)
			}
		}
	})
}
