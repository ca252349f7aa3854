//! How much a model is to think, said in the words of its template.

use serde_json::{Map, Value as Json, json};

use super::{ChatTemplate, RenderInput};
use crate::error::{ChordError, Result};

/// OpenAI's values of `reasoning_effort`.
const EFFORTS: [&str; 6] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/// The variable that takes such a value, and those that take true or false.
const EFFORT: &str = "reasoning_effort";
const SWITCHES: [&str; 2] = ["enable_thinking", "thinking"];

/// The variables that ask for thinking or forbid it.
pub(super) fn switched(thinks: bool) -> Map<String, Json> {
    SWITCHES.iter().map(|switch| ((*switch).to_owned(), Json::from(thinks))).collect()
}

impl ChatTemplate {
    /// The variables with which the template asks for so much reasoning: what it renders tells which of them it knows.
    /// A template that only knows a switch has it on for everything but `none`. `thinks`: the model is known to think.
    ///
    /// # Errors
    /// `InvalidParameter` if the value is none of OpenAI's, or the template knows no such thing.
    pub fn effort(&self, effort: &str, thinks: bool, input: &RenderInput) -> Result<Map<String, Json>> {
        if !EFFORTS.contains(&effort) {
            let text = format!("{EFFORT} must be one of {}", EFFORTS.join(", "));
            return Err(ChordError::parameter(EFFORT, text));
        }
        let messages = json!([{"role": "user", "content": "hello"}]);
        let render = |name: &str, value: Json| {
            let extra = Map::from_iter([(name.to_owned(), value)]);
            let probe = RenderInput { messages: &messages, extra: Some(&extra), add_generation_prompt: true, ..*input };
            self.probed(&probe).ok()
        };
        let knows = |name: &str, one: Json, other: Json| render(name, one) != render(name, other);
        let mut variables = Map::new();
        for switch in SWITCHES {
            if knows(switch, json!(true), json!(false)) {
                variables.insert(switch.to_owned(), json!(effort != "none"));
            }
        }
        if effort != "none" && knows(EFFORT, json!("low"), json!("high")) {
            variables.insert(EFFORT.to_owned(), json!(effort));
        }
        // A model that does not think need not be told.
        if variables.is_empty() && (thinks || effort != "none") {
            let text = format!("{EFFORT}: the model's chat template cannot ask for it");
            return Err(ChordError::parameter(EFFORT, text));
        }
        Ok(variables)
    }
}
