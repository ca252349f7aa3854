//! What an answer is held to: the grammar that a request names, and what applies it.
//!
//! The engine knows no grammar. Its owner gives it a [`Constrainer`], once per model and only if a request asks for one:
//! the tables behind it are larger than the engine itself.

mod calls;

pub use self::calls::{Begins, Calls, Control};
use crate::error::{ChordError, Result};
use serde_json::{Map, Value as Json, json};

/// Longer names are none of OpenAI's.
const NAME_MAX: usize = 64;

/// The grammar of a request, checked as far as that can be done without a vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    /// The field that it comes from.
    pub field: &'static str,
    /// What it is, as a [`Constrainer`] reads it: an object with one key, `json_object`, `json_schema`, `grammar`, `regex`, or
    /// `parts` for what the core puts together itself ([`Calls::grammar`]).
    pub json: Json,
}

/// Prepares grammars for the vocabulary of one model.
pub trait Constrainer {
    /// What holds an answer to `grammar`.
    ///
    /// # Errors
    /// `InvalidParameter` that names the grammar's field, and in `details.keyword` the keyword of a schema that is not
    /// supported.
    fn compile(&mut self, grammar: &Grammar) -> Result<Box<dyn Constraint>>;
}

/// Holds an answer to a grammar.
pub trait Constraint {
    /// What holds another answer to the same grammar, before its first token.
    fn another(&self) -> Result<Box<dyn Constraint>>;

    /// Goes back to before the first token.
    fn restart(&mut self) -> Result<()>;

    /// Sets the bits of the tokens that may come next and clears all others: 32 of them a word, the first in the lowest
    /// bit. Tokens that end an answer may come where the grammar is satisfied.
    fn mask(&mut self, allowed: &mut [u32]) -> Result<()>;

    /// A token that was allowed has come. True if only the end of the answer can follow.
    fn commit(&mut self, token: u32) -> Result<bool>;

    /// How many of these tokens may come one after the other. Nothing is committed.
    fn agreeing(&mut self, tokens: &[u32]) -> Result<usize>;

    /// Appends the bytes that have to come next to `bytes`; true if only the end of the answer can follow them.
    fn forced(&mut self, bytes: &mut Vec<u8>) -> Result<bool>;
}

impl Grammar {
    /// Reads `response_format`, `grammar` and `regex` of a request. Absent and null ones hold it to nothing, and neither
    /// does a `response_format` of text.
    ///
    /// # Errors
    /// `InvalidParameter` naming the field that is of the wrong type, or contradicts another one.
    pub fn from_request(request: &Map<String, Json>) -> Result<Option<Grammar>> {
        let given = |name: &str| request.get(name).filter(|value| !value.is_null());
        let mut grammars = Vec::new();
        if let Some(format) = given("response_format") {
            grammars.extend(response_format(format)?);
        }
        for field in ["grammar", "regex"] {
            if let Some(text) = given(field) {
                if field == "grammar" && text == "" {
                    // llama.cpp's: none.
                    continue;
                }
                let text = text.as_str().filter(|text| !text.is_empty());
                let text = text.ok_or_else(|| ChordError::parameter(field, format!("{field} is not a text")))?;
                grammars.push(Grammar { field, json: json!({field: text}) });
            }
        }
        match grammars.as_slice() {
            [first, second, ..] => {
                let text = format!("{} and {} both say what the answer is to be: give one", first.field, second.field);
                Err(ChordError::parameter(second.field, text))
            }
            [_] if given("ignore_eos") == Some(&Json::Bool(true)) => {
                let text = "ignore_eos goes on past the end, and a grammar says where the end is: not both";
                Err(ChordError::parameter("ignore_eos", text))
            }
            [_] if given("tools").and_then(Json::as_array).is_some_and(|tools| !tools.is_empty()) => {
                let text = "tools cannot be called where a grammar says what the answer is to be: give one of both";
                Err(ChordError::parameter("tools", text))
            }
            _ => Ok(grammars.pop()),
        }
    }

    /// The error of a grammar that is not accepted.
    pub fn refused(&self, message: &str) -> ChordError {
        ChordError::parameter(self.field, format!("{}: {message}", self.field))
    }
}

