//! A request under way: prompt, tokens one by one, the text that may be shown, the choices of `n`.

mod ahead;

use super::Engine;
use super::backend::Backend;
use super::choices::Choices;
use super::event::{Event, FinishReason, Logprob, TokenLogprob, Usage};
use super::forward::{Output, Progress};
use super::guide::{Guide, Held};
use super::inputs::{Aim, Inputs};
use super::jobs::Job;
use super::overflow::{ContextOverflow, shift, shorten};
use super::reading::Reading;
use super::request::{Ask, ChatPrompt, Moment, Request};
use super::sequence::Tally;
use super::shelf::Exchange;
use crate::answer::{Delta, Plan};
use crate::constrain::Grammar;
use crate::error::{ChordError, Result};
use crate::exec::Wanted;
use crate::sample::{Breakers, Sampler, SamplingParams, StopMatcher, top_logprobs};
use crate::tokenizer::Detokenizer;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// A request that was read, before it starts.
pub struct Prepared {
    usage: Usage,
    work: Work,
    /// How much of each adapter it wants.
    pub scales: Vec<f32>,
    /// Where it will run.
    lane: usize,
}

/// What a request asks for.
enum Work {
    Inputs(Inputs),
    Choices(Box<Choices>),
}

impl Work {
    /// The tokens that are computed first, as far as they may go on from what is there.
    fn first(&self) -> &[u32] {
        match self {
            Work::Inputs(inputs) => inputs.first(),
            Work::Choices(choices) => &choices.prompt,
        }
    }
}

/// What a lane is at work for.
pub struct Generation {
    /// The number of the request.
    pub job: usize,
    pub purpose: Purpose,
    /// The number of its last pass that was its own, or of its begin.
    pub since: u64,
}

impl Generation {
    /// Which choice of the request it is.
    pub fn choice(&self) -> usize {
        match &self.purpose {
            Purpose::Inputs(_) => 0,
            Purpose::Text(text) => text.choice,
        }
    }

    /// Adds what a choice that has ended took.
    pub fn count(&self, usage: &mut Usage) {
        if let Purpose::Text(text) = &self.purpose {
            usage.completion_tokens += text.chosen;
            usage.completion_tokens_details.reasoning_tokens += text.reading.thought_tokens();
            usage.dropped_tokens += text.dropped;
        }
    }

    /// Whether it writes a text.
    pub fn writes(&self) -> bool {
        matches!(self.purpose, Purpose::Text(_))
    }
}

/// What a request is at work on in one lane.
pub enum Purpose {
    /// A result for each input.
    Inputs(Inputs),
    /// A choice.
    Text(Box<Text>),
}

/// A choice that is being written.
pub struct Text {
    pub params: Rc<SamplingParams>,
    /// Its number.
    pub choice: usize,
    /// The logits that it starts from, where they were not made for it.
    pub logits: Option<Rc<[f32]>>,
    pub sampler: Sampler,
    pub stops: StopMatcher,
    pub detokenizer: Detokenizer,
    pub reading: Reading,
    /// What it is held to.
    pub guide: Option<Guide>,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Those and the generated ones, without those that a full context left out.
    pub history: Vec<u32>,
    /// How many were left out, …
    pub dropped: usize,
    /// … and how many were generated, with the one that ends the choice.
    pub chosen: usize,
    /// The sequence may not begin with `history`.
    pub is_moved: bool,
    /// Guesses at what follows the token that was chosen last.
    pub guesses: Vec<u32>,
    /// Log-probabilities of tokens whose text is held back, with the end of that text.
    pub held: VecDeque<(usize, Logprob)>,
    /// Bytes of text that its tokens made, and those of them that were shown.
    pub made: usize,
    pub shown: usize,
    /// It has ended, and with it, unless another one takes its place, the request.
    pub ended: bool,
}

