//! Inputs with a result each: texts to be embedded, documents to be scored. One pass takes as many of them as have room, one
//! behind the other and each attending to itself only, so that weights are read once for many short texts and no row
//! is padding.

use super::Engine;
use super::event::{Event, Usage};
use super::forward::Output;
use super::generate::waiting;
use super::pooling::{Pooling, Ranking, normalised};
use super::sequence::Tally;
use crate::error::Result;
use crate::exec::Wanted;
use std::ops::Range;

/// Tokens of a pass of several texts, at most. They are no more than the context has, either: that many have room in any
/// plan of memory.
const TOGETHER_MAX: usize = 2048;

/// Of the tokens that a text has in common with the one before it, the part of all from which on they are not computed again:
/// it is a pass of its own that goes on from them.
const SHARED_PART: usize = 2;

/// What becomes of each input.
#[derive(Clone, Copy)]
pub enum Aim {
    /// A vector of length 1.
    Embedding(Pooling),
    /// A number.
    Score(Ranking),
}

/// The inputs of a request.
pub struct Inputs {
    aim: Aim,
    texts: Vec<Vec<u32>>,
    /// Whether a text may go on from what was computed of the one before.
    goes_on: bool,
    /// Of which the pass under way is, …
    pass: Range<usize>,
    /// … and where each of them ends among its rows.
    ends: Vec<usize>,
    /// By text: the sum of hidden states so far, of those that count, or the score.
    results: Vec<Vec<f32>>,
}

impl Inputs {
    /// Nothing of them is computed. `looks_ahead`: no token's state is of use to another text.
    pub fn new(aim: Aim, texts: Vec<Vec<u32>>, looks_ahead: bool) -> Inputs {
        let results = vec![Vec::new(); texts.len()];
        let mut inputs = Inputs { aim, texts, goes_on: false, pass: 0..0, ends: Vec::new(), results };
        inputs.goes_on = inputs.output() == Output::Last && !looks_ahead;
        inputs
    }

    /// The text that is computed first, as far as it may go on from what is there.
    pub fn first(&self) -> &[u32] {
        self.texts.first().filter(|_| self.goes_on).map_or(&[], Vec::as_slice)
    }

    /// Tokens of all.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    fn output(&self) -> Output {
        match self.aim {
            Aim::Embedding(pooling) => pooling.output(),
            Aim::Score(ranking) => ranking.output(),
        }
    }

    fn wanted(&self) -> Wanted {
        match self.aim {
            Aim::Embedding(_) => Wanted::Hidden,
            Aim::Score(_) => Wanted::Logits,
        }
    }

    /// Turns to the texts that come next, as many as have room for `most` tokens together: at least one.
    fn turn(&mut self, most: usize) {
        let first = self.pass.end;
        let (mut end, mut tokens) = (first + 1, self.texts[first].len());
        self.ends.clear();
        self.ends.push(tokens);
        while end < self.texts.len() && !self.follows(end) && !(end == first + 1 && self.follows(first)) {
            tokens += self.texts[end].len();
            if tokens > most || self.follows(end + 1) {
                break;
            }
            self.ends.push(tokens);
            end += 1;
        }
        self.pass = first..end;
    }

    /// Whether this text goes on from the one before it.
    fn follows(&self, text: usize) -> bool {
        let pair = text.checked_sub(1).and_then(|before| self.texts.get(before)).zip(self.texts.get(text));
        pair.is_some_and(|(before, text)| {
            let shared = before.iter().zip(text).take_while(|(a, b)| a == b).count();
            self.goes_on && shared * SHARED_PART >= text.len()
        })
    }

    /// Takes what the head made of a row of the pass.
    fn take(&mut self, row: usize, values: &[f32]) {
        let number = match &self.ends[..] {
            [_] => 0,
            ends => ends.partition_point(|end| *end <= row),
        };
        let result = &mut self.results[self.pass.start + number];
        match self.aim {
            Aim::Embedding(_) => {
                result.resize(values.len(), 0.0);
                result.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            Aim::Score(ranking) => *result = vec![ranking.score(values)],
        }
    }

    /// The event that ends the request.
    fn done(&mut self, usage: &Usage) -> Event {
        let results = std::mem::take(&mut self.results);
        let (embeddings, scores) = match self.aim {
            Aim::Embedding(_) => (results.iter().map(|sum| normalised(sum)).collect(), Vec::new()),
            Aim::Score(_) => (Vec::new(), results.concat()),
        };
        Event::Done { usage: *usage, draft: Tally::default(), embeddings, scores }
    }
}

