//! Requests: from a JSON body to checked parameters and the prompt's tokens.

use super::adapters::AdapterScale;
use super::continuation;
use super::guide::Held;
use super::opened::Opened;
use crate::answer::{Plan, Style, Tools};
use crate::constrain::{Begins, Calls, Control, Grammar};
use crate::error::{ChordError, ErrorCode, Result};
use crate::sample::{RequestKind, SamplingParams};
use crate::template::{CivilTime, RenderInput, Rendered, text_of};
use crate::tokenizer::EncodeOptions;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// What the core may not find out by itself: the time, and a seed for requests that bring none.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For chat templates that write the date.
    pub now: CivilTime,
    /// For requests without a `seed`; those of one engine should differ.
    pub seed: u64,
}

/// A chat: the body of OpenAI's chat completions.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Chat {
    pub messages: Json,
    #[serde(default)]
    pub tools: Option<Json>,
    /// Name of the template in the file; without one the request decides.
    #[serde(default)]
    pub chat_template: Option<String>,
    /// More variables for the template.
    #[serde(default)]
    pub chat_template_kwargs: Option<Map<String, Json>>,
    /// How much to think, in OpenAI's words; what of it the template knows becomes variables.
    #[serde(default)]
    pub reasoning_effort: Option<String>,
    /// Whether it has to call a tool.
    #[serde(default)]
    pub tool_choice: ToolChoice,
    /// Without it the answer ends after its first call.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    /// Ends the prompt with the opening of the assistant's turn; by default unless the last message is continued.
    #[serde(default)]
    pub add_generation_prompt: Option<bool>,
    /// Ends the prompt within the last message, for the answer to go on there.
    #[serde(default)]
    pub continue_final_message: Option<bool>,
}

/// What may follow a prefix: texts that begin with characters that no token joins to one another.
const NEXT: [&str; 2] = ["A", "7"];

/// Whether a model calls tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// It has to, and says nothing else.
    Required,
}

/// Text or token ids.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub ask: Ask,
    /// How much of each adapter is in what is computed, where it is not what the engine was opened with.
    pub adapters: Option<Vec<AdapterScale>>,
}

/// What is asked for, by the request's `kind`.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time; in 32 bits they are nearer to each other")]
pub enum Ask {
    /// An answer to messages.
    Chat(Chat, SamplingParams),
    /// A text or tokens, continued.
    Completion(Prompt, SamplingParams),
    /// A vector for each text, or run of tokens.
    Embeddings(Vec<Prompt>),
    /// How well each document answers a query.
    Scores(Vec<Pair>),
}

/// A query and a document.
#[derive(Clone, Debug)]
pub enum Pair {
    Texts {
        query: String,
        document: String,
    },
    /// With whatever the model wants around and between them.
    Tokens(Vec<u32>),
}

impl TryFrom<Prompt> for Pair {
    type Error = ChordError;

    fn try_from(prompt: Prompt) -> Result<Pair> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(Pair::Tokens(tokens)),
            Prompt::Text(_) => Err(ChordError::parameter("input", "'input' must be a list of token ids")),
        }
    }
}

/// A chat as the model reads it.
pub struct ChatPrompt {
    pub tokens: Vec<u32>,
    /// How the answer is to be read, where there may be more in it than content.
    pub plan: Option<Arc<Plan>>,
}

impl Chat {
    /// The same without some of its messages.
    pub(super) fn without(&self, messages: Range<usize>) -> Chat {
        let mut chat = self.clone();
        if let Some(all) = chat.messages.as_array_mut() {
            all.drain(messages);
        }
        chat
    }

