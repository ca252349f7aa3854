//! The sampling fields of a request: OpenAI's and llama.cpp's names, ranges and defaults.

use serde_json::{Map, Value as Json};

use crate::constrain::Grammar;
use crate::error::{ChordError, Result};

/// Larger values of `top_k` are refused as mistakes.
const TOP_K_MAX: u32 = 1_000_000;
const N_MAX: u32 = 128;
const STOPS_MAX: usize = 16;
const STOP_BYTES_MAX: usize = 1024;
const DRAFT_MAX: u32 = 127;
const CHAT_LOGPROBS_MAX: u32 = 20;
const COMPLETION_LOGPROBS_MAX: u32 = 50;

/// What kind of request the fields belong to; `logprobs` differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// `logprobs` is a flag and `top_logprobs` a number of at most 20.
    Chat,
    /// `logprobs` is a number of at most 50.
    Completion,
}

/// How tokens are chosen and when to end.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 to 2; 0 is greedy and deterministic. Bias and penalties apply at 0 too.
    pub temperature: f32,
    /// Keeps the likeliest so many tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the likeliest tokens whose probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least this many times as probable as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides the logits of recent tokens, 0.1 to 10; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtracted from the logits of sampled tokens, -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted for each time that a token was sampled, -2 to 2.
    pub frequency_penalty: f32,
    /// Added to the logits of tokens, -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the random choices.
    pub seed: Option<i64>,
    /// Texts that end the completion; not part of it.
    pub stop: Vec<String>,
    /// Most tokens to generate; the context is the limit if there is none.
    pub max_tokens: Option<u32>,
    /// Number of completions, 1 to 128.
    pub n: u32,
    /// Log probabilities wanted: how many alternatives a token; `None` for none at all.
    pub logprobs: Option<u32>,
    /// Goes on past end tokens, for benchmarks.
    pub ignore_eos: bool,
    /// Most tokens that are guessed for one pass; 0 guesses none. Changes no answer, only its speed.
    pub draft_max: Option<u32>,
    /// What the answer is held to.
    pub grammar: Option<Grammar>,
}

impl Default for SamplingParams {
    /// llama.cpp's defaults, which suit small models: OpenAI's temperature of 1 over the whole
    /// vocabulary lets them wander.
    fn default() -> Self {
        SamplingParams {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
            stop: Vec::new(),
            max_tokens: None,
            n: 1,
            logprobs: None,
            ignore_eos: false,
            draft_max: None,
            grammar: None,
        }
    }
}

impl SamplingParams {
    /// Reads the fields of a request. Absent and null fields have their defaults; other fields of
    /// the request are passed over.
    ///
    /// # Errors
    /// `InvalidParameter` naming the field if a value is of the wrong type or out of range; what
    /// depends on the model is for [`validate`](Self::validate).
    pub fn from_request(request: &Map<String, Json>, kind: RequestKind) -> Result<SamplingParams> {
        let fields = Fields(request);
        let default = SamplingParams::default();
        let params = SamplingParams {
            temperature: fields.number("temperature")?.unwrap_or(default.temperature),
            top_k: fields.integer("top_k")?.unwrap_or(default.top_k),
            top_p: fields.number("top_p")?.unwrap_or(default.top_p),
            min_p: fields.number("min_p")?.unwrap_or(default.min_p),
            repeat_penalty: fields.number("repeat_penalty")?.unwrap_or(default.repeat_penalty),
            presence_penalty: fields.number("presence_penalty")?.unwrap_or(default.presence_penalty),
            frequency_penalty: fields.number("frequency_penalty")?.unwrap_or(default.frequency_penalty),
            logit_bias: fields.bias()?,
            seed: fields.seed()?,
            stop: fields.stop()?,
            max_tokens: fields.integer("max_tokens")?,
            n: fields.integer("n")?.unwrap_or(default.n),
            logprobs: fields.logprobs(kind)?,
            ignore_eos: fields.flag("ignore_eos")?.unwrap_or(default.ignore_eos),
            draft_max: fields.integer("draft_max")?,
            grammar: Grammar::from_request(request)?,
        };
        params.check_ranges()?;
        Ok(params)
    }

    /// Checks every field, against the size of the vocabulary too.
    ///
    /// # Errors
    /// `InvalidParameter` naming the field.
    pub fn validate(&self, vocabulary: usize) -> Result<()> {
        self.check_ranges()?;
        match self.logit_bias.iter().find(|(token, _)| *token as usize >= vocabulary) {
            None => Ok(()),
            Some((token, _)) => {
                Err(refused("logit_bias", &format!("names token {token}, but the vocabulary has {vocabulary}")))
            }
        }
    }

