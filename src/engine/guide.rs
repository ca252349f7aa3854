//! An answer that is held to a grammar, token by token: what may come, what has to come, and from where on.

use super::opened::Opened;
use crate::answer::{Delta, Plan, Reader};
use crate::constrain::Constraint;
use crate::error::Result;
use crate::sample::Sampler;
use crate::tokenizer::{Detokenizer, Tokenizer};
use std::collections::VecDeque;
use std::sync::Arc;

/// Holds a choice of a request to its grammar.
///
/// A thought before the answer, or the header of an answer in frames, is not of the grammar: there everything is allowed
/// but the end, and tokens that would write the beginning of the answer along with the mark before it. Where calls alone are
/// held, all else is free; a token that would begin a call which the grammar does not know is not taken.
pub(super) struct Guide {
    constraint: Box<dyn Constraint>,
    plan: Option<Arc<Plan>>,
    held: Held,
    /// Where calls alone are held: what came so far, read for them.
    free: Option<Free>,
    /// Reads what comes before the answer, until that begins.
    before: Option<Reader>,
    /// The token that opens a thought, where one may still begin.
    opening: Option<u32>,
    allowed: Vec<u32>,
    /// Tokens that have to come next, in order.
    forced: VecDeque<u32>,
    /// What has to come next was asked for.
    is_known: bool,
}

/// What of an answer the grammar describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// All that is no thought.
    Answer,
    /// Each section of calls.
    Calls,
}

/// An answer of which calls alone are held.
#[derive(Clone)]
struct Free {
    reader: Reader,
    detokenizer: Detokenizer,
    /// Within a call.
    is_calling: bool,
}

impl Free {
    fn read(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<()> {
        let text = self.detokenizer.push(tokenizer, token)?;
        let name = std::str::from_utf8(tokenizer.piece_special(token)?).unwrap_or_default();
        let is_mark = tokenizer.piece(token)?.is_empty() && self.reader.reads(name);
        let mut delta = Delta::default();
        self.reader.push(&text, &mut delta);
        self.reader.push(if is_mark { name } else { "" }, &mut delta);
        Ok(())
    }
}

impl Guide {
    /// Before the first token. `plan` says how the answer is read, where there is more in it than content.
    pub fn new(constraint: Box<dyn Constraint>, held: Held, plan: Option<Arc<Plan>>, opened: &Opened) -> Guide {
        let mut guide = Guide {
            constraint,
            plan,
            held,
            free: None,
            before: None,
            opening: None,
            allowed: vec![0; opened.program.vocabulary.div_ceil(32)],
            forced: VecDeque::new(),
            is_known: false,
        };
        guide.begin(&opened.tokenizer);
        guide
    }

    /// Another one, before the first token, for another choice.
    pub fn another(&self, tokenizer: &Tokenizer) -> Result<Guide> {
        let mut guide = Guide {
            constraint: self.constraint.another()?,
            plan: self.plan.clone(),
            held: self.held,
            free: None,
            before: None,
            opening: None,
            allowed: self.allowed.clone(),
            forced: VecDeque::new(),
            is_known: false,
        };
        guide.begin(tokenizer);
        Ok(guide)
    }

    fn begin(&mut self, tokenizer: &Tokenizer) {
        self.forced.clear();
        self.is_known = false;
        if self.held == Held::Calls {
            self.free = self.plan.clone().map(|plan| Free {
                reader: Reader::new(plan),
                detokenizer: tokenizer.stream(),
                is_calling: false,
            });
            return;
        }
        self.before = self.plan.clone().map(Reader::new).filter(|reader| reader.is_answering() != Some(true));
        let thought = self.plan.as_ref().and_then(|plan| plan.style.thought);
        self.opening = thought.and_then(|thought| tokenizer.token_for_text(thought.open));
        if self.before.as_ref().is_some_and(|reader| reader.is_answering().is_none()) && self.opening.is_none() {
            self.before = None;
        }
    }

    /// The next token: the one that has to come, or one that `sampler` draws of those that may. Nothing is accepted yet.
    pub fn choose(
        &mut self,
        opened: &Opened,
        sampler: &mut Sampler,
        logits: &mut [f32],
        history: &[u32],
    ) -> Result<u32> {
        if self.must_come(&opened.tokenizer)?
            && let Some(token) = self.forced.pop_front()
        {
            sampler.count(token);
            return Ok(token);
        }
        if self.is_free() {
            return self.choose_freely(opened, sampler, logits, history);
        }
        let Some(before) = &self.before else {
            self.constraint.mask(&mut self.allowed)?;
            return sampler.sample_among(logits, history, &self.allowed);
        };
        if before.is_answering().is_none() {
            self.constraint.mask(&mut self.allowed)?;
            self.opening.into_iter().for_each(|token| self.allowed[token as usize / 32] |= 1 << (token % 32));
            return sampler.sample_among(logits, history, &self.allowed);
        }
        self.allowed.fill(u32::MAX);
        opened.tokenizer.ends().iter().for_each(|end| forbid(&mut self.allowed, *end));
        loop {
            let token = sampler.sample_among(logits, history, &self.allowed)?;
            if !runs_over(before, &opened.tokenizer, token)? {
                return Ok(token);
            }
            sampler.reject(token);
            forbid(&mut self.allowed, token);
        }
    }

    /// Whether the next token is held to nothing, but that it may begin a call.
    fn is_free(&self) -> bool {
        self.free.as_ref().is_some_and(|free| !free.is_calling)
    }

