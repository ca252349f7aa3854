//! A request under way: prompt, tokens one by one, the text that may be shown, the choices of `n`.

mod ahead;

use super::Engine;
use super::backend::Backend;
use super::event::{Event, FinishReason, Logprob, TokenLogprob, Usage};
use super::forward::{Output, Progress};
use super::guide::{Guide, Held};
use super::inputs::{Aim, Inputs};
use super::overflow::{ContextOverflow, shift, shorten};
use super::reading::Reading;
use super::request::{Ask, ChatPrompt, Moment, Request};
use super::shelf::Exchange;
use crate::answer::{Delta, Plan};
use crate::constrain::Grammar;
use crate::error::{ChordError, Result};
use crate::exec::Wanted;
use crate::sample::{Breakers, Sampler, SamplingParams, StopMatcher, top_logprobs};
use crate::tokenizer::Detokenizer;
use std::collections::VecDeque;
use std::sync::Arc;

/// A request that was read, before it starts.
pub struct Prepared {
    prompt: Vec<u32>,
    usage: Usage,
    purpose: Purpose,
    /// How much of each adapter it wants.
    pub scales: Vec<f32>,
    /// Where it will run.
    lane: usize,
}

/// A request under way.
pub struct Generation {
    prompt: Vec<u32>,
    usage: Usage,
    purpose: Purpose,
    /// It is not to go on for now.
    pub is_held: bool,
    /// The number of its last pass that was its own, or of its begin.
    pub since: u64,
}

impl Generation {
    /// Whether it writes a text.
    pub fn writes(&self) -> bool {
        matches!(self.purpose, Purpose::Text(_))
    }
}

enum Purpose {
    /// A result for each input.
    Inputs(Inputs),
    Text(Box<Text>),
}

/// The state of text generation.
struct Text {
    params: SamplingParams,
    seed: u64,
    choice: usize,
    /// Logits after the prompt, kept when more than one choice starts from them.
    first_logits: Vec<f32>,
    sampler: Sampler,
    stops: StopMatcher,
    detokenizer: Detokenizer,
    reading: Reading,
    /// What the answer is held to.
    guide: Option<Guide>,
    /// Prompt and generated tokens of this choice, without those that a full context left out.
    history: Vec<u32>,
    /// How many were left out.
    dropped: usize,
    /// The sequence does not begin with `history` any more.
    is_moved: bool,
    /// Guesses at what follows the token that was chosen last.
    guesses: Vec<u32>,
    /// Log-probabilities of tokens whose text is held back, with the end of that text.
    held: VecDeque<(usize, Logprob)>,
    /// Bytes of text that tokens of this choice made, and those of them that were shown.
    made: usize,
    shown: usize,
    /// The choice has ended; the next step begins another one or ends the request.
    ended: bool,
}

impl Text {
    /// What the next pass is for.
    fn wanted(&mut self, backend: &Backend) -> Wanted {
        // A draw takes a random number, so it is taken once: here, or by the sampler. A grammar allows some tokens only.
        let draw = if backend.samples() && self.guide.is_none() { self.sampler.draw_elsewhere(0) } else { None };
        draw.map_or(Wanted::Logits, Wanted::Token)
    }

    /// The event that ends the choice, with the last of its text.
    fn finished(&mut self, mut delta: Delta, finish_reason: FinishReason) -> Event {
        let is_cut = finish_reason == FinishReason::Length;
        let has_calls = self.reading.finish(is_cut, &mut delta);
        let finish_reason = if has_calls && !is_cut { FinishReason::ToolCalls } else { finish_reason };
        self.ended = true;
        let Delta { content: text, reasoning, calls } = delta;
        Event::Finish { choice: self.choice, text, reasoning, calls, finish_reason, logprobs: release(self) }
    }
}

impl Engine {
    /// Begins a request; the lane that it is known by as long as it runs.
    pub fn begin(&mut self, request: Request, moment: Moment) -> Result<usize> {
        if self.prepare(request, moment)?.waits {
            return Err(ChordError::internal("a request is running already"));
        }
        self.start()
    }

