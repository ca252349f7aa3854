//! Whether JSON is what a schema describes: the specification's words one after the other, for the keywords that tests use.

use serde_json::Value;

/// Why `value` is not what `schema` describes; `root` is the document that references are of.
pub fn fault(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let keywords = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some("nothing is valid".into()),
        schema => schema.as_object().expect("a schema"),
    };
    keywords.iter().find_map(|(keyword, wanted)| {
        let is_met = is_met(root, schema, keyword, wanted, value);
        (!is_met).then(|| format!("{value} does not meet {keyword}: {wanted}"))
    })
}

fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    fault(root, schema, value).is_none()
}

fn is_met(root: &Value, schema: &Value, keyword: &str, wanted: &Value, value: &Value) -> bool {
    let count = || wanted.as_u64().expect("a count") as usize;
    let limit = || wanted.as_f64().expect("a number");
    let (text, number) = (value.as_str(), value.as_f64());
    let (list, object) = (value.as_array(), value.as_object());
    let all = || wanted.as_array().expect("a list").iter();
    match keyword {
        "type" => {
            let is_of = |name: &Value| match name.as_str().expect("a type") {
                "null" => value.is_null(),
                "boolean" => value.is_boolean(),
                "number" => value.is_number(),
                "integer" => number.is_some_and(|number| number.fract() == 0.0),
                "string" => value.is_string(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("no type: {other}"),
            };
            wanted.as_array().map_or_else(|| is_of(wanted), |names| names.iter().any(is_of))
        }
        "const" => value == wanted,
        "enum" => all().any(|one| one == value),
        "allOf" => all().all(|schema| is_valid(root, schema, value)),
        "anyOf" => all().any(|schema| is_valid(root, schema, value)),
        "oneOf" => all().filter(|schema| is_valid(root, schema, value)).count() == 1,
        "$ref" => {
            let pointer = wanted.as_str().expect("a reference").strip_prefix('#').expect("of this document");
            is_valid(root, root.pointer(pointer).expect("a definition"), value)
        }
        "minLength" => text.is_none_or(|text| text.chars().count() >= count()),
        "maxLength" => text.is_none_or(|text| text.chars().count() <= count()),
        "pattern" => text.is_none_or(|text| matches(wanted.as_str().expect("a pattern"), text)),
        "format" => text.is_none_or(|text| is_of_format(wanted.as_str().expect("a format"), text)),
        "minimum" => number.is_none_or(|number| number >= limit()),
        "maximum" => number.is_none_or(|number| number <= limit()),
        "exclusiveMinimum" => number.is_none_or(|number| number > limit()),
        "exclusiveMaximum" => number.is_none_or(|number| number < limit()),
        "multipleOf" => number.is_none_or(|number| ((number / limit()).round() * limit() - number).abs() < 1e-9),
        "minItems" => list.is_none_or(|list| list.len() >= count()),
        "maxItems" => list.is_none_or(|list| list.len() <= count()),
        "prefixItems" => {
            list.is_none_or(|list| list.iter().zip(all()).all(|(item, schema)| is_valid(root, schema, item)))
        }
        "items" => {
            let before = schema["prefixItems"].as_array().map_or(0, Vec::len);
            list.is_none_or(|list| list.iter().skip(before).all(|item| is_valid(root, wanted, item)))
        }
        "required" => object.is_none_or(|object| all().all(|name| object.contains_key(name.as_str().expect("a name")))),
        "minProperties" => object.is_none_or(|object| object.len() >= count()),
        "maxProperties" => object.is_none_or(|object| object.len() <= count()),
        "properties" => object.is_none_or(|object| {
            object.iter().all(|(name, value)| wanted.get(name).is_none_or(|schema| is_valid(root, schema, value)))
        }),
        "patternProperties" => object.is_none_or(|object| {
            let fits = |name: &str, value: &Value| {
                let mut schemas =
                    wanted.as_object().expect("schemas").iter().filter(|(pattern, _)| matches(pattern, name));
                schemas.all(|(_, schema)| is_valid(root, schema, value))
            };
            object.iter().all(|(name, value)| fits(name, value))
        }),
        "additionalProperties" => object.is_none_or(|object| {
            let is_named = |name: &str| {
                let mut patterns = schema["patternProperties"].as_object().into_iter().flatten();
                schema["properties"].get(name).is_some() || patterns.any(|(pattern, _)| matches(pattern, name))
            };
            object.iter().all(|(name, value)| is_named(name) || is_valid(root, wanted, value))
        }),
        "$defs" | "definitions" | "title" | "description" | "default" | "x-guidance" | "$schema" => true,
        other => panic!("the validator knows no {other}"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    fancy_regex::Regex::new(pattern).expect("a pattern").is_match(text).expect("a match ends")
}

fn is_of_format(format: &str, text: &str) -> bool {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
    match format {
        "date" => {
            let parts: Vec<&str> = text.split('-').collect();
            let [year, month, day] = parts[..] else { return false };
            let days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            digits(year, 4)
                && digits(month, 2)
                && digits(day, 2)
                && (1..=12).contains(&number(month))
                && (1..=days[number(month) as usize - 1]).contains(&number(day))
        }
        "uuid" => {
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
        }
        "ipv4" => text.split('.').count() == 4 && text.split('.').all(|part| part.parse::<u8>().is_ok()),
        "email" => text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
        other => panic!("the validator knows no format {other}"),
    }
}
