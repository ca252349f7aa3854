//! Chat templates: the Jinja program in a model file that turns messages into the prompt's text.
//!
//! Templates are programs of strangers, so a rendering has a budget of fuel that bounds its time
//! and its memory. Messages are texts of strangers too: see `guard` for how a
//! control token written in a message stays text.

mod args;
mod bounds;
mod builtins;
mod effort;
mod filters;
mod guard;
mod input;
mod items;
mod json;
mod literal;
mod methods;
mod named;
mod numbers;
mod ordering;
mod printf;
mod shape;
mod source;
mod strings;
mod tag;
mod text;
mod time;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use serde_json::{Map, Value as Json};

pub use self::guard::ControlTexts;
use self::guard::Guarding;
pub use self::input::text_of;
use self::input::{Converter, Survey};
pub use self::named::ChatTemplates;
use self::shape::Shape;
use self::source::Prepared;
pub use self::time::CivilTime;
use crate::answer::{Probe, Style};
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
/// How many words of what the user said are looked for in the prompt.
const WORDS_SOUGHT: usize = 3;
/// Characters of an expression that an error shows.
const EXPRESSION_CHARS_MAX: usize = 200;
/// Name of the only template in an environment; without a suffix nothing is escaped.
const NAME: &str = "chat";
/// The template of models that bring none.
const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// What a file means that has the name of RWKV's format in place of a template.
const RWKV: &str = "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content | trim }}\n\n\
                    {% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: Box<str>,
    prepared: Prepared,
    /// What the template takes, found out when it is first asked.
    shape: OnceLock<Shape>,
    /// How the model answers that it belongs to, found out when it is first asked.
    style: OnceLock<Arc<Style>>,
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
    /// What the tokeniser gets.
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
        let source = if source == "rwkv-world" { RWKV } else { source };
        if source.len() > SOURCE_BYTES_MAX {
            let message = format!("the chat template has {} bytes, more than {SOURCE_BYTES_MAX}", source.len());
            return Err(ChordError::new(ErrorCode::TemplateFailed, message));
        }
        // Jinja2 reads every end of a line as a line feed.
        let lines = source.replace("\r\n", "\n").replace('\r', "\n");
        let (environment, prepared) = compiled(&lines).map_err(|error| failed(&error, None))?;
        Ok(ChatTemplate { environment, source: lines.into(), prepared, shape: OnceLock::new(), style: OnceLock::new() })
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
    /// template raises an exception, fails, does more work than its budget allows, or leaves out
    /// what the user said last.
    pub fn render(&self, input: &RenderInput) -> Result<Rendered> {
        let messages = input::normalised(input.messages, || self.shape(input))?;
        let rendered = self.render_shaped(&Json::Array(messages.clone()), input)?;
        let rendered = self.unprinted(&messages, rendered, input);
        if self.shape(input).shows_user {
            check_user(input.messages, &rendered)?;
        }
        Ok(rendered)
    }

    /// Renders again with text where the prompt shows a list of parts as it is printed: a template
    /// may take parts in one place and only text in another, such as beside tools.
    fn unprinted(&self, messages: &[Json], rendered: Rendered, input: &RenderInput) -> Rendered {
        if !shape::prints_parts(messages, &rendered.text) {
            return rendered;
        }
        let shape = self.shape(input);
        let mut joined = [false, true].into_iter().filter_map(|all| {
            let messages = shape.joined(messages, all);
            let rendered = self.render_shaped(&Json::Array(messages), input).ok()?;
            let is_whole = check_user(input.messages, &rendered).is_ok();
            (is_whole && !shape::prints_parts(input.messages.as_array()?, &rendered.text)).then_some(rendered)
        });
        joined.next().unwrap_or(rendered)
    }

    /// Renders messages that have the shapes of the template.
    fn render_shaped(&self, messages: &Json, input: &RenderInput) -> Result<Rendered> {
        // No tools are none.
        let tools = input.tools.filter(|tools| !tools.as_array().is_some_and(Vec::is_empty));
        let input = &RenderInput { tools, ..*input };
        let survey = self.survey(messages, input)?;
        let guard = survey.guard(input.controls)?;
        let context = context(messages, input, guard);

        let mut environment = self.environment.clone();
        environment.set_fuel(Some(survey.fuel()));
        add_editing(&mut environment, Guarding { controls: input.controls.clone(), guard });
        let template = environment.get_template(NAME).map_err(|error| failed(&error, None))?;
        let text = template.render(context).map_err(|error| failed(&error, self.expression(&error)))?;
        let guard = guard.filter(|&guard| text.contains(guard));
        Ok(Rendered { text, guard })
    }

    /// The style in which the model answers that the template belongs to. `is_token` says whether a text is a token.
    pub fn style(&self, input: &RenderInput, is_token: impl Fn(&str) -> bool) -> Arc<Style> {
        let find = || {
            // A template that runs out of fuel once would do so on every probe.
            let exhausted = Cell::new(false);
            let render = |probe: &Probe| {
                let extra = probe.thinks.map(effort::switched);
                let (messages, tools, add_generation_prompt) = (probe.messages, probe.tools, probe.opens);
                let probe = RenderInput { messages, tools, add_generation_prompt, extra: extra.as_ref(), ..*input };
                if exhausted.get() {
                    return None;
                }
                match self.probed(&probe) {
                    Ok(prompt) => Some(prompt),
                    Err(error) => {
                        exhausted.set(error.details["reason"] == "fuel");
                        None
                    }
                }
            };
            Arc::new(Style::of(&render, &is_token))
        };
        self.style.get_or_init(find).clone()
    }

    /// What the template takes. A template that fails on every probe takes what is given.
    fn shape(&self, input: &RenderInput) -> Shape {
        *self.shape.get_or_init(|| {
            let function = serde_json::json!({"name": "lookup", "description": "Looks up", "parameters":
                {"type": "object", "properties": {"place": {"type": "string", "description": "where"}}}});
            let tools = serde_json::json!([{"type": "function", "function": function}]);
            let controls = ControlTexts::new([]);
            // A template that runs out of fuel once would do so on every probe.
            let exhausted = Cell::new(false);
            Shape::of(|messages| {
                let calls =
                    messages.as_array().is_some_and(|all| all.iter().any(|one| one.get("tool_calls").is_some()));
                // Some templates fail without tools.
                let mut choices = [None, Some(&tools)].into_iter().skip(usize::from(calls));
                choices.find_map(|tools| {
                    if exhausted.get() {
                        return None;
                    }
                    let probe = RenderInput { messages, tools, extra: None, controls: &controls, ..*input };
                    let rendered = self.render_shaped(messages, &probe);
                    exhausted.set(rendered.as_ref().is_err_and(|error| error.details["reason"] == "fuel"));
                    Some(rendered.ok()?.text)
                })
            })
        })
    }

    /// The prompt of messages that nobody wrote.
    fn probed(&self, input: &RenderInput) -> Result<String> {
        let messages = input::normalised(input.messages, || self.shape(input))?;
        Ok(self.render_shaped(&Json::Array(messages), input)?.plain_text())
    }

    /// The expression of the template at which a rendering failed.
    fn expression(&self, error: &Error) -> Option<&str> {
        let range = self.prepared.original(error.range()?);
        let expression = self.source.get(range)?.trim();
        let end = expression.char_indices().nth(EXPRESSION_CHARS_MAX).map_or(expression.len(), |(at, _)| at);
        Some(&expression[..end]).filter(|expression| !expression.is_empty())
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

/// Refuses a prompt without what the user said last: the model would answer to nothing.
fn check_user(messages: &Json, rendered: &Rendered) -> Result<()> {
    let mut said = messages.as_array().into_iter().flatten().rev();
    let said = said.find(|message| message.get("role").and_then(Json::as_str) == Some("user"));
    let text = said.and_then(|message| message.get("content")).map(input::text_of).unwrap_or_default();
    // Templates trim, escape and edit what they are given, but one of its long words remains.
    let mut words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let prompt = rendered.plain_text().to_lowercase();
    if words.is_empty() || words.iter().take(WORDS_SOUGHT).any(|word| prompt.contains(&word.to_lowercase())) {
        return Ok(());
    }
    let message = "the chat template leaves out what the user said";
    Err(ChordError::new(ErrorCode::TemplateFailed, message).with("reason", "lost"))
}

/// Adds what can make a control text out of harmless pieces.
fn add_editing(environment: &mut Environment, guarding: Guarding) {
    let for_filter = guarding.clone();
    environment.add_filter("replace", move |state: &State, value: &Value, args: Rest<ValueOrKwargs>| {
        methods::replace_filter(&for_filter, state, value, &args.into_values())
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
fn compiled(source: &str) -> std::result::Result<(Environment<'static>, Prepared), Error> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    let mut environment = Environment::empty();
    environment.set_syntax(syntax.clone());
    environment.set_recursion_limit(RECURSION_MAX);
    builtins::add(&mut environment);
    filters::add(&mut environment);
    environment.add_filter("tojson", |state: &State, value: &Value, args: Rest<ValueOrKwargs>| {
        json::tojson(state, value, &args.into_values())
    });
    environment.add_function("raise_exception", |message: Value| -> std::result::Result<Value, Error> {
        let message = text::python_str(&message)?;
        Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message.into())))
    });
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            out.write_str(&text::python_str(value)?).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    source::add(&mut environment);
    let prepared = source::prepared(source, syntax)?;
    environment.add_template_owned(NAME, prepared.source.clone())?;
    Ok((environment, prepared))
}

/// The message of `raise_exception`, kept apart from minijinja's own.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(Arc<str>);

/// Turns an error of minijinja into one of ours. `details.reason` is `raised`, `fuel`, `syntax` or
/// `failed`; `details.expression` is what failed.
fn failed(error: &Error, expression: Option<&str>) -> ChordError {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let raised = sources.filter_map(|source| source.downcast_ref::<Raised>()).next();
    let line = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
    let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let at = expression.map_or_else(String::new, |expression| format!(" at `{expression}`"));
    let (reason, message) = match (raised, error.kind()) {
        (Some(raised), _) => ("raised", format!("the chat template refuses: {raised}")),
        (None, ErrorKind::OutOfFuel) => ("fuel", "the chat template does too much work".to_owned()),
        (None, ErrorKind::SyntaxError) => ("syntax", format!("the chat template is not valid: {why}{line}")),
        (None, _) => ("failed", format!("the chat template failed{line}{at}: {why}")),
    };
    let failed = ChordError::new(ErrorCode::TemplateFailed, message).with("reason", reason);
    match expression {
        Some(expression) => failed.with("expression", expression),
        None => failed,
    }
}