    /// Reads a request, which [`Engine::start`] then begins. Which sequences are best exchanged before.
    pub fn prepare(&mut self, request: Request, moment: Moment) -> Result<Exchange> {
        let waits = Exchange { waits: true, ..Exchange::default() };
        if !self.can_begin() {
            return Ok(waits);
        }
        let overflow = self.loading.options.context_overflow;
        let mut usage = Usage::default();
        let scales = match &request.adapters {
            Some(asked) => self.opened.adapters.scales(asked)?,
            None => self.opened.adapters.defaults(),
        };
        let (prompt, purpose) = match request.ask {
            Ask::Chat(chat, params) => {
                self.opened.check_writes()?;
                params.validate(self.opened.program.vocabulary)?;
                let prompt = match overflow {
                    ContextOverflow::Error => self.opened.chat_prompt(&chat, moment.now)?,
                    ContextOverflow::Shift => {
                        let (prompt, left_out) = self.opened.shortened_chat(&chat, moment.now, params.max_tokens)?;
                        usage.dropped_tokens = left_out;
                        prompt
                    }
                };
                let ChatPrompt { tokens, plan } = prompt;
                self.opened.check_length(&tokens, "messages", 1)?;
                let calls = self.opened.held_calls(&chat, plan.as_ref())?;
                let text = self.text(params, moment.seed, &tokens, plan, calls)?;
                (tokens, text)
            }
            Ask::Completion(prompt, params) => {
                self.opened.check_writes()?;
                params.validate(self.opened.program.vocabulary)?;
                let mut tokens = self.opened.prompt_tokens(prompt)?;
                if overflow == ContextOverflow::Shift {
                    usage.dropped_tokens = shorten(&mut tokens, self.opened.config.context, params.max_tokens);
                }
                self.opened.check_length(&tokens, "prompt", 1)?;
                let text = self.text(params, moment.seed, &tokens, None, None)?;
                (tokens, text)
            }
            Ask::Scores(pairs) => {
                let aim = Aim::Score(self.opened.ranking.clone()?);
                let texts = pairs.into_iter().map(|pair| self.opened.pair_tokens(pair)).collect::<Result<_>>()?;
                (Vec::new(), self.inputs(aim, texts, "documents")?)
            }
            Ask::Embeddings(inputs) => {
                let pooling = self.opened.pooling.clone()?;
                let texts = inputs.into_iter().map(|input| self.opened.prompt_tokens(input)).collect::<Result<_>>()?;
                (Vec::new(), self.inputs(Aim::Embedding(pooling), texts, "input")?)
            }
        };
        self.opened.check_tokens(&prompt)?;
        if self.runs_with_others(&scales) {
            return Ok(waits);
        }
        let known = match &purpose {
            Purpose::Inputs(inputs) => inputs.first(),
            Purpose::Text(_) => &prompt,
        };
        let Some(lane) = self.lane_for(known, &scales) else { return Ok(waits) };
        self.select(lane);
        let exchange = self.shelf.exchange(&self.sequence, known, &scales);
        self.prepared = Some(Prepared { prompt, usage, purpose, scales, lane });
        Ok(exchange)
    }

    /// Begins the request that was prepared; the lane that it is known by as long as it runs.
    pub fn start(&mut self) -> Result<usize> {
        let prepared = self.prepared.take().ok_or_else(|| ChordError::internal("no request is prepared"))?;
        let Prepared { prompt, mut usage, mut purpose, scales, lane } = prepared;
        self.select(lane);
        let is_alike = self.adapt(scales);
        let cached = match &mut purpose {
            Purpose::Inputs(inputs) => {
                usage.prompt_tokens = inputs.tokens();
                self.begin_inputs(inputs, is_alike)?
            }
            Purpose::Text(text) => {
                usage.prompt_tokens = prompt.len();
                // What is in the cache already need not be computed again.
                let position = if is_alike { self.sequence.common(&prompt).min(prompt.len() - 1) } else { 0 };
                // Choices that start from the same prompt need its logits.
                let is_shared = text.params.n > 1;
                let wanted = if is_shared { Wanted::Logits } else { text.wanted(&self.compute.backend) };
                self.start_forward(&prompt, &[], position, Output::Last, wanted)?
            }
        };
        self.sequence.goes_on = matches!(purpose, Purpose::Text(_));
        self.sequence.drafter.begin();
        usage.prompt_tokens_details.cached_tokens = cached;
        let since = self.next_number();
        self.generation = Some(Generation { prompt, usage, purpose, is_held: false, since });
        Ok(lane)
    }

    /// Inputs that a field of the request named.
    fn inputs(&self, aim: Aim, texts: Vec<Vec<u32>>, field: &str) -> Result<Purpose> {
        if texts.is_empty() {
            return Err(ChordError::parameter(field, format!("'{field}' is empty")));
        }
        for text in &texts {
            self.opened.check_length(text, field, 0)?;
            self.opened.check_tokens(text)?;
        }
        Ok(Purpose::Inputs(Inputs::new(aim, texts, self.opened.looks_ahead)))
    }

