//! Stop strings, which may begin in one token and end in another.

use crate::matcher::{Matcher, State};

/// Lets text through up to the first stop string, and holds back what may be the beginning of one.
#[derive(Debug)]
pub struct StopMatcher {
    matcher: Matcher,
    state: State,
    /// The beginning of a stop string, not yet released.
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// A matcher for the stop strings of one completion.
    pub fn new<'a>(stop: impl IntoIterator<Item = &'a str>) -> StopMatcher {
        StopMatcher {
            matcher: Matcher::new(stop.into_iter().map(str::bytes)),
            state: State::default(),
            held: String::new(),
            stopped: false,
        }
    }

    /// Takes text and appends to `out` what can be released: all before the first stop string that
    /// is completed, or all but what may become one. How much `out` grows is how much is released.
    /// True if a stop string was found; from then on nothing is released.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        let before = self.held.len();
        self.held.push_str(text);
        for at in before..self.held.len() {
            self.state = self.matcher.step(self.state, self.held.as_bytes()[at]);
            if let Some(found) = self.matcher.found(self.state) {
                // A match lies within what is held: its beginning was pending until now.
                out.push_str(&self.held[..at + 1 - found]);
                self.held.clear();
                self.stopped = true;
                return true;
            }
        }
        // Stop strings begin with a whole character, so this is a character boundary.
        let release = self.held.len() - self.matcher.pending(self.state);
        out.push_str(&self.held[..release]);
        self.held.drain(..release);
        false
    }

    /// Bytes that are held back now.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Appends to `out` what is held back, when generation has ended otherwise.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        self.state = State::default();
    }
}
