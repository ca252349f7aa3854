//! The choices of a request that writes. Its prompt is computed once; then each choice begins from there, in a lane of its
//! own as far as there are some, so that what they write is computed together. The others follow where lanes become free.

use super::generate::Text;
use super::guide::Guide;
use super::reading::Reading;
use crate::answer::Plan;
use crate::error::Result;
use crate::sample::{Breakers, Sampler, SamplingParams, StopMatcher};
use crate::tokenizer::Tokenizer;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// What the choices of a request have in common.
pub struct Choices {
    pub prompt: Rc<[u32]>,
    pub params: Rc<SamplingParams>,
    /// Of the first choice; each of the others has the next one.
    pub seed: u64,
    pub breakers: Breakers,
    pub plan: Option<Arc<Plan>>,
    /// What each is held to, before its first token.
    pub guide: Option<Guide>,
    /// The logits after the prompt, once they are there and others than the first choice start from them.
    pub logits: Option<Rc<[f32]>>,
    /// How many have begun.
    pub begun: usize,
}

impl Choices {
    /// Whether there is more than one.
    pub fn are_several(&self) -> bool {
        self.params.n > 1
    }

    /// Whether another one is to begin, and could.
    pub fn has_next(&self) -> bool {
        self.logits.is_some() && self.begun < self.params.n as usize
    }

    /// Begins the next one.
    pub fn begin(&mut self, tokenizer: &Tokenizer) -> Result<Box<Text>> {
        let choice = self.begun;
        self.begun += 1;
        let params = SamplingParams::clone(&self.params);
        Ok(Box::new(Text {
            choice,
            logits: self.logits.clone(),
            sampler: Sampler::new(params, self.seed.wrapping_add(choice as u64)).with_breakers(self.breakers.clone()),
            stops: StopMatcher::new(self.params.stop.iter().map(String::as_str)),
            detokenizer: tokenizer.stream(),
            reading: Reading::new(self.plan.clone()),
            guide: self.guide.as_ref().map(|guide| guide.another(tokenizer)).transpose()?,
            prompt: self.prompt.len(),
            history: self.prompt.to_vec(),
            // The lane may hold less than the prompt, or more.
            is_moved: choice > 0,
            params: self.params.clone(),
            chosen: 0,
            dropped: 0,
            guesses: Vec::new(),
            held: VecDeque::new(),
            made: 0,
            shown: 0,
            ended: false,
        }))
    }
}