    /// `calls`: what calls of tools are held to.
    fn text(
        &mut self,
        params: SamplingParams,
        seed: u64,
        prompt: &[u32],
        plan: Option<Arc<Plan>>,
        calls: Option<(Grammar, Held)>,
    ) -> Result<Purpose> {
        let seed = params.seed.map_or(seed, |s| s as u64);
        if calls.is_some() && params.ignore_eos {
            let text = "ignore_eos goes on past the end, and calls that are held say where the end is: not both";
            return Err(ChordError::parameter("ignore_eos", text));
        }
        let held = params.grammar.clone().map(|grammar| (grammar, Held::Answer)).or(calls);
        let guide = match &held {
            Some((grammar, held)) => {
                let constrainer = self.constrainer.as_mut();
                let constrainer =
                    constrainer.ok_or_else(|| ChordError::internal("there is nothing that reads grammars"))?;
                Some(Guide::new(constrainer.compile(grammar)?, *held, plan.clone(), &self.opened))
            }
            None => None,
        };
        let breakers = match params.is_dry() {
            true => Breakers::new(&self.opened.tokenizer, &params.dry_sequence_breakers),
            false => Breakers::default(),
        };
        Ok(Purpose::Text(Box::new(Text {
            seed,
            choice: 0,
            first_logits: Vec::new(),
            sampler: Sampler::new(params.clone(), seed).with_breakers(breakers),
            stops: stop_matcher(&params),
            detokenizer: self.opened.tokenizer.stream(),
            reading: Reading::new(plan),
            guide,
            history: prompt.to_vec(),
            dropped: 0,
            is_moved: false,
            guesses: Vec::new(),
            held: VecDeque::new(),
            made: 0,
            shown: 0,
            ended: false,
            params,
        })))
    }

    /// Drops all requests, those that run and the one that was prepared. What the cache holds stays valid.
    pub fn cancel(&mut self) {
        self.prepared = None;
        self.cancel_all();
    }

    /// Goes on with the current lane's request. `is_ready`: a pass that others are a part of, too, has made its logits.
    pub(super) fn generate(&mut self, generation: &mut Generation, is_ready: bool) -> Result<Event> {
        let Generation { prompt, usage, purpose, .. } = generation;
        match purpose {
            Purpose::Inputs(inputs) => self.read_inputs(inputs, usage),
            Purpose::Text(text) if text.ended => {
                self.sequence.pass = None;
                self.drop_ahead();
                text.choice += 1;
                if text.choice == text.params.n as usize {
                    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
                    let draft = self.sequence.drafter.tally();
                    return Ok(Event::Done { usage: *usage, draft, embeddings: Vec::new(), scores: Vec::new() });
                }
                self.restart(text, prompt)?;
                self.next_token(text, usage)
            }
            Purpose::Text(text) => {
                let progress = if is_ready { Progress::Done } else { self.advance(&mut |_, _| {})? };
                if progress == Progress::Device {
                    self.send_ahead(text, usage.prompt_tokens)?;
                }
                if let Some(event) = waiting(progress) {
                    return Ok(event);
                }
                if text.params.n > 1 && text.choice == 0 && text.history.len() == prompt.len() {
                    text.first_logits = self.compute.backend.logits().to_vec();
                }
                self.next_token(text, usage)
            }
        }
    }

    /// Goes back to the end of the prompt for another choice.
    fn restart(&mut self, text: &mut Text, prompt: &[u32]) -> Result<()> {
        self.compute.backend.set_logits(&text.first_logits);
        if std::mem::take(&mut text.dropped) > 0 {
            text.history.clear();
            text.history.extend_from_slice(prompt);
            text.is_moved = true;
        }
        text.history.truncate(prompt.len());
        self.sequence.drafter.truncate(if text.is_moved { 0 } else { prompt.len() });
        text.sampler.restart(text.seed.wrapping_add(text.choice as u64));
        text.stops = stop_matcher(&text.params);
        text.detokenizer = self.opened.tokenizer.stream();
        text.reading.restart();
        (text.made, text.shown, text.ended) = (0, 0, false);
        text.guide.as_mut().map_or(Ok(()), |guide| guide.restart(&self.opened.tokenizer))
    }

