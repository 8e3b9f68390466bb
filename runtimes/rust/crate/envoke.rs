//! What stands between a function and the world of a WASI command: params on stdin, the
//! context in an environment variable, the result on stdout, all of them JSON.
#![allow(clippy::all)]

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;
use std::fmt::{Debug, Display};
use std::io::{Read, Write};

/// The names that functions have without asking for them. Their own come first.
pub mod prelude {
    pub use serde_json::{json, Map, Value};
}

/// Prints to the log: stdout is for the result.
#[macro_export]
macro_rules! println {
    ($($all:tt)*) => { ::std::eprintln!($($all)*) };
}

/// Prints to the log: stdout is for the result.
#[macro_export]
macro_rules! print {
    ($($all:tt)*) => { ::std::eprint!($($all)*) };
}

/// Writes what a function returned. A result of whatever can be serialized is JSON; an `Err`
/// is printed, if it can be, and fails the call. Which of the three a value is, is found by
/// how many references the method needs.
#[macro_export]
macro_rules! answer {
    ($value:expr) => {{
        #[allow(unused_imports)]
        use $crate::{FailsWithDebug as _, FailsWithDisplay as _, Succeeds as _};
        let value = $crate::Answer($value);
        (&&&value).result_as_json()
    }};
}

pub struct Answer<T>(pub T);

pub trait Succeeds {
    fn result_as_json(&self);
}

impl<T: Serialize> Succeeds for Answer<T> {
    fn result_as_json(&self) {
        write(&self.0)
    }
}

pub trait FailsWithDebug {
    fn result_as_json(&self);
}

impl<T: Serialize, E: Debug> FailsWithDebug for &Answer<Result<T, E>> {
    fn result_as_json(&self) {
        match &self.0 {
            Ok(value) => write(value),
            Err(error) => fail(format_args!("{error:?}")),
        }
    }
}

pub trait FailsWithDisplay {
    fn result_as_json(&self);
}

impl<T: Serialize, E: Display> FailsWithDisplay for &&Answer<Result<T, E>> {
    fn result_as_json(&self) {
        match &self.0 {
            Ok(value) => write(value),
            Err(error) => fail(error),
        }
    }
}

fn write(value: &impl Serialize) {
    match serde_json::to_vec(value) {
        Ok(json) => {
            // Whoever reads it has ended the call where it cannot be written.
            let _ = std::io::stdout().write_all(&json);
            let _ = std::io::stdout().flush();
        }
        Err(error) => fail(format_args!("the result cannot be written as JSON: {error}")),
    }
}

fn fail(why: impl Display) -> ! {
    std::eprintln!("{why}");
    std::process::exit(1)
}

/// The params and the context of this call. From here on a panic is printed with its place in
/// the user's file, of whose first line so many columns were put there by others.
pub fn input(indent: u32) -> (Value, Value) {
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = match payload.downcast_ref::<&str>() {
            Some(text) => text,
            None => payload.downcast_ref::<String>().map_or("", String::as_str),
        };
        if let Some(at) = info.location() {
            let indent = if at.line() == 1 { indent } else { 0 };
            std::eprintln!("panicked at {}:{}:{}:", at.file(), at.line(), at.column().saturating_sub(indent));
        }
        std::eprintln!("{text}");
        std::process::exit(101)
    }));
    let mut params = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut params) {
        fail(format_args!("the params cannot be read: {error}"));
    }
    let context = std::env::var("ENVOKE_CONTEXT").unwrap_or_default();
    (parse(&params, "params"), parse(context.as_bytes(), "context"))
}

fn parse(json: &[u8], what: &str) -> Value {
    match serde_json::from_slice(json) {
        Ok(value) => value,
        Err(error) => fail(format_args!("the {what} cannot be read: {error}")),
    }
}

/// A function that takes nothing, the params, or the params and the context: as JSON values,
/// or as anything that serde makes of them.
pub trait Handler<Takes> {
    type Returns;
    fn call(self, params: Value, context: Value) -> Self::Returns;
}

impl<F: FnOnce() -> R, R> Handler<()> for F {
    type Returns = R;
    fn call(self, _: Value, _: Value) -> R {
        self()
    }
}

impl<F: FnOnce(P) -> R, P: DeserializeOwned, R> Handler<(P,)> for F {
    type Returns = R;
    fn call(self, params: Value, _: Value) -> R {
        self(take(params, "params"))
    }
}

impl<F: FnOnce(P, C) -> R, P: DeserializeOwned, C: DeserializeOwned, R> Handler<(P, C)> for F {
    type Returns = R;
    fn call(self, params: Value, context: Value) -> R {
        self(take(params, "params"), take(context, "context"))
    }
}

fn take<T: DeserializeOwned>(value: Value, what: &str) -> T {
    match serde_json::from_value(value) {
        Ok(taken) => taken,
        Err(error) => fail(format_args!("the {what} are not what the handler takes: {error}")),
    }
}

/// Calls a handler with what this call was given.
pub fn call<H: Handler<Takes>, Takes>(handler: H) -> H::Returns {
    let (params, context) = input(0);
    handler.call(params, context)
}