impl Engine {
    /// Begins the pass of the inputs that come next. `is_alike`: the sequence was computed with the same scales of adapters.
    /// How many tokens it goes on from.
    pub(super) fn begin_inputs(&mut self, inputs: &mut Inputs, is_alike: bool) -> Result<usize> {
        let has_room = self.compute.backend.takes_texts();
        inputs.turn(if has_room { TOGETHER_MAX.min(self.opened.config.context) } else { 0 });
        let (output, wanted) = (inputs.output(), inputs.wanted());
        match &inputs.texts[inputs.pass.clone()] {
            [text] => {
                let is_of_use = inputs.goes_on && is_alike;
                let position = if is_of_use { self.sequence.common(text).min(text.len() - 1) } else { 0 };
                self.start_forward(text, &[], position, output, wanted)
            }
            texts => self.start_texts(texts.concat(), &inputs.ends, output, wanted),
        }
    }

    /// Goes on with the inputs of the current lane's request.
    pub(super) fn read_inputs(&mut self, inputs: &mut Inputs, job: usize) -> Result<Event> {
        let progress = self.advance(&mut |row, values| inputs.take(row, values))?;
        if let Some(event) = waiting(progress) {
            return Ok(event);
        }
        if inputs.pass.len() > 1 {
            // Texts behind one another are no beginning of any.
            self.go_back(0);
        }
        if inputs.pass.end < inputs.texts.len() {
            let cached = self.begin_inputs(inputs, true)?;
            self.running_job(job)?.usage.prompt_tokens_details.cached_tokens += cached;
            return Ok(Event::Work);
        }
        let usage = &mut self.running_job(job)?.usage;
        usage.total_tokens = usage.prompt_tokens;
        Ok(inputs.done(usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first text of each pass and that after its last, with room for `most` tokens.
    fn passes(texts: Vec<Vec<u32>>, goes_on: bool, most: usize) -> Vec<[usize; 2]> {
        let mut inputs = Inputs::new(Aim::Embedding(Pooling::Last), texts, !goes_on);
        let mut passes = Vec::new();
        while inputs.pass.end < inputs.texts.len() {
            inputs.turn(most);
            passes.push([inputs.pass.start, inputs.pass.end]);
        }
        passes
    }

    #[test]
    fn texts_share_a_pass_as_far_as_there_is_room() {
        let texts = |lengths: &[usize]| {
            lengths.iter().enumerate().map(|(number, length)| vec![number as u32; *length]).collect::<Vec<_>>()
        };
        assert_eq!(passes(texts(&[3, 3, 4, 1, 9, 20, 2, 2]), false, 10), [[0, 3], [3, 5], [5, 6], [6, 8]]);
        assert_eq!(passes(texts(&[3, 3, 4]), false, 0), [[0, 1], [1, 2], [2, 3]]);
        assert_eq!(passes(texts(&[3, 3, 4]), true, 10), [[0, 3]]);
    }

    #[test]
    fn a_text_that_goes_on_from_another_stands_alone() {
        let text = |shared: usize, own: u32| [vec![7; shared], vec![own; 4]].concat();
        let texts = || vec![text(0, 1), text(0, 2), text(6, 3), text(6, 4), text(6, 5), text(0, 6), text(1, 7)];
        assert_eq!(passes(texts(), true, 100), [[0, 2], [2, 3], [3, 4], [4, 5], [5, 7]]);
        assert_eq!(passes(texts(), false, 100), [[0, 7]]);
    }
}
