//! Checks the fields of an object against rules.
//!
//! In: `{"data": {field: value}, "rules": {field: rule}}` on stdin, where a rule may
//! hold `required`, `type`, `enum`, `min` and `max` (of numbers), `min_length` and
//! `max_length` (characters of strings, items of arrays).
//! Out: `{"valid": bool, "errors": [{"field", "rule", "message"}]}` on stdout, in the
//! order of the rules' fields.

use serde_json::{json, Map, Value};
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| format!("the parameters are no JSON: {error}"))
        .and_then(|params: Value| validate(&params));
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn validate(params: &Value) -> Result<Value, String> {
    let data = object(params, "data")?;
    let mut errors = Vec::new();
    for (field, rule) in object(params, "rules")? {
        let rule = rule
            .as_object()
            .ok_or_else(|| format!("rules.{field} must be an object"))?;
        check(field, data.get(field), rule, &mut errors)?;
    }
    Ok(json!({"valid": errors.is_empty(), "errors": errors}))
}

fn object<'a>(params: &'a Value, name: &str) -> Result<&'a Map<String, Value>, String> {
    params
        .get(name)
        .and_then(Value::as_object)
        .ok_or_else(|| format!("{name} must be an object"))
}

/// Adds an error for each part of the rule that the value breaks.
fn check(
    field: &str,
    value: Option<&Value>,
    rule: &Map<String, Value>,
    errors: &mut Vec<Value>,
) -> Result<(), String> {
    let mut fail = |rule: &str, message: String| {
        errors.push(json!({"field": field, "rule": rule, "message": message}));
    };
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if rule.get("required") == Some(&Value::Bool(true)) {
            fail("required", format!("{field} is missing"));
        }
        return Ok(());
    };
    for (name, limit) in rule {
        match broken(name, limit, value) {
            Ok(None) => {}
            Ok(Some(what)) => fail(name, format!("{field} {what}")),
            Err(message) => return Err(format!("rules.{field}.{name} {message}")),
        }
    }
    Ok(())
}

/// Says how the value breaks one part of a rule, or what is wrong with the rule.
fn broken(name: &str, limit: &Value, value: &Value) -> Result<Option<String>, String> {
    let number = || limit.as_f64().ok_or("must be a number");
    let wrong = |is_wrong: bool, what: String| is_wrong.then_some(what);
    Ok(match name {
        "required" => None,
        "type" => {
            let wanted = limit.as_str().ok_or("must be a string")?;
            wrong(!is_of(value, wanted)?, format!("must be of type {wanted}"))
        }
        "enum" => {
            let allowed = limit.as_array().ok_or("must be an array")?;
            wrong(!allowed.contains(value), format!("must be one of {limit}"))
        }
        "min" => {
            let least = number()?;
            wrong(
                value.as_f64().is_some_and(|n| n < least),
                format!("must be at least {limit}"),
            )
        }
        "max" => {
            let most = number()?;
            wrong(
                value.as_f64().is_some_and(|n| n > most),
                format!("must be at most {limit}"),
            )
        }
        "min_length" => {
            let least = number()?;
            wrong(
                length(value).is_some_and(|n| n < least),
                format!("must have a length of at least {limit}"),
            )
        }
        "max_length" => {
            let most = number()?;
            wrong(
                length(value).is_some_and(|n| n > most),
                format!("must have a length of at most {limit}"),
            )
        }
        _ => return Err("is no rule: use required, type, enum, min, max, min_length or max_length".into()),
    })
}

fn is_of(value: &Value, wanted: &str) -> Result<bool, String> {
    Ok(match wanted {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => return Err("must be string, number, integer, boolean, object or array".into()),
    })
}

fn length(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Array(items) => Some(items.len() as f64),
        _ => None,
    }
}