impl Text {
    /// Tokens that it has, but for one that ends it.
    fn generated(&self) -> usize {
        self.history.len() + self.dropped - self.prompt
    }

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
    /// Begins a request; the number that it is known by as long as it runs.
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
        let work = match request.ask {
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
                self.choices(params, moment.seed, tokens, plan, calls)?
            }
            Ask::Completion(prompt, params) => {
                self.opened.check_writes()?;
                params.validate(self.opened.program.vocabulary)?;
                let mut tokens = self.opened.prompt_tokens(prompt)?;
                if overflow == ContextOverflow::Shift {
                    usage.dropped_tokens = shorten(&mut tokens, self.opened.config.context, params.max_tokens);
                }
                self.opened.check_length(&tokens, "prompt", 1)?;
                self.choices(params, moment.seed, tokens, None, None)?
            }
            Ask::Scores(pairs) => {
                let aim = Aim::Score(self.opened.ranking.clone()?);
                let texts = pairs.into_iter().map(|pair| self.opened.pair_tokens(pair)).collect::<Result<_>>()?;
                self.inputs(aim, texts, "documents")?
            }
            Ask::Embeddings(inputs) => {
                let pooling = self.opened.pooling.clone()?;
                let texts = inputs.into_iter().map(|input| self.opened.prompt_tokens(input)).collect::<Result<_>>()?;
                self.inputs(Aim::Embedding(pooling), texts, "input")?
            }
        };
        if self.runs_with_others(&scales) {
            return Ok(waits);
        }
        let known = work.first();
        let Some(lane) = self.lane_for(known, &scales) else { return Ok(waits) };
        self.select(lane);
        let other = self.holder(known, &scales).map(|lane| self.lane(lane).0);
        let exchange = self.shelf.exchange(&self.sequence, other, known, &scales);
        self.prepared = Some(Prepared { usage, work, scales, lane });
        Ok(exchange)
    }

    /// Begins the request that was prepared; the number that it is known by as long as it runs.
    pub fn start(&mut self) -> Result<usize> {
        let prepared = self.prepared.take().ok_or_else(|| ChordError::internal("no request is prepared"))?;
        let Prepared { mut usage, work, scales, lane } = prepared;
        self.select(lane);
        self.share(work.first(), &scales);
        let is_alike = self.adapt(scales);
        let (purpose, choices, cached) = match work {
            Work::Inputs(mut inputs) => {
                usage.prompt_tokens = inputs.tokens();
                let cached = self.begin_inputs(&mut inputs, is_alike)?;
                (Purpose::Inputs(inputs), None, cached)
            }
            Work::Choices(mut choices) => {
                let mut text = choices.begin(&self.opened.tokenizer)?;
                let prompt = &choices.prompt;
                usage.prompt_tokens = prompt.len();
                // What is in the cache already need not be computed again.
                let position = if is_alike { self.sequence.common(prompt).min(prompt.len() - 1) } else { 0 };
                // Choices that start from the same prompt need its logits.
                let is_shared = choices.are_several();
                let wanted = if is_shared { Wanted::Logits } else { text.wanted(&self.compute.backend) };
                let cached = self.start_forward(prompt, &[], position, Output::Last, wanted)?;
                (Purpose::Text(text), Some(*choices), cached)
            }
        };
        self.sequence.goes_on = choices.is_some();
        self.sequence.drafter.begin();
        usage.prompt_tokens_details.cached_tokens = cached;
        let since = self.next_number();
        let number = since as usize;
        self.lanes.jobs.push(Job { number, usage, draft: Tally::default(), is_held: false, choices });
        self.generation = Some(Generation { job: number, purpose, since });
        Ok(number)
    }

    /// Inputs that a field of the request named.
    fn inputs(&self, aim: Aim, texts: Vec<Vec<u32>>, field: &str) -> Result<Work> {
        if texts.is_empty() {
            return Err(ChordError::parameter(field, format!("'{field}' is empty")));
        }
        for text in &texts {
            self.opened.check_length(text, field, 0)?;
            self.opened.check_tokens(text)?;
        }
        Ok(Work::Inputs(Inputs::new(aim, texts, self.opened.looks_ahead)))
    }

    /// `calls`: what calls of tools are held to.
    fn choices(
        &mut self,
        params: SamplingParams,
        seed: u64,
        prompt: Vec<u32>,
        plan: Option<Arc<Plan>>,
        calls: Option<(Grammar, Held)>,
    ) -> Result<Work> {
        self.opened.check_tokens(&prompt)?;
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
        let (prompt, params) = (prompt.into(), Rc::new(params));
        let choices = Choices { prompt, params, seed, breakers, plan, guide, logits: None, begun: 0 };
        Ok(Work::Choices(Box::new(choices)))
    }

    /// Drops all requests, those that run and the one that was prepared. What the cache holds stays valid.
    pub fn cancel(&mut self) {
        self.prepared = None;
        self.cancel_all();
    }

    /// Goes on with the current lane's request. `is_ready`: a pass that others are a part of, too, has made its logits.
    pub(super) fn generate(&mut self, generation: &mut Generation, is_ready: bool) -> Result<Event> {
        let text = match &mut generation.purpose {
            Purpose::Inputs(inputs) => return self.read_inputs(inputs, generation.job),
            Purpose::Text(text) => text,
        };
        if text.ended {
            let Job { mut usage, draft, .. } = *self.running_job(generation.job)?;
            usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
            return Ok(Event::Done { usage, draft, embeddings: Vec::new(), scores: Vec::new() });
        }
        if let Some(logits) = text.logits.take() {
            self.compute.backend.set_logits(&logits);
            return self.next_token(text);
        }
        let progress = if is_ready { Progress::Done } else { self.advance(&mut |_, _| {})? };
        if progress == Progress::Device {
            self.send_ahead(text)?;
        }
        if let Some(event) = waiting(progress) {
            return Ok(event);
        }
        let choices = self.job_mut(generation.job).and_then(|job| job.choices.as_mut());
        if choices.is_some_and(|choices| choices.are_several() && choices.logits.is_none()) {
            // The others begin before this one goes on: now the state is that of the prompt.
            let logits: Rc<[f32]> = (&*self.compute.backend.logits()).into();
            text.logits = Some(logits.clone());
            if let Some(choices) = &mut self.running_job(generation.job)?.choices {
                choices.logits = Some(logits);
            }
            return Ok(Event::Work);
        }
        self.next_token(text)
    }

    /// Chooses a token from the logits, and after it those that a grammar forces, and starts the next pass, or ends the
    /// choice.
    fn next_token(&mut self, text: &mut Text) -> Result<Event> {
        let mut delta = Delta::default();
        if text.params.max_tokens == Some(0) {
            return Ok(self.finish(text, delta, FinishReason::Length));
        }
        loop {
            let token = self.choose(text)?;
            text.chosen += 1;
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
            text.reading.hear(&fresh);
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
            let generated = text.generated();
            let is_enough = text.params.max_tokens.is_some_and(|most| generated >= most as usize);
            if is_enough || !self.has_room(text, generated) {
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
    fn has_room(&mut self, text: &mut Text, generated: usize) -> bool {
        let context = self.opened.config.context;
        if text.history.len() < context {
            return true;
        }
        let may_shift = self.loading.options.context_overflow == ContextOverflow::Shift;
        if !may_shift || (text.params.max_tokens.is_none() && generated >= context) {
            return false;
        }
        let (kept, dropped) = shift(&mut text.history, text.prompt);
        text.dropped += dropped;
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