    /// The tools of the request.
    fn tools(&self) -> &[Json] {
        self.tools.as_ref().and_then(Json::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether calls are held to the schemas of tools: all of them where it has to call one, and else where a tool says
    /// that it is strict.
    fn holds_calls(&self) -> bool {
        let is_strict = |tool: &Json| tool.get("function").unwrap_or(tool).get("strict") == Some(&Json::Bool(true));
        self.tool_choice == ToolChoice::Required || self.tools().iter().any(is_strict)
    }
}

impl Request {
    /// Whether something has to read a grammar for it.
    pub fn asks_for_grammar(&self) -> bool {
        match &self.ask {
            Ask::Chat(chat, params) => params.grammar.is_some() || chat.holds_calls(),
            Ask::Completion(_, params) => params.grammar.is_some(),
            Ask::Embeddings(_) | Ask::Scores(_) => false,
        }
    }

    /// Reads the JSON body of a request.
    pub fn from_json(json: &str) -> Result<Request> {
        let mut body: Map<String, Json> = parse(json)?;
        let kind = body.remove("kind");
        let adapters = body.remove("adapters").map(adapters).transpose()?;
        let mut take =
            |name: &str| body.remove(name).ok_or_else(|| ChordError::parameter(name, format!("'{name}' is missing")));
        let ask = match kind.as_ref().and_then(Json::as_str) {
            Some("chat") => {
                let chat = chat(&body)?;
                Ask::Chat(chat, SamplingParams::from_request(&body, RequestKind::Chat)?)
            }
            Some("completion") => {
                let prompt = prompt(take("prompt")?, "prompt")?;
                Ask::Completion(prompt, SamplingParams::from_request(&body, RequestKind::Completion)?)
            }
            Some("embedding") => Ask::Embeddings(prompts(take("input")?, "input")?),
            Some("score") => Ask::Scores(match take("input").ok() {
                Some(input) => prompts(input, "input")?.into_iter().map(Pair::try_from).collect::<Result<_>>()?,
                None => {
                    let query = string(take("query")?, "query")?;
                    let pair =
                        |document| Ok(Pair::Texts { query: query.clone(), document: string(document, "documents")? });
                    match take("documents")? {
                        Json::Array(documents) => documents.into_iter().map(pair).collect::<Result<_>>()?,
                        document => vec![pair(document)?],
                    }
                }
            }),
            _ => {
                let text = "a request is a chat, a completion, an embedding or a score";
                return Err(ChordError::parameter("kind", text));
            }
        };
        Ok(Request { ask, adapters })
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| ChordError::parameter("body", format!("the request is not readable: {e}")))
}

/// What of a chat's body is not for the sampler. An error names the field that is not readable, or `messages` where they
/// are missing.
fn chat(body: &Map<String, Json>) -> Result<Chat> {
    let read = |body| serde_json::from_value::<Chat>(Json::Object(body));
    read(body.clone()).map_err(|error| {
        let is_readable = |name: &String, value: &Json| {
            read(Map::from_iter([("messages".to_string(), Json::Null), (name.clone(), value.clone())])).is_ok()
        };
        let name = body.iter().find(|(name, value)| !is_readable(name, value)).map_or("messages", |(name, _)| name);
        ChordError::parameter(name, format!("'{name}': {error}"))
    })
}

fn adapters(value: Json) -> Result<Vec<AdapterScale>> {
    serde_json::from_value(value).map_err(|error| {
        let text = format!("'adapters' must be a list of objects with a name and a scale: {error}");
        ChordError::parameter("adapters", text)
    })
}

fn prompt(value: Json, name: &str) -> Result<Prompt> {
    serde_json::from_value(value)
        .map_err(|_| ChordError::parameter(name, format!("'{name}' must be a string or a list of token ids")))
}

/// One prompt, or a list of them.
fn prompts(value: Json, name: &str) -> Result<Vec<Prompt>> {
    match value {
        Json::Array(all) if !all.iter().all(Json::is_number) => all.into_iter().map(|one| prompt(one, name)).collect(),
        one => Ok(vec![prompt(one, name)?]),
    }
}

fn string(value: Json, name: &str) -> Result<String> {
    match value {
        Json::String(text) => Ok(text),
        _ => Err(ChordError::parameter(name, format!("'{name}' must be a string"))),
    }
}

impl Opened {
    /// The prompt of a chat, through the file's template. `is_read`: and the style in which it will be answered.
    fn render(&self, chat: &Chat, now: CivilTime, is_read: bool) -> Result<(Rendered, Option<Arc<Style>>)> {
        let has_tools = !chat.tools().is_empty();
        let template = self.template.select(chat.chat_template.as_deref(), has_tools)?;
        let text = |token: Option<u32>| {
            let bytes = token.and_then(|t| self.tokenizer.piece_special(t).ok()).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let continues = chat.continue_final_message == Some(true);
        if continues && chat.add_generation_prompt == Some(true) {
            let text = "continue_final_message goes on with a turn, and add_generation_prompt begins one: not both";
            return Err(ChordError::parameter("continue_final_message", text));
        }
        let marked = if continues { Some(continuation::marked(&chat.messages)?) } else { None };
        let mut extra = chat.chat_template_kwargs.as_ref().map(Cow::Borrowed);
        let input = RenderInput {
            messages: marked.as_ref().unwrap_or(&chat.messages),
            tools: chat.tools.as_ref(),
            extra: None,
            add_generation_prompt: chat.add_generation_prompt.unwrap_or(!continues),
            bos_token: &text(self.tokenizer.bos()),
            eos_token: &text(self.tokenizer.eos()),
            now,
            controls: &self.controls,
        };
        let style = || template.style(&input, |text| self.tokenizer.token_for_text(text).is_some());
        if let Some(effort) = &chat.reasoning_effort {
            // What the caller says to the template itself counts more.
            let mut variables = template.effort(effort, style().thinks(), &input)?;
            variables.extend(extra.map(Cow::into_owned).into_iter().flatten());
            extra = Some(Cow::Owned(variables));
        }
        let rendered = template.render(&RenderInput { extra: extra.as_deref(), ..input })?;
        let rendered = if continues { continuation::cut(rendered)? } else { rendered };
        Ok((rendered, is_read.then(style)))
    }

    /// The text of a chat's prompt, from a JSON body.
    pub fn apply_chat_template(&self, json: &str, now: CivilTime) -> Result<String> {
        Ok(self.render(&chat(&parse(json)?)?, now, false)?.0.plain_text())
    }

    /// Tokens of a JSON string, or of a JSON array of messages as a chat's prompt.
    pub fn count_tokens(&self, json: &str, now: CivilTime) -> Result<usize> {
        match parse::<Json>(json)? {
            Json::String(text) => {
                Ok(self.tokenizer.encode(&text, EncodeOptions { add_special: true, parse_special: true })?.len())
            }
            messages => {
                let chat = Chat { messages, ..Chat::default() };
                let (rendered, _) = self.render(&chat, now, false)?;
                Ok(self.tokenizer.encode_chat(&rendered.text, rendered.guard)?.len())
            }
        }
    }

    /// The tokens that all prompts have in common which begin with this: a JSON string, or the JSON body of a chat
    /// whose messages others follow. They are found out by letting two different texts follow.
    pub fn prefix_tokens(&self, json: &str, now: CivilTime) -> Result<Vec<u32>> {
        let (mut tokens, others) = match parse::<Json>(json)? {
            Json::String(text) => {
                let tokens = |next: &str| self.prompt_tokens(Prompt::Text(format!("{text}{next}")));
                (tokens(NEXT[0])?, tokens(NEXT[1])?)
            }
            Json::Object(body) => {
                let chat = chat(&body)?;
                (self.followed(&chat, NEXT[0], now)?, self.followed(&chat, NEXT[1], now)?)
            }
            _ => return Err(ChordError::parameter("input", "a prefix is a text or a chat")),
        };
        tokens.truncate(tokens.iter().zip(&others).take_while(|(a, b)| a == b).count());
        self.check_length(&tokens, "input", 1)?;
        Ok(tokens)
    }

    /// The prompt of a chat that another message follows.
    fn followed(&self, chat: &Chat, next: &str, now: CivilTime) -> Result<Vec<u32>> {
        let mut chat = Chat { add_generation_prompt: Some(false), ..chat.clone() };
        if let Json::Array(messages) = &mut chat.messages {
            let is_asked = messages.last().is_some_and(|message| message["role"] == "user");
            messages.push(json!({"role": if is_asked { "assistant" } else { "user" }, "content": next}));
        }
        let (rendered, _) = self.render(&chat, now, false)?;
        self.tokenizer.encode_chat(&rendered.text, rendered.guard)
    }

    /// The prompt of a chat.
    pub(super) fn chat_prompt(&self, chat: &Chat, now: CivilTime) -> Result<ChatPrompt> {
        let (rendered, style) = self.render(chat, now, true)?;
        let tokens = self.tokenizer.encode_chat(&rendered.text, rendered.guard)?;
        let tools = chat.tools.as_ref().map(Tools::new).unwrap_or_default();
        let is_single = chat.parallel_tool_calls == Some(false);
        let continues = chat.continue_final_message == Some(true);
        let said = chat.messages.as_array().and_then(|all| all.last()?.get("content")).filter(|_| continues);
        let plan = style.filter(|style| style.has_more() || !tools.is_empty()).map(|style| {
            let is_thought_open = match said {
                Some(said) => style.is_thought_open_in(&text_of(said)),
                None => style.is_thought_open(&rendered.text),
            };
            Arc::new(Plan { is_thought_open, style, tools, is_single })
        });
        Ok(ChatPrompt { tokens, plan })
    }

    /// The grammar of the calls in an answer, and what of the answer it describes; none where calls are free. Where a model
    /// may call, and in a form that is not known to the letter, its calls are free.
    pub(super) fn held_calls(&self, chat: &Chat, plan: Option<&Arc<Plan>>) -> Result<Option<(Grammar, Held)>> {
        if !chat.holds_calls() {
            return Ok(None);
        }
        let is_required = chat.tool_choice == ToolChoice::Required;
        if chat.tools().is_empty() {
            return Err(ChordError::parameter("tool_choice", "a tool has to be called, and there are none"));
        }
        let Some(form) = plan.and_then(|plan| plan.style.form.as_ref()) else {
            let text = "the model writes calls in a form that it cannot be held to: let tool_choice be auto";
            return if is_required { Err(ChordError::parameter("tool_choice", text)) } else { Ok(None) };
        };
        let control = |text: &str| {
            let (at, token) = self.tokenizer.first_control(text)?;
            Some(Control { at, length: self.tokenizer.piece_special(token).map_or(0, <[u8]>::len), token })
        };
        let calls = Calls {
            form,
            tools: chat.tools(),
            begins: if is_required { Begins::Answer } else { Begins::Section },
            is_single: chat.parallel_tool_calls == Some(false),
            may_space: plan.is_some_and(|plan| plan.style.thought.is_some()),
            control: &control,
        };
        let grammar = Grammar { field: "tools", json: json!({"parts": calls.grammar()?}) };
        Ok(Some((grammar, if is_required { Held::Answer } else { Held::Calls })))
    }

    /// The tokens of a completion's prompt: ids as they are, text with the special tokens that the model adds.
    pub(super) fn prompt_tokens(&self, prompt: Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens),
            Prompt::Text(text) => {
                self.tokenizer.encode(&text, EncodeOptions { add_special: true, parse_special: true })
            }
        }
    }

    /// The tokens of a query and a document, in the words that the file has for a pair, or between the tokens that the
    /// model wants around each.
    pub(super) fn pair_tokens(&self, pair: Pair) -> Result<Vec<u32>> {
        let (query, document) = match &pair {
            Pair::Texts { query, document } => (query, document),
            Pair::Tokens(tokens) => return Ok(tokens.clone()),
        };
        if let Some(rendered) = self.template.pair(query, document, &self.controls)? {
            return self.tokenizer.encode_chat(&rendered.text, rendered.guard);
        }
        self.tokenizer.encode_pair(query, document)
    }

    /// A prompt must have a token and leave room for one more.
    pub(super) fn check_length(&self, tokens: &[u32], name: &str, room: usize) -> Result<()> {
        if tokens.is_empty() {
            return Err(ChordError::parameter(name, format!("'{name}' is empty")));
        }
        let (need, have) = (tokens.len() + room, self.config.context);
        if need > have {
            let trained = self.config.context_length;
            // More than the model was trained for is no advice: its answers would be worse.
            let advice = match need <= trained {
                true => format!("shorten the input, or open the model with a contextLength of {need} to {trained}"),
                false => format!("shorten the input: the model was trained for {trained} tokens"),
            };
            let text = format!("{} tokens do not fit the context of {have}; {advice}", tokens.len());
            let error = ChordError::new(ErrorCode::ContextOverflow, text).with("need", need).with("have", have);
            return Err(error.with("trained", trained));
        }
        Ok(())
    }
}
