//! Chat templates: the Jinja program in a model file that turns messages into the prompt's text.
//!
//! Templates are programs of strangers, so a rendering has a budget of fuel that bounds its time
//! and its memory. Messages are texts of strangers too: see [`guard`](self::guard) for how a
//! control token written in a message stays text.

mod builtins;
mod guard;
mod input;
mod json;
mod methods;
mod source;
mod time;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Rest;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use serde_json::{Map, Value as Json};

pub use self::guard::ControlTexts;
use self::guard::Guarding;
use self::input::{Converter, Survey};
pub use self::time::CivilTime;
use crate::error::{ChordError, ErrorCode, Result};

/// Longer templates are refused; the longest in use have about 30 KB.
const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// Fuel of every rendering. One unit is an instruction or 64 bytes of text. Templates in use need a
/// few hundred for a short conversation; what hostile ones can do with this takes seconds at worst.
const FUEL: u64 = 50_000;
/// Fuel added for each value in the messages and tools, so that long conversations render.
const FUEL_PER_VALUE: u64 = 500;
/// Fuel added is the bytes of the input divided by this: dozens of passes over every text.
const BYTES_PER_FUEL: u64 = 2;
/// Depth of loops and macros in each other; a macro costs five. The stack of a wasm worker is small.
const RECURSION_MAX: usize = 250;
/// Name of the only template in an environment; without a suffix nothing is escaped.
const NAME: &str = "chat";
/// The template of models that bring none.
const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: Box<str>,
}

/// What a template renders.
pub struct RenderInput<'a> {
    /// A list of objects with a `role` and a `content`, which is a string or OpenAI's list of text
    /// parts. Other fields reach the template as they are.
    pub messages: &'a Json,
    /// OpenAI's list of tools.
    pub tools: Option<&'a Json>,
    /// More variables for the template, such as `documents` or `enable_thinking`.
    pub extra: Option<&'a Map<String, Json>>,
    /// Ends the prompt with the opening of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Text of the token that begins a sequence, empty if there is none.
    pub bos_token: &'a str,
    /// Text of the token that ends a sequence, empty if there is none.
    pub eos_token: &'a str,
    /// The time that `strftime_now` tells.
    pub now: CivilTime,
    /// The control tokens that must not come out of messages.
    pub controls: &'a ControlTexts,
}

/// The prompt's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// Set if messages contained the text of control tokens. It then stands behind the first
    /// character of each such text: the tokeniser looks for control tokens first (a match whose
    /// first character is followed by the guard is none) and then drops the guard everywhere.
    pub guard: Option<char>,
}

impl Rendered {
    /// The text as the messages had it, for people to read.
    pub fn plain_text(&self) -> String {
        match self.guard {
            Some(guard) => self.text.replace(guard, ""),
            None => self.text.clone(),
        }
    }
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// `TemplateFailed` if it is not valid Jinja. The model is usable without its template.
    pub fn new(source: &str) -> Result<ChatTemplate> {
        if source.len() > SOURCE_BYTES_MAX {
            let message = format!("the chat template has {} bytes, more than {SOURCE_BYTES_MAX}", source.len());
            return Err(ChordError::new(ErrorCode::TemplateFailed, message));
        }
        let environment = compiled(source).map_err(|error| failed(&error))?;
        Ok(ChatTemplate { environment, source: source.into() })
    }

    /// The template for models that bring none: ChatML, the most common format.
    ///
    /// # Errors
    /// None in practice: the template is a constant.
    pub fn chatml() -> Result<ChatTemplate> {
        ChatTemplate::new(CHATML)
    }

    /// The text of the template.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the prompt.
    ///
    /// # Errors
    /// `InvalidParameter` naming the place if the messages are not such; `TemplateFailed` if the
    /// template raises an exception, fails, or does more work than its budget allows.
    pub fn render(&self, input: &RenderInput) -> Result<Rendered> {
        let messages = Json::Array(input::normalised(input.messages)?);
        let survey = self.survey(&messages, input)?;
        let guard = survey.guard(input.controls)?;
        let context = context(&messages, input, guard);

        let mut environment = self.environment.clone();
        environment.set_fuel(Some(survey.fuel()));
        add_editing(&mut environment, Guarding { controls: input.controls.clone(), guard });
        let template = environment.get_template(NAME).map_err(|error| failed(&error))?;
        let text = template.render(context).map_err(|error| failed(&error))?;
        let guard = guard.filter(|&guard| text.contains(guard));
        Ok(Rendered { text, guard })
    }

