//! What a request says of its tools: their names, and which of their parameters are texts.

use serde_json::Value as Json;

use super::literal;

/// The tools of a request, as OpenAI describes them.
#[derive(Clone, Debug, Default)]
pub struct Tools(Vec<Tool>);

#[derive(Clone, Debug)]
struct Tool {
    name: String,
    /// The schemas of its parameters, by name.
    parameters: Vec<(String, Json)>,
}

impl Tools {
    /// Reads a request's `tools`; what is no tool is passed over.
    pub fn new(tools: &Json) -> Tools {
        let tool = |tool: &Json| {
            let function = tool.get("function").unwrap_or(tool);
            let properties = function.pointer("/parameters/properties").and_then(Json::as_object);
            let parameters = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone()));
            Some(Tool { name: function.get("name")?.as_str()?.to_owned(), parameters: parameters.collect() })
        };
        Tools(tools.as_array().into_iter().flatten().filter_map(tool).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a tool of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|tool| tool.name == name)
    }

    /// The name of a tool's parameter by its place.
    pub fn parameter(&self, tool: &str, place: usize) -> Option<&str> {
        let tool = self.0.iter().find(|known| known.name == tool)?;
        tool.parameters.get(place).map(|(name, _)| name.as_str())
    }

    /// The JSON of an argument that is written plainly, without quotes. Its schema says whether it is a text; without
    /// one, what is JSON is taken as that.
    pub fn argument(&self, tool: &str, parameter: &str, plain: &str) -> String {
        let text = || Json::from(plain).to_string();
        match self.takes_text(tool, parameter) {
            Some(true) => text(),
            // Numbers are passed on as they are written: a float would not hold all of them.
            _ if serde_json::from_str::<serde::de::IgnoredAny>(plain).is_ok() => plain.trim().to_owned(),
            Some(false) => literal::value_of(plain).to_string(),
            None => text(),
        }
    }

    /// Whether the schema of a parameter takes texts and nothing else, where there is such a schema.
    fn takes_text(&self, tool: &str, parameter: &str) -> Option<bool> {
        let tool = self.0.iter().find(|known| known.name == tool)?;
        let (_, schema) = tool.parameters.iter().find(|(name, _)| name == parameter)?;
        takes_text(schema)
    }
}

/// Whether a schema takes texts and nothing else, where it says so by types or values.
pub fn takes_text(schema: &Json) -> Option<bool> {
    let is_text = |kind: &Json| kind.as_str() == Some("string");
    match (schema.get("type"), schema.get("enum").and_then(Json::as_array)) {
        (Some(Json::Array(kinds)), _) => Some(kinds.iter().all(is_text)),
        (Some(kind), _) => Some(is_text(kind)),
        (None, Some(values)) => Some(values.iter().all(Json::is_string)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_say_what_is_text() {
        let properties = json!({"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]},
            "note": {"type": ["string", "null"]}, "any": {}});
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}, 5]);
        let tools = Tools::new(&tools);
        assert!(tools.has("f") && !tools.has("g") && !tools.is_empty());
        assert_eq!(tools.parameter("f", 1), Some("days"));
        let cases = [
            ("city", "5", "\"5\""),
            ("days", "5", "5"),
            ("days", "12345678901234567890123", "12345678901234567890123"),
            ("unit", "c", "\"c\""),
            ("note", "null", "null"),
            ("note", "x", "\"x\""),
            ("any", "{\"a\": 1}", "{\"a\": 1}"),
            ("any", "x y", "\"x y\""),
            ("other", "true", "true"),
            ("days", "True", "true"),
            ("days", "some", "\"some\""),
        ];
        for (parameter, plain, json) in cases {
            assert_eq!(tools.argument("f", parameter, plain), json, "{parameter}={plain}");
        }
    }
}
