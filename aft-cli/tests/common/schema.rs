//! As much of JSON Schema as docs/schemas uses. What it does not know is an error of the schema, so that nothing goes unchecked.

use serde_json::{Map, Value};

/// Everything in which `value` is not what `schema` says, by its path. Stricter than the schema: a field that it does not name is wrong too.
pub fn wrong(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "$", &mut found);
    found
}

fn check(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = schema.as_object().unwrap_or_else(|| panic!("the schema of {at} is no object"));
    for (word, said) in schema {
        match word.as_str() {
            "$schema" | "title" | "description" | "properties" | "additionalProperties" => {}
            "type" => {
                let types = said.as_array().cloned().unwrap_or_else(|| vec![said.clone()]);
                if !types.iter().any(|name| is_of(value, name.as_str().unwrap())) {
                    found.push(format!("{at}: {value} is not of type {said}"));
                }
            }
            "enum" => {
                if !said.as_array().unwrap().contains(value) {
                    found.push(format!("{at}: {value} is none of {said}"));
                }
            }
            "required" => {
                for name in said.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{at}: {name} is not there"));
                    }
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(said, item, &format!("{at}[{number}]"), found);
                }
            }
            other => panic!("the schema of {at} has {other}, which the test does not know"),
        }
    }
    if let Some(object) = value.as_object() {
        check_fields(schema, object, at, found);
    }
}

fn check_fields(schema: &Map<String, Value>, object: &Map<String, Value>, at: &str, found: &mut Vec<String>) {
    for (name, field) in object {
        let named = schema.get("properties").and_then(|properties| properties.get(name));
        match named.or_else(|| schema.get("additionalProperties")) {
            Some(schema) => check(schema, field, &format!("{at}.{name}"), found),
            None => found.push(format!("{at}.{name}: the schema does not name it")),
        }
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}
