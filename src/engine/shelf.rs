//! Sequences that were computed before the one that the backend holds. The owner keeps their states, outside of this
//! memory; what they are of is known here, and so when one is worth taking the place of the one that is held:
//! conversations that take turns are computed once each.

use super::Engine;
use super::sequence::Sequence;

/// Fewer tokens are computed sooner than their state is moved.
const TOKENS_MIN: usize = 32;

/// What is known of the sequences that are kept.
#[derive(Default)]
pub struct Shelf {
    kept: Vec<Kept>,
    /// The number of the sequence that is kept next.
    next: u32,
}

struct Kept {
    number: u32,
    tokens: Vec<u32>,
    /// How much of each adapter it was computed with.
    scales: Vec<f32>,
}

/// What to do about sequences before a request starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The request goes on from little of what is held now, which is worth keeping: its owner saves it
    /// ([`Engine::begin_save`]), and says so by [`Engine::shelve`].
    pub keeps: bool,
    /// The number of a sequence that the request goes on from: its owner restores it ([`Engine::restore`]).
    pub takes: Option<u32>,
    /// Little of what is taken serves the request, so that it stays kept as well. Else its owner forgets it, by
    /// [`Engine::unshelve`].
    pub copies: bool,
    /// The request was not prepared: it has to wait until one of those that run has ended.
    pub waits: bool,
}

impl Shelf {
    /// What to do before a request with this prompt, and with these scales of adapters, starts; one that goes on from
    /// nothing has an empty prompt. `other` is what it may go on from as well, which stays as it is.
    pub fn exchange(&self, held: &Sequence, other: Option<&Sequence>, prompt: &[u32], scales: &[f32]) -> Exchange {
        let shared = if held.scales == scales { held.common(prompt) } else { 0 };
        let at_hand = other.map_or(shared, |other| other.holds(prompt, scales).max(shared));
        let takes = self
            .kept
            .iter()
            .filter(|kept| kept.scales == scales)
            .map(|kept| (kept, kept.shares(prompt, held.rewinds_anywhere())))
            .filter(|(_, tokens)| *tokens >= at_hand + TOKENS_MIN)
            .max_by_key(|(_, tokens)| *tokens);
        let length = held.tokens().len();
        // Another answer to the same messages keeps most of a sequence; what is left is a conversation of its own.
        let is_left = takes.is_some() || 2 * shared < length;
        Exchange {
            keeps: held.goes_on && is_left && length >= TOKENS_MIN,
            takes: takes.map(|(kept, _)| kept.number),
            copies: takes.is_some_and(|(kept, tokens)| 2 * tokens < kept.tokens.len()),
            waits: false,
        }
    }
}

impl Kept {
    /// How many of its tokens a prompt goes on from.
    fn shares(&self, prompt: &[u32], rewinds_anywhere: bool) -> usize {
        let shared = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        if rewinds_anywhere || shared == self.tokens.len() { shared } else { 0 }
    }
}

impl Engine {
    /// The owner keeps what [`Engine::save`] gave of the sequence that is held. The number that it has from now on, and
    /// those of sequences that this one goes on from, which are forgotten.
    pub fn shelve(&mut self) -> (u32, Vec<u32>) {
        let (tokens, scales) = (self.sequence.tokens(), &self.sequence.scales);
        let Shelf { kept, next, .. } = &mut self.shelf;
        let needless = |kept: &mut Kept| tokens.starts_with(&kept.tokens) && kept.scales == *scales;
        let gone = kept.extract_if(.., needless).map(|kept| kept.number).collect();
        let number = *next;
        *next += 1;
        kept.push(Kept { number, tokens: tokens.to_vec(), scales: scales.clone() });
        (number, gone)
    }

    /// The owner does not keep a sequence any more.
    pub fn unshelve(&mut self, number: u32) {
        self.shelf.kept.retain(|kept| kept.number != number);
    }
}
