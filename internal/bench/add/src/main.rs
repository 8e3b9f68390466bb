//! Adds two numbers: `{"a": 1, "b": 2}` on stdin, `3` on stdout.

use serde_json::Value;
use std::io;

fn main() {
    let params: Value = serde_json::from_reader(io::stdin().lock()).expect("the parameters are JSON");
    let number = |name: &str| params[name].as_i64().expect("a and b are whole numbers");
    print!("{}", number("a") + number("b"));
}
