//! Which keywords of JSON Schema are understood. Others are refused by name: passing over one would let through what the
//! caller has ruled out.

use crate::Refused;
use serde_json::Value;

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
const ANNOTATIONS: [&str; 10] = [
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
];

/// Keywords that name a schema, or say how it is written: for the whole of it only.
const ROOT: [&str; 3] = ["$schema", "$id", "id"];

/// The keyword of llguidance for what is no matter of values. Of it only whether there is white space is taken: other
/// options would let keywords be passed over.
pub const OPTIONS: &str = "x-guidance";

/// Schemas within schemas: more are a mistake or an attack.
const DEPTH_MAX: usize = 100;

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
                if least.as_u64().is_none_or(|least| least > required.max(1)) {
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
