//! An answer that is held to a grammar, token by token: what may come, what has to come, and from where on.

use super::opened::Opened;
use crate::answer::{Delta, Plan, Reader};
use crate::constrain::Constraint;
use crate::error::Result;
use crate::sample::Sampler;
use crate::tokenizer::Tokenizer;
use std::collections::VecDeque;
use std::sync::Arc;

/// Holds the choices of a request to its grammar, one after the other.
///
/// A thought before the answer, or the header of an answer in frames, is not of the grammar: there everything is allowed
/// but the end, and tokens that would write the beginning of the answer along with the mark before it.
pub(super) struct Guide {
    constraint: Box<dyn Constraint>,
    plan: Option<Arc<Plan>>,
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

impl Guide {
    /// Before the first token of the first choice. `plan` says how the answer is read.
    pub fn new(constraint: Box<dyn Constraint>, plan: Option<Arc<Plan>>, opened: &Opened) -> Guide {
        let mut guide = Guide {
            constraint,
            plan,
            before: None,
            opening: None,
            allowed: vec![0; opened.program.vocabulary.div_ceil(32)],
            forced: VecDeque::new(),
            is_known: false,
        };
        guide.begin(&opened.tokenizer);
        guide
    }

    /// Goes back to before the first token, for another choice.
    pub fn restart(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        self.constraint.restart()?;
        self.begin(tokenizer);
        Ok(())
    }

    fn begin(&mut self, tokenizer: &Tokenizer) {
        self.forced.clear();
        self.is_known = false;
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
            forbid(&mut self.allowed, token);
        }
    }

    /// A token was chosen that ends no answer. True if only the end of the answer can follow.
    pub fn accept(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<bool> {
        self.is_known = !self.forced.is_empty();
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
        self.constraint.commit(token)
    }

    /// Whether it is known already which token has to come next, so that no logits are needed for it.
    pub fn must_come(&mut self, tokenizer: &Tokenizer) -> Result<bool> {
        if !self.is_known && self.before.is_none() {
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
        if self.before.is_some() { Ok(guesses.len()) } else { self.constraint.agreeing(guesses) }
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
    Ok(trial.is_answering() != Some(false) && !delta.content.is_empty())
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