    fn check_ranges(&self) -> Result<()> {
        let numbers = [
            ("temperature", self.temperature, 0.0, 2.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repeat_penalty", self.repeat_penalty, 0.1, 10.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
        ];
        let biases = self.logit_bias.iter().map(|&(_, bias)| ("logit_bias", bias, -100.0, 100.0));
        for (name, value, least, most) in numbers.into_iter().chain(biases) {
            // NaN lies in no range.
            if !(least..=most).contains(&value) {
                return Err(refused(name, &format!("is {value}, not between {least} and {most}")));
            }
        }
        let integers = [
            ("top_k", self.top_k, 0, TOP_K_MAX),
            ("n", self.n, 1, N_MAX),
            ("logprobs", self.logprobs.unwrap_or(0), 0, COMPLETION_LOGPROBS_MAX),
            ("draft_max", self.draft_max.unwrap_or(0), 0, DRAFT_MAX),
        ];
        for (name, value, least, most) in integers {
            if !(least..=most).contains(&value) {
                return Err(refused(name, &format!("is {value}, not between {least} and {most}")));
            }
        }
        self.check_stops()
    }

    fn check_stops(&self) -> Result<()> {
        if self.stop.len() > STOPS_MAX {
            return Err(refused("stop", &format!("has more than {STOPS_MAX} strings")));
        }
        match self.stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
            true => Err(refused("stop", &format!("has a string that is empty or longer than {STOP_BYTES_MAX} bytes"))),
            false => Ok(()),
        }
    }
}

fn refused(name: &str, why: &str) -> ChordError {
    ChordError::parameter(name, format!("{name} {why}"))
}

/// Typed access to the fields of a request.
struct Fields<'a>(&'a Map<String, Json>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(&self, name: &str, kind: &str, read: impl Fn(&Json) -> Option<T>) -> Result<Option<T>> {
        let read = |value| read(value).ok_or_else(|| refused(name, &format!("is not {kind}")));
        self.get(name).map(read).transpose()
    }

    fn number(&self, name: &str) -> Result<Option<f32>> {
        self.typed(name, "a number", |value| value.as_f64().map(|number| number as f32))
    }

    fn integer(&self, name: &str) -> Result<Option<u32>> {
        self.typed(name, "a whole number from 0 to 4294967295", |value| whole(value)?.try_into().ok())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false", Json::as_bool)
    }

    fn seed(&self) -> Result<Option<i64>> {
        self.typed("seed", "a whole number", whole)
    }

    fn stop(&self) -> Result<Vec<String>> {
        let read = |value: &Json| match value {
            Json::String(stop) => Some(vec![stop.clone()]),
            Json::Array(stops) => stops.iter().map(|stop| stop.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        Ok(self.typed("stop", "a string or a list of strings", read)?.unwrap_or_default())
    }

    fn bias(&self) -> Result<Vec<(u32, f32)>> {
        let read = |value: &Json| -> Option<Vec<(u32, f32)>> {
            let pair = |(token, bias): (&String, &Json)| Some((token.parse().ok()?, bias.as_f64()? as f32));
            value.as_object()?.iter().map(pair).collect()
        };
        let bias = self.typed("logit_bias", "an object of token ids and numbers", read)?;
        Ok(bias.unwrap_or_default())
    }

    fn logprobs(&self, kind: RequestKind) -> Result<Option<u32>> {
        match kind {
            RequestKind::Completion => self.integer("logprobs"),
            RequestKind::Chat => {
                let wanted = self.flag("logprobs")?.unwrap_or(false);
                match self.integer("top_logprobs")? {
                    Some(_) if !wanted => Err(refused("top_logprobs", "needs logprobs to be true")),
                    Some(top) if top > CHAT_LOGPROBS_MAX => {
                        Err(refused("top_logprobs", &format!("is {top}, not between 0 and {CHAT_LOGPROBS_MAX}")))
                    }
                    top => Ok(wanted.then(|| top.unwrap_or(0))),
                }
            }
        }
    }
}

/// A whole number, also where JavaScript wrote it as a float.
fn whole(value: &Json) -> Option<i64> {
    let from_float = |number: f64| (number.fract() == 0.0 && number.abs() < 9.1e15).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(from_float))
}
