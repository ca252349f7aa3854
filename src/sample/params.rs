//! The sampling fields of a request: OpenAI's and llama.cpp's names, ranges and defaults.

use serde_json::{Map, Value as Json};

use super::chain::{STEPS, Step};
use crate::constrain::Grammar;
use crate::error::{ChordError, Result};

/// Larger values of `top_k` are refused as mistakes.
const TOP_K_MAX: u32 = 1_000_000;
const N_MAX: u32 = 128;
const STOPS_MAX: usize = 16;
const STOP_BYTES_MAX: usize = 1024;
const DRAFT_MAX: u32 = 127;
const BREAKERS_MAX: usize = 16;
/// Longer spans and lengths of tokens are refused as mistakes.
const TOKENS_MAX: u32 = 1_000_000;
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
    /// Keeps the tokens whose surprise is nearest the expected one, up to this probability; 1 keeps all.
    pub typical_p: f32,
    /// Keeps logits within so many standard deviations of the largest; 0 and below keep all.
    pub top_n_sigma: f32,
    /// How often the likeliest tokens are left out, but for the least likely of those above the threshold; 0 for never.
    pub xtc_probability: f32,
    /// How probable a token must be to be left out.
    pub xtc_threshold: f32,
    /// What the shortest repetition costs that counts; 0 for nothing.
    pub dry_multiplier: f32,
    /// What each further token of a repetition multiplies that by, 1 to 100.
    pub dry_base: f32,
    /// So many tokens may repeat at no cost.
    pub dry_allowed_length: u32,
    /// How far back repetitions are looked for; `None` for the whole sequence.
    pub dry_penalty_last_n: Option<u32>,
    /// Texts that repetitions are not followed across.
    pub dry_sequence_breakers: Vec<String>,
    /// Mirostat, version 2, takes the place of everything that cuts.
    pub mirostat: bool,
    /// The surprise that mirostat steers to, in bits.
    pub mirostat_tau: f32,
    /// How fast it does.
    pub mirostat_eta: f32,
    /// How far the temperature goes up and down with the entropy.
    pub dynatemp_range: f32,
    /// How the temperature grows with the entropy.
    pub dynatemp_exponent: f32,
    /// `top_p`, `min_p`, `typical_p` and XTC leave so many tokens at least.
    pub min_keep: u32,
    /// The steps in order; `None` for all in llama.cpp's.
    pub samplers: Option<Vec<Step>>,
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
            typical_p: 1.0,
            top_n_sigma: -1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: None,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).into(),
            mirostat: false,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            min_keep: 0,
            samplers: None,
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
            typical_p: fields.number("typical_p")?.unwrap_or(default.typical_p),
            top_n_sigma: fields.number("top_n_sigma")?.unwrap_or(default.top_n_sigma),
            xtc_probability: fields.number("xtc_probability")?.unwrap_or(default.xtc_probability),
            xtc_threshold: fields.number("xtc_threshold")?.unwrap_or(default.xtc_threshold),
            dry_multiplier: fields.number("dry_multiplier")?.unwrap_or(default.dry_multiplier),
            dry_base: fields.number("dry_base")?.unwrap_or(default.dry_base),
            dry_allowed_length: fields.integer("dry_allowed_length")?.unwrap_or(default.dry_allowed_length),
            dry_penalty_last_n: fields.last_n("dry_penalty_last_n")?,
            dry_sequence_breakers: fields.texts("dry_sequence_breakers")?.unwrap_or(default.dry_sequence_breakers),
            mirostat: fields.mirostat()?,
            mirostat_tau: fields.number("mirostat_tau")?.unwrap_or(default.mirostat_tau),
            mirostat_eta: fields.number("mirostat_eta")?.unwrap_or(default.mirostat_eta),
            dynatemp_range: fields.number("dynatemp_range")?.unwrap_or(default.dynatemp_range),
            dynatemp_exponent: fields.number("dynatemp_exponent")?.unwrap_or(default.dynatemp_exponent),
            min_keep: fields.integer("min_keep")?.unwrap_or(default.min_keep),
            samplers: fields.samplers()?,
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
            ("typical_p", self.typical_p, 0.0, 1.0),
            ("top_n_sigma", self.top_n_sigma, -1.0, 100.0),
            ("xtc_probability", self.xtc_probability, 0.0, 1.0),
            ("xtc_threshold", self.xtc_threshold, 0.0, 1.0),
            ("dry_multiplier", self.dry_multiplier, 0.0, 100.0),
            ("dry_base", self.dry_base, 1.0, 100.0),
            ("mirostat_tau", self.mirostat_tau, 0.0, 100.0),
            ("mirostat_eta", self.mirostat_eta, 0.0, 1.0),
            ("dynatemp_range", self.dynatemp_range, 0.0, 2.0),
            ("dynatemp_exponent", self.dynatemp_exponent, 0.0, 10.0),
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
            ("min_keep", self.min_keep, 0, TOP_K_MAX),
            ("dry_allowed_length", self.dry_allowed_length, 0, TOKENS_MAX),
            ("dry_penalty_last_n", self.dry_penalty_last_n.unwrap_or(0), 0, TOKENS_MAX),
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

    /// Whether some step is asked for that only some requests ask for, or another order of all.
    pub(super) fn is_chain(&self) -> bool {
        let cuts = self.typical_p < 1.0 || self.top_n_sigma > 0.0 || self.xtc_probability > 0.0 || self.min_keep > 1;
        cuts || self.is_dry() || self.mirostat || self.dynatemp_range > 0.0 || self.samplers.is_some()
    }

    /// Whether repetitions cost something.
    pub fn is_dry(&self) -> bool {
        self.dry_multiplier > 0.0 && self.dry_penalty_last_n != Some(0) && self.has(Step::Dry)
    }

    /// Whether the step is among those that are made.
    pub(super) fn has(&self, step: Step) -> bool {
        self.samplers.as_ref().is_none_or(|steps| steps.contains(&step))
    }

    fn check_stops(&self) -> Result<()> {
        if self.dry_sequence_breakers.len() > BREAKERS_MAX {
            return Err(refused("dry_sequence_breakers", &format!("has more than {BREAKERS_MAX} strings")));
        }
        if self.dry_sequence_breakers.iter().any(|text| text.is_empty() || text.len() > STOP_BYTES_MAX) {
            let why = format!("has a string that is empty or longer than {STOP_BYTES_MAX} bytes");
            return Err(refused("dry_sequence_breakers", &why));
        }
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

    /// A number of tokens; -1 for all.
    fn last_n(&self, name: &str) -> Result<Option<u32>> {
        let read = |value: &Json| match whole(value)? {
            -1 => Some(None),
            count => Some(Some(u32::try_from(count).ok()?)),
        };
        Ok(self.typed(name, "a whole number from -1 on", read)?.flatten())
    }

    fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let read = |value: &Json| value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
        self.typed(name, "a list of strings", read)
    }

    fn mirostat(&self) -> Result<bool> {
        match self.typed("mirostat", "0 or 2", whole)? {
            None | Some(0) => Ok(false),
            Some(2) => Ok(true),
            Some(_) => Err(refused("mirostat", "is neither 0 nor 2: the first version is not supported")),
        }
    }

    fn samplers(&self) -> Result<Option<Vec<Step>>> {
        let Some(names) = self.texts("samplers")? else { return Ok(None) };
        let named =
            |name: &String| STEPS.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(step, _)| *step);
        let mut steps = Vec::new();
        for name in &names {
            let step = named(name).ok_or_else(|| {
                let known: Vec<&str> = STEPS.iter().map(|(_, names)| names[0]).collect();
                refused("samplers", &format!("names '{name}', which is none of {}", known.join(", ")))
            })?;
            if steps.contains(&step) {
                return Err(refused("samplers", &format!("names '{name}' twice")));
            }
            steps.push(step);
        }
        Ok(Some(steps))
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
