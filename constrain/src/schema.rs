//! Which keywords of JSON Schema are understood. Others are refused by name: passing over one would let through what the
//! caller has ruled out.

use crate::{Refused, formats};
use serde_json::{Map, Value, json};

/// Keywords whose value is a schema.
const WITH_SCHEMA: [&str; 3] = ["items", "additionalItems", "additionalProperties"];

/// Keywords whose value is a list of schemas.
const WITH_LIST: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];

/// Keywords whose value is an object of schemas.
const WITH_MAP: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// Keywords with plain values.
const PLAIN: [&str; 17] = [
    "$ref",
    "const",
    "enum",
    "type",
    "minItems",
    "maxItems",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

/// Keywords that say something to people, and nothing of which values are valid.
const ANNOTATIONS: [&str; 11] = [
    "$comment",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
];

/// Keywords that name a schema, or say how it is written: for the whole of it only.
const ROOT: [&str; 3] = ["$schema", "$id", "id"];

/// The keyword of llguidance for what is no matter of values. Of it only whether there is white space is taken: other
/// options would let keywords be passed over.
pub const OPTIONS: &str = "x-guidance";

/// Schemas within schemas: more are a mistake or an attack.
const DEPTH_MAX: usize = 100;

/// Keywords that count: JSON knows no difference between 2 and 2.0.
const COUNTS: [&str; 6] = ["minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"];

/// The schema in the words of llguidance: counts as whole numbers, and formats that are known better here as patterns.
pub fn plain(schema: Value) -> Value {
    let Value::Object(keywords) = schema else { return schema };
    let mut plain = Map::new();
    let mut format = None;
    for (name, value) in keywords {
        let value = match value {
            Value::Array(all) if WITH_LIST.contains(&name.as_str()) || name == "items" => {
                all.into_iter().map(self::plain).collect()
            }
            Value::Object(all) if WITH_MAP.contains(&name.as_str()) => {
                all.into_iter().map(|(key, schema)| (key, self::plain(schema))).collect()
            }
            value if WITH_SCHEMA.contains(&name.as_str()) => self::plain(value),
            Value::Number(count) if COUNTS.contains(&name.as_str()) => {
                whole(&count).map_or(Value::Number(count), Value::from)
            }
            Value::String(name_of) if name == "format" => match formats::pattern(&name_of) {
                Some(pattern) => {
                    format = Some(pattern);
                    continue;
                }
                None => Value::String(name_of),
            },
            value => value,
        };
        plain.insert(name, value);
    }
    match (format, plain.contains_key("pattern")) {
        (Some(format), false) => drop(plain.insert("pattern".into(), Value::String(format))),
        (Some(format), true) => match plain.entry("allOf").or_insert_with(|| json!([])) {
            Value::Array(all) => all.push(json!({ "pattern": format })),
            _ => unreachable!("it was checked to be a list"),
        },
        (None, _) => {}
    }
    Value::Object(plain)
}

/// A number that has no fraction.
fn whole(number: &serde_json::Number) -> Option<u64> {
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && (0.0..=MAX_EXACT).contains(value))?;
    Some(number.as_u64().unwrap_or(value as u64))
}

/// The largest whole number below which floats tell all whole numbers apart.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Refuses a schema with a keyword that is not understood.
pub fn check(schema: &Value) -> Result<(), Refused> {
    walk(schema, "", 0)
}

fn walk(schema: &Value, at: &str, depth: usize) -> Result<(), Refused> {
    if schema.is_boolean() {
        return Ok(());
    }
    let Some(keywords) = schema.as_object().filter(|_| depth < DEPTH_MAX) else {
        let message = if depth < DEPTH_MAX { "a schema is an object, true or false" } else { "the schema is too deep" };
        return Err(Refused { message: format!("{message}, at '{at}'"), keyword: None, at: Some(at.to_owned()) });
    };
    for (keyword, value) in keywords {
        let name = keyword.as_str();
        let refuse = |why: &str| {
            let message = format!("the schema's keyword '{name}' {why}");
            Err(Refused { message, keyword: Some(name.to_owned()), at: Some(at.to_owned()) })
        };
        let within = |parts: &[&str], value: &Value| {
            let mut at = at.to_owned();
            for part in parts {
                at.push('/');
                at.push_str(&part.replace('~', "~0").replace('/', "~1"));
            }
            walk(value, &at, depth + 1)
        };
        match value {
            Value::Array(all) if name == "items" || WITH_LIST.contains(&name) => {
                for (number, schema) in all.iter().enumerate() {
                    within(&[name, &number.to_string()], schema)?;
                }
            }
            Value::Object(all) if WITH_MAP.contains(&name) => {
                for (key, schema) in all {
                    within(&[name, key], schema)?;
                }
            }
            value if WITH_SCHEMA.contains(&name) => within(&[name], value)?,
            _ if WITH_LIST.contains(&name) => return refuse("is not a list"),
            _ if WITH_MAP.contains(&name) => return refuse("is not an object"),
            // A property may come twice: names that are not known before cannot be counted.
            Value::Number(least) if name == "minProperties" => {
                let required = keywords.get("required").and_then(Value::as_array).map_or(0, Vec::len) as u64;
                if whole(least).is_none_or(|least| least > required.max(1)) {
                    return refuse("asks for more properties than are required by name, which is not supported");
                }
            }
            _ if name == "multipleOf" || PLAIN.contains(&name) || ANNOTATIONS.contains(&name) => {}
            _ if depth == 0 && ROOT.contains(&name) => {}
            Value::Object(options) if depth == 0 && name == OPTIONS => {
                if options.iter().any(|(name, value)| name != "whitespace_flexible" || !value.is_boolean()) {
                    return refuse("takes whitespace_flexible only, which is true or false");
                }
            }
            _ => return refuse("is not supported"),
        }
    }
    Ok(())
}