    fn survey(&self, messages: &Json, input: &RenderInput) -> Result<Survey> {
        let mut survey = Survey::default();
        // Guards in the template's own text would be dropped with the others.
        survey.guards.see(&self.source);
        survey.see("messages", messages, input.controls)?;
        if let Some(tools) = input.tools {
            survey.see("tools", tools, input.controls)?;
        }
        for (name, value) in input.extra.into_iter().flatten() {
            survey.see(name, value, input.controls)?;
        }
        Ok(survey)
    }
}

impl Survey {
    /// The guard to use, if there can be a need for one.
    fn guard(&self, controls: &ControlTexts) -> Result<Option<char>> {
        match self.guards.pick() {
            Ok(guard) => Ok((!controls.is_empty()).then_some(guard)),
            Err(error) if self.controls => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn fuel(&self) -> u64 {
        FUEL + self.values as u64 * FUEL_PER_VALUE + self.bytes as u64 / BYTES_PER_FUEL
    }
}

/// Adds what can make a control text out of harmless pieces.
fn add_editing(environment: &mut Environment, guarding: Guarding) {
    let for_filter = guarding.clone();
    environment.add_filter("replace", move |state: &State, text: Cow<str>, args: Rest<Value>| {
        methods::replace(&for_filter, state, &text, &args)
    });
    environment.set_unknown_method_callback(move |state, value, method, args| {
        methods::call(&guarding, state, value, method, args)
    });
}

/// The variables of a rendering. Like Hugging Face's renderer, `tools` and `documents` are none
/// rather than undefined if the caller gave none.
fn context(messages: &Json, input: &RenderInput, guard: Option<char>) -> Value {
    let converter = Converter { controls: input.controls, guard };
    let now = input.now;
    let strftime = move |format: String| now.format(&format);
    let extra = input.extra.into_iter().flatten();
    let fixed = [
        ("messages", converter.value(messages)),
        ("tools", input.tools.map_or(Value::from(()), |tools| converter.value(tools))),
        ("add_generation_prompt", Value::from(input.add_generation_prompt)),
        ("bos_token", Value::from(input.bos_token)),
        ("eos_token", Value::from(input.eos_token)),
        ("strftime_now", Value::from_function(strftime)),
    ];
    let pairs = [("documents".to_owned(), Value::from(()))]
        .into_iter()
        .chain(extra.map(|(name, value)| (name.clone(), converter.value(value))))
        .chain(fixed.map(|(name, value)| (name.to_owned(), value)));
    Value::from_pairs(pairs)
}

/// The environment that Hugging Face's renderer gives to chat templates, with the template in it.
fn compiled(source: &str) -> std::result::Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    let mut environment = Environment::empty();
    environment.set_syntax(syntax.clone());
    environment.set_recursion_limit(RECURSION_MAX);
    builtins::add(&mut environment);
    environment.add_filter("tojson", json::tojson);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message.into())))
    });
    source::add_filters(&mut environment);
    environment.add_template_owned(NAME, source::prepared(source, syntax)?)?;
    Ok(environment)
}

/// The message of `raise_exception`, kept apart from minijinja's own.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(Arc<str>);

/// Turns an error of minijinja into one of ours. `details.reason` is `raised`, `fuel`, `syntax` or
/// `failed`.
fn failed(error: &Error) -> ChordError {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let raised = sources.filter_map(|source| source.downcast_ref::<Raised>()).next();
    let (reason, message) = match (raised, error.kind()) {
        (Some(raised), _) => ("raised", format!("the chat template refuses: {raised}")),
        (None, ErrorKind::OutOfFuel) => ("fuel", "the chat template does too much work".to_owned()),
        (None, ErrorKind::SyntaxError) => ("syntax", format!("the chat template is not valid: {error}")),
        (None, _) => ("failed", format!("the chat template failed: {error}")),
    };
    ChordError::new(ErrorCode::TemplateFailed, message).with("reason", reason)
}