    /// Draws a token outside of calls.
    fn choose_freely(
        &mut self,
        opened: &Opened,
        sampler: &mut Sampler,
        logits: &mut [f32],
        history: &[u32],
    ) -> Result<u32> {
        self.allowed.fill(u32::MAX);
        loop {
            let token = sampler.sample_among(logits, history, &self.allowed)?;
            if opened.tokenizer.is_end(token) || self.follow(&opened.tokenizer, token)?.is_some() {
                return Ok(token);
            }
            sampler.reject(token);
            forbid(&mut self.allowed, token);
        }
    }

    /// What is behind `token`, which comes outside of calls, and what has come of a call by then, as tokens. None if
    /// that is of no call that the grammar knows.
    fn follow(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<Option<(Free, Option<Vec<u32>>)>> {
        let Some((free, plan)) = self.free.as_ref().zip(self.plan.as_ref()) else { return Ok(None) };
        let mut next = free.clone();
        next.read(tokenizer, token)?;
        let reader = &next.reader;
        let section =
            reader.section().filter(|(section, _)| section.is_some() && reader.opened() > free.reader.opened());
        if section.is_none() && reader.calls() == free.reader.calls() {
            return Ok(Some((next, None)));
        }
        let own = plan.style.form.as_ref().and_then(|form| form.section);
        let Some((_, text)) = section.or_else(|| reader.section()).filter(|(section, _)| *section == own) else {
            return Ok(None);
        };
        let tokens = tokenizer.encode_on(&text);
        self.constraint.restart()?;
        // A part of a character would be missing in the text.
        let is_whole = next.detokenizer.clone().finish().is_empty();
        let is_known = is_whole && self.constraint.agreeing(&tokens)? == tokens.len();
        Ok(is_known.then_some((next, Some(tokens))))
    }

    /// Takes a token that comes outside of calls.
    fn accept_freely(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<()> {
        let Some((mut free, begun)) = self.follow(tokenizer, token)? else { return Ok(()) };
        free.is_calling = begun.is_some();
        for token in begun.into_iter().flatten() {
            free.is_calling &= !self.constraint.commit(token)?;
        }
        self.free = Some(free);
        self.is_known = false;
        Ok(())
    }

    /// A token was chosen that ends no answer. True if only the end of the answer can follow.
    pub fn accept(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<bool> {
        self.is_known = !self.forced.is_empty();
        if self.is_free() {
            self.accept_freely(tokenizer, token)?;
            return Ok(false);
        }
        if let Some(before) = &mut self.before {
            let begins_thought = before.is_answering().is_none() && self.opening == Some(token);
            if begins_thought || before.is_answering() == Some(false) {
                read(before, tokenizer, token)?;
                if before.is_answering() != Some(false) {
                    self.before = None;
                }
                return Ok(false);
            }
            self.before = None;
        }
        let is_complete = self.constraint.commit(token)?;
        let Some(free) = &mut self.free else { return Ok(is_complete) };
        free.read(tokenizer, token)?;
        free.is_calling = !is_complete;
        Ok(false)
    }

    /// Whether it is known already which token has to come next, so that no logits are needed for it.
    pub fn must_come(&mut self, tokenizer: &Tokenizer) -> Result<bool> {
        if !self.is_known && self.before.is_none() && !self.is_free() {
            self.is_known = true;
            let mut bytes = Vec::new();
            let ends = self.constraint.forced(&mut bytes)?;
            forced_tokens(tokenizer, &bytes, ends, &mut self.forced);
            let agreeing = self.constraint.agreeing(self.forced.make_contiguous())?;
            self.forced.truncate(agreeing);
        }
        Ok(!self.forced.is_empty())
    }

    /// How many of these guesses may come.
    pub fn agreeing(&mut self, guesses: &[u32]) -> Result<usize> {
        match self.before.is_some() || self.is_free() {
            true => Ok(guesses.len()),
            false => self.constraint.agreeing(guesses),
        }
    }
}

/// The tokens of bytes that have to come. The last one is left out where more may follow: it may be the beginning of a
/// longer token, which the model decides.
fn forced_tokens(tokenizer: &Tokenizer, bytes: &[u8], ends: bool, out: &mut VecDeque<u32>) {
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let tokens = tokenizer.encode_on(text);
    let sure = if ends && text.len() == bytes.len() { tokens.len() } else { tokens.len().saturating_sub(1) };
    let mut rest = bytes;
    for &token in &tokens[..sure] {
        match tokenizer.piece(token).ok().filter(|piece| !piece.is_empty()).and_then(|piece| rest.strip_prefix(piece)) {
            Some(more) => rest = more,
            None => return,
        }
        out.push_back(token);
    }
}

fn forbid(allowed: &mut [u32], token: u32) {
    if let Some(word) = allowed.get_mut(token as usize / 32) {
        *word &= !(1 << (token % 32));
    }
}

/// Whether `token` would write something of the answer along with what comes before it.
fn runs_over(before: &Reader, tokenizer: &Tokenizer, token: u32) -> Result<bool> {
    let mut trial = before.clone();
    let delta = read(&mut trial, tokenizer, token)?;
    Ok(trial.section().is_some() || trial.is_answering() != Some(false) && !delta.content.is_empty())
}

/// Reads a token's text, or its name where it is a control token that is read as a mark.
fn read(reader: &mut Reader, tokenizer: &Tokenizer, token: u32) -> Result<Delta> {
    let piece = tokenizer.piece(token)?;
    let name = std::str::from_utf8(tokenizer.piece_special(token)?).unwrap_or_default();
    let mut delta = Delta::default();
    if !piece.is_empty() {
        reader.push(&String::from_utf8_lossy(piece), &mut delta);
    } else if reader.reads(name) {
        reader.push(name, &mut delta);
    }
    Ok(delta)
}