/// The grammar of OpenAI's `response_format`; none for text.
fn response_format(format: &Json) -> Result<Option<Grammar>> {
    let field = "response_format";
    let refused = |why: String| ChordError::parameter(field, format!("{field}{why}"));
    let only = |object: &Map<String, Json>, within: &str, known: &[&str]| match object
        .keys()
        .find(|name| !known.contains(&name.as_str()))
    {
        Some(name) => Err(refused(format!("{within}.{name} is not supported")).with("keyword", name.as_str())),
        None => Ok(()),
    };
    let object = format.as_object().ok_or_else(|| refused(" is not an object".into()))?;
    let grammar = |json: Json| Some(Grammar { field, json });
    match object.get("type").and_then(Json::as_str) {
        Some("text") => only(object, "", &["type"]).map(|()| None),
        Some("json_object") => only(object, "", &["type"]).map(|()| grammar(json!({"json_object": {}}))),
        Some("json_schema") => {
            only(object, "", &["type", "json_schema"])?;
            let within = ".json_schema";
            let described = object.get("json_schema").and_then(Json::as_object);
            let described = described.ok_or_else(|| refused(format!("{within} is not an object")))?;
            only(described, within, &["name", "description", "schema", "strict"])?;
            let is_name = |name: &str| {
                let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
                (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_of_name)
            };
            if !described.get("name").and_then(Json::as_str).is_some_and(is_name) {
                return Err(refused(format!(
                    "{within}.name is not a name of up to {NAME_MAX} letters, digits, _ and -"
                )));
            }
            if described.get("description").is_some_and(|text| !text.is_string() && !text.is_null()) {
                return Err(refused(format!("{within}.description is not a text")));
            }
            // Every schema is kept to the letter, whether strictly or not.
            if described.get("strict").is_some_and(|strict| !strict.is_boolean() && !strict.is_null()) {
                return Err(refused(format!("{within}.strict is not true or false")));
            }
            let schema = described.get("schema").filter(|schema| schema.is_object());
            let schema = schema.ok_or_else(|| refused(format!("{within}.schema is not an object")))?;
            Ok(grammar(json!({"json_schema": schema})))
        }
        _ => Err(refused(".type is not text, json_object or json_schema".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(request: Json) -> Result<Option<Grammar>> {
        Grammar::from_request(request.as_object().expect("an object"))
    }

    #[test]
    fn each_field_is_a_grammar() {
        let schema = json!({"type": "object"});
        let format = json!({"type": "json_schema", "json_schema": {"name": "a-1", "strict": true, "schema": schema}});
        for (request, field, expected) in [
            (json!({"response_format": format}), "response_format", json!({"json_schema": schema})),
            (json!({"response_format": {"type": "json_object"}}), "response_format", json!({"json_object": {}})),
            (json!({"response_format": {"type": "text"}, "regex": "a+"}), "regex", json!({"regex": "a+"})),
            (json!({"grammar": "root ::= \"a\"", "tools": []}), "grammar", json!({"grammar": "root ::= \"a\""})),
        ] {
            assert_eq!(read(request).unwrap(), Some(Grammar { field, json: expected }));
        }
        for request in [
            json!({}),
            json!({"response_format": null, "grammar": null}),
            json!({"grammar": ""}),
            json!({"response_format": {"type": "text"}}),
        ] {
            assert_eq!(read(request).unwrap(), None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let schema = |more: Json| {
            let mut described = json!({"name": "x", "schema": {}});
            described.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"response_format": {"type": "json_schema", "json_schema": described}})
        };
        for (request, name, part) in [
            (json!({"response_format": "json"}), "response_format", "not an object"),
            (json!({"response_format": {"type": "xml"}}), "response_format", ".type"),
            (json!({"response_format": {"type": "json_object", "schema": {}}}), "response_format", ".schema"),
            (json!({"response_format": {"type": "json_schema"}}), "response_format", ".json_schema is not"),
            (schema(json!({"name": "a b"})), "response_format", ".name"),
            (schema(json!({"schema": true})), "response_format", ".schema is not"),
            (schema(json!({"strict": 1})), "response_format", ".strict"),
            (schema(json!({"description": 1})), "response_format", ".description"),
            (schema(json!({"schemas": {}})), "response_format", ".schemas is not supported"),
            (json!({"grammar": 1}), "grammar", "not a text"),
            (json!({"regex": ""}), "regex", "not a text"),
            (json!({"grammar": "a", "regex": "b"}), "regex", "grammar and regex"),
            (json!({"response_format": {"type": "json_object"}, "grammar": "b"}), "grammar", "both"),
            (json!({"regex": "b", "ignore_eos": true}), "ignore_eos", "not both"),
            (json!({"regex": "b", "tools": [{}]}), "tools", "tools"),
        ] {
            let error = read(request.clone()).unwrap_err();
            assert_eq!(error.details["name"], name, "{request}");
            assert!(error.message.contains(part), "{request}: {error}");
        }
    }
}