    /// Chooses a token from the logits, and after it those that a grammar forces, and starts the next pass, or ends the
    /// choice.
    fn next_token(&mut self, text: &mut Text, usage: &mut Usage) -> Result<Event> {
        let mut delta = Delta::default();
        if text.params.max_tokens == Some(0) {
            return Ok(self.finish(text, delta, FinishReason::Length));
        }
        loop {
            let token = self.choose(text)?;
            usage.completion_tokens += 1;
            let ends = self.opened.tokenizer.is_end(token);
            if ends && !text.params.ignore_eos {
                return Ok(self.finish(text, delta, FinishReason::Stop));
            }
            text.history.push(token);
            let mut fresh = String::new();
            if !ends {
                fresh = text.detokenizer.push(&self.opened.tokenizer, token)?;
                fresh.push_str(text.reading.mark(&self.opened.tokenizer, token)?);
            }
            text.made += fresh.len();
            if let Some(count) = text.params.logprobs {
                let logprob = self.logprob(token, count as usize)?;
                text.held.push_back((text.made, logprob));
            }
            let is_complete = match &mut text.guide {
                Some(guide) => guide.accept(&self.opened.tokenizer, token)?,
                None => false,
            };
            let mut released = String::new();
            let stopped = text.stops.push(&fresh, &mut released);
            text.shown += released.len();
            let satisfied = text.reading.push(released, &mut delta);
            if stopped || satisfied {
                return Ok(text.finished(delta, FinishReason::Stop));
            }
            if is_complete {
                return Ok(self.finish(text, delta, FinishReason::Stop));
            }
            let generated = text.history.len() + text.dropped - usage.prompt_tokens;
            let is_enough = text.params.max_tokens.is_some_and(|most| generated >= most as usize);
            if is_enough || !self.has_room(text, generated, usage) {
                return Ok(self.finish(text, delta, FinishReason::Length));
            }
            if !text.is_moved && self.continue_draft(token) {
                self.sequence.drafter.accept();
                break;
            }
            // What has to come needs no logits, unless their probabilities are asked for.
            let must_come = match &mut text.guide {
                Some(guide) if text.params.logprobs.is_none() => guide.must_come(&self.opened.tokenizer)?,
                _ => false,
            };
            if !must_come {
                self.start_token(text, token, generated)?;
                break;
            }
        }
        let Delta { content, reasoning, calls } = delta;
        Ok(Event::Token { choice: text.choice, text: content, reasoning, calls, logprobs: release(text) })
    }

    /// Whether there is room for another token in the context, once what is old was left out where that is asked for. An
    /// answer without `max_tokens` ends when it is as long as the context.
    fn has_room(&mut self, text: &mut Text, generated: usize, usage: &mut Usage) -> bool {
        let context = self.opened.config.context;
        if text.history.len() < context {
            return true;
        }
        let may_shift = self.loading.options.context_overflow == ContextOverflow::Shift;
        if !may_shift || (text.params.max_tokens.is_none() && generated >= context) {
            return false;
        }
        let (kept, dropped) = shift(&mut text.history, usage.prompt_tokens);
        text.dropped += dropped;
        usage.dropped_tokens += dropped;
        text.is_moved = true;
        self.sequence.drafter.truncate(kept);
        dropped > 0
    }

    /// Chooses the next token.
    fn choose(&mut self, text: &mut Text) -> Result<u32> {
        if let Some(token) = self.compute.backend.chosen() {
            text.sampler.drawn_elsewhere();
            return Ok(token);
        }
        let logits = self.compute.backend.logits();
        match &mut text.guide {
            Some(guide) => guide.choose(&self.opened, &mut text.sampler, logits, &text.history),
            None => text.sampler.sample(logits, &text.history),
        }
    }

    /// Ends a choice and shows what was held back.
    fn finish(&self, text: &mut Text, mut delta: Delta, finish_reason: FinishReason) -> Event {
        let rest = text.detokenizer.finish();
        let mut last = String::new();
        let stopped = text.stops.push(&rest, &mut last);
        if !stopped {
            text.stops.finish(&mut last);
        }
        let finish_reason = if stopped { FinishReason::Stop } else { finish_reason };
        text.shown = if stopped { text.shown + last.len() } else { usize::MAX };
        text.reading.push(last, &mut delta);
        text.finished(delta, finish_reason)
    }

    /// The log-probability of `token` and the `count` best.
    fn logprob(&mut self, token: u32, count: usize) -> Result<Logprob> {
        let (chosen, top) = top_logprobs(self.compute.backend.logits(), token, count);
        let describe = |id: u32, logprob: f32| {
            let bytes = self.opened.tokenizer.piece_special(id)?.to_vec();
            Ok(TokenLogprob { id, token: String::from_utf8_lossy(&bytes).into_owned(), bytes, logprob })
        };
        let top = top.into_iter().map(|(id, logprob)| describe(id, logprob)).collect::<Result<_>>()?;
        Ok(Logprob { chosen: describe(token, chosen)?, top })
    }
}

fn stop_matcher(params: &SamplingParams) -> StopMatcher {
    StopMatcher::new(params.stop.iter().map(String::as_str))
}

/// The event for a pass that is not complete.
pub(super) fn waiting(progress: Progress) -> Option<Event> {
    match progress {
        Progress::Wait(group) => Some(Event::Wait { group }),
        Progress::Device => Some(Event::Device),
        Progress::Lost => Some(Event::Lost),
        Progress::More => Some(Event::Work),
        Progress::Done => None,
    }
}

/// The log-probabilities of tokens whose text has been shown.
fn release(text: &mut Text) -> Vec<Logprob> {
    let ready = text.held.iter().take_while(|(end, _)| *end <= text.shown).count();
    let released = text.held.drain(..ready).map(|(_, logprob)| logprob).collect();
    if text.ended {
        text.held.clear();
    }
    released
}
