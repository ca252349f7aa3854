//! From what a model writes to what it means: the answer, the reasoning before it, and calls of tools.
//!
//! Models mark thoughts and calls in the text that they write, each family in its own way. Which way a model has is
//! its [`Style`], found out from its chat template. A [`Reader`] takes an answer in pieces of any size and tells the
//! same of it however it is cut. Nothing is lost: what is read, joined with the marks and the white space beside them,
//! is what the model wrote. What begins like a call but turns out to be none, before its arguments begin, is content.
//! From there on it is a call, whose arguments are what the model wrote, valid or not.

mod calls;
mod form;
mod frames;
mod json;
mod literal;
mod object;
mod style;
mod tagged;
mod tools;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use self::calls::{Calls, Step};
pub use self::form::{Arguments, Form, PROBE_ID, Tagging};
use self::frames::Framed;
pub use self::style::{Frames, Probe, Section, Style, Thought};
pub use self::tagged::Tags;
pub use self::tools::{Tools, takes_text};

/// White space before a mark belongs to the mark, so it waits for what comes; more than this does not.
const SPACE_HELD_MAX: usize = 64;

/// What may stand before a call that nothing marks, at the beginning of an answer or of a line.
const BARE_STARTS: [&str; 5] = ["{\"", "{ \"", "[{", "```json", "{\n"];

/// What a piece of an answer came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// More of the answer.
    pub content: String,
    /// More of the reasoning.
    pub reasoning: String,
    /// New calls, and more of the arguments of calls.
    pub calls: Vec<CallDelta>,
}

/// A call that begins, or more of its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CallDelta {
    /// Which call of the answer.
    pub index: usize,
    /// The id that the model gave it, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub id: Option<String>,
    /// Where the call begins: the tool's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub name: Option<String>,
    /// More of the arguments, which are JSON.
    pub arguments: String,
}

impl Delta {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.reasoning.is_empty() && self.calls.is_empty()
    }

    fn begin(&mut self, index: usize, name: &str, id: Option<String>) {
        self.calls.push(CallDelta { index, id, name: Some(name.to_owned()), arguments: String::new() });
    }

    fn argue(&mut self, index: usize, text: &str) {
        match self.calls.last_mut() {
            Some(last) if last.index == index => last.arguments.push_str(text),
            _ => self.calls.push(CallDelta { index, arguments: text.to_owned(), ..CallDelta::default() }),
        }
    }
}

/// What comes behind the text at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// More of it.
    Comes,
    /// Nothing: the model has ended.
    Ended,
    /// Nothing: the answer was cut off.
    Cut,
}

/// How an answer is read.
#[derive(Debug)]
pub struct Plan {
    /// The marks to look for.
    pub style: Arc<Style>,
    /// The tools that may be called; without any, nothing is read as a call.
    pub tools: Tools,
    /// The prompt has opened a thought.
    pub is_thought_open: bool,
    /// At most one call is wanted.
    pub is_single: bool,
}

/// Reads one answer.
#[derive(Clone)]
pub struct Reader {
    plan: Arc<Plan>,
    /// Text that was not read yet.
    rest: String,
    mode: Mode,
    /// Control tokens that have come, by name.
    controls: Vec<String>,
    /// What was read since something like a call began.
    raw: String,
    /// Calls that have begun.
    calls: usize,
    /// How often something has opened calls, and what was read since the last time.
    opened: usize,
    behind: String,
    is_done: bool,
}

#[derive(Clone)]
enum Mode {
    /// Nothing has come but white space.
    Start {
        /// There may be a thought.
        may_think: bool,
        /// The white space belongs to a mark before it.
        is_behind: bool,
    },
    Reasoning {
        /// Only white space has come.
        is_fresh: bool,
    },
    Content,
    Calls(Box<Calls>),
    Framed(Framed),
}

impl Reader {
    /// Begins an answer.
    pub fn new(plan: Arc<Plan>) -> Reader {
        let mode = match (plan.style.frames, plan.is_thought_open) {
            (Some(frames), _) => Mode::Framed(Framed::new(frames)),
            (None, true) => Mode::Reasoning { is_fresh: true },
            (None, false) => Mode::Start { may_think: plan.style.thought.is_some(), is_behind: false },
        };
        let (rest, raw, behind) = Default::default();
        Reader { plan, rest, mode, controls: Vec::new(), raw, calls: 0, opened: 0, behind, is_done: false }
    }

    /// Whether the model has called something.
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// How many calls have begun.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// How often something has opened calls: a mark, or what may be one that nothing marks.
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// Within calls: their section, if a mark opened it, and all that came behind its mark.
    pub fn section(&self) -> Option<(Option<&'static Section>, String)> {
        match &self.mode {
            Mode::Calls(calls) => Some((calls.section(), format!("{}{}", self.behind, self.rest))),
            _ => None,
        }
    }

    /// Whether what comes next is of the answer itself, as far as what was read tells: no thought, no header. None before
    /// the first text of an answer that may still begin with a thought.
    pub fn is_answering(&self) -> Option<bool> {
        match &self.mode {
            Mode::Start { may_think: true, .. } => None,
            Mode::Start { .. } | Mode::Content => Some(true),
            Mode::Framed(framed) => Some(framed.is_content()),
            Mode::Reasoning { .. } | Mode::Calls(_) => Some(false),
        }
    }

    /// Whether what comes next is of a thought, as far as what was read tells. None where a thought may be what begins: before
    /// the first text of an answer that may have one, and within a header.
    pub fn is_thinking(&self) -> Option<bool> {
        match &self.mode {
            Mode::Start { may_think: true, .. } => None,
            Mode::Framed(framed) => framed.is_thinking(),
            Mode::Reasoning { .. } => Some(true),
            Mode::Start { .. } | Mode::Content | Mode::Calls(_) => Some(false),
        }
    }

    /// Whether a control token of this name is to be given to [`push`](Self::push) as text. It is never shown.
    pub fn reads(&mut self, name: &str) -> bool {
        let reads = self.plan.style.knows(name);
        if reads && !self.controls.iter().any(|known| known == name) {
            self.controls.push(name.to_owned());
        }
        reads
    }

    /// Reads more of the answer, and adds what it means to `out`. True if nothing more is wanted.
    pub fn push(&mut self, text: &str, out: &mut Delta) -> bool {
        if !self.is_done {
            self.rest.push_str(text);
            self.run(Rest::Comes, out);
        }
        self.is_done
    }

    /// Ends the answer: `is_cut` where the model would have gone on.
    pub fn finish(&mut self, is_cut: bool, out: &mut Delta) {
        if !self.is_done {
            self.run(if is_cut { Rest::Cut } else { Rest::Ended }, out);
        }
    }

    fn run(&mut self, come: Rest, out: &mut Delta) {
        let text = std::mem::take(&mut self.rest);
        let mut at = 0;
        while !self.is_done {
            let was_calling = matches!(self.mode, Mode::Calls(_));
            let Some(read) = self.step(&text[at..], come, out) else { break };
            match matches!(self.mode, Mode::Calls(_)) {
                true if was_calling => self.behind.push_str(&text[at..at + read]),
                true => {
                    self.opened += 1;
                    self.behind.clear();
                }
                false => self.behind.clear(),
            }
            at += read;
        }
        self.rest = if at == 0 { text } else { text[at..].to_owned() };
    }

    /// Reads a bit: how many bytes, or `None` if more of them are needed.
    fn step(&mut self, text: &str, come: Rest, out: &mut Delta) -> Option<usize> {
        match &mut self.mode {
            Mode::Framed(framed) => {
                let read = framed.step(text, come, &self.plan, &self.controls, &mut self.calls, out);
                self.is_done = self.plan.is_single && framed.calls_ended() > 0;
                read
            }
            Mode::Start { may_think, is_behind } => {
                let (may_think, is_behind) = (*may_think, *is_behind);
                self.start(text, may_think, is_behind, come)
            }
            Mode::Reasoning { is_fresh } => {
                let is_fresh = *is_fresh;
                self.reason(text, is_fresh, come, out)
            }
            Mode::Content => self.content(text, come, out),
            Mode::Calls(calls) => {
                let (before, was_open) = (calls.begun, calls.is_open());
                let step = calls.step(text, come, &self.plan.tools, out);
                self.calls = calls.begun;
                self.is_done = self.plan.is_single && calls.ended > 0;
                let shows = was_open || calls.is_open() || calls.begun > before;
                match step {
                    Step::More => None,
                    Step::Read(read) => {
                        if shows {
                            self.raw.clear();
                        } else {
                            self.raw.push_str(&text[..read]);
                        }
                        Some(read)
                    }
                    Step::Ended(read) => {
                        self.raw.clear();
                        self.mode = Mode::Start { may_think: false, is_behind: true };
                        Some(read)
                    }
                    Step::Failed => {
                        let raw = std::mem::take(&mut self.raw);
                        out.content.push_str(&without(&raw, &self.controls));
                        self.mode = Mode::Content;
                        // Content may be empty at the end of an answer.
                        Some(0)
                    }
                }
            }
        }
    }

    /// The beginning of an answer, or of what follows a thought or calls.
    fn start(&mut self, text: &str, may_think: bool, is_behind: bool, come: Rest) -> Option<usize> {
        let trimmed = text.trim_start();
        let space = text.len() - trimmed.len();
        if is_behind && space > 0 {
            return Some(space);
        }
        if trimmed.is_empty() {
            if come == Rest::Comes && space <= SPACE_HELD_MAX {
                return None;
            }
            self.mode = Mode::Content;
            return Some(0);
        }
        let may_grow = |mark: &str| come == Rest::Comes && mark.starts_with(trimmed) && trimmed.len() < mark.len();
        if let Some(thought) = self.plan.style.thought.filter(|_| may_think) {
            if trimmed.starts_with(thought.open) {
                self.mode = Mode::Reasoning { is_fresh: true };
                return Some(space + thought.open.len());
            }
            if may_grow(thought.open) {
                return None;
            }
        }
        if self.plan.style.is_bare && !self.plan.tools.is_empty() {
            if BARE_STARTS.iter().any(|start| trimmed.starts_with(start)) {
                self.raw = text[..space].to_owned();
                self.mode = Mode::Calls(Box::new(Calls::bare(self.calls)));
                return Some(space);
            }
            if BARE_STARTS.iter().any(|start| may_grow(start)) {
                return None;
            }
        }
        self.mode = Mode::Content;
        Some(0)
    }

    fn reason(&mut self, text: &str, is_fresh: bool, come: Rest, out: &mut Delta) -> Option<usize> {
        let Some(thought) = self.plan.style.thought else {
            self.mode = Mode::Content;
            return Some(0);
        };
        if is_fresh {
            let trimmed = text.trim_start();
            let space = text.len() - trimmed.len();
            // Where the prompt has opened the thought, some models open it once more.
            if trimmed.starts_with(thought.open) {
                return Some(space + thought.open.len());
            }
            if come == Rest::Comes && space <= SPACE_HELD_MAX && thought.open.starts_with(trimmed) {
                return None;
            }
            self.mode = Mode::Reasoning { is_fresh: false };
            return Some(space);
        }
        let marks = [thought.close].into_iter().chain(self.controls.iter().map(String::as_str));
        let (shown, mark) = before_mark(text, marks, come);
        out.reasoning.push_str(&text[..shown]);
        match mark {
            Some(mark) => {
                let read = mark.start + mark.length;
                if !text[mark.start..].starts_with(thought.close) {
                    out.reasoning.push_str(&text[shown..mark.start]);
                    return Some(read);
                }
                self.mode = Mode::Start { may_think: false, is_behind: true };
                Some(read)
            }
            None => Some(shown).filter(|shown| *shown > 0),
        }
    }

    fn content(&mut self, text: &str, come: Rest, out: &mut Delta) -> Option<usize> {
        let calls = !self.plan.tools.is_empty();
        let is_bare = calls && self.plan.style.is_bare;
        let sections = || self.plan.style.sections.iter().filter(|_| calls);
        let bare = BARE_LINES.iter().filter(|_| is_bare).copied();
        let marks = sections().map(|section| section.open).chain(bare).chain(self.controls.iter().map(String::as_str));
        let (shown, mark) = before_mark(text, marks, come);
        out.content.push_str(&text[..shown]);
        let Some(mark) = mark else { return Some(shown).filter(|shown| *shown > 0) };
        let found = &text[mark.start..];
        // Of marks that begin alike the longest counts.
        let section =
            sections().filter(|section| found.starts_with(section.open)).max_by_key(|section| section.open.len());
        let (calls, opened) = match section {
            Some(section) if section.is_call => (Calls::of(section, self.calls), 0),
            Some(section) => (Calls::of(section, self.calls), section.open.len()),
            None if found.starts_with('\n') => (Calls::bare(self.calls), 1),
            // A control token that marks nothing here.
            None => {
                out.content.push_str(&text[shown..mark.start]);
                return Some(mark.start + mark.length);
            }
        };
        self.raw = text[shown..mark.start + opened].to_owned();
        self.mode = Mode::Calls(Box::new(calls));
        Some(mark.start + opened)
    }
}

/// The same at the beginning of a line.
const BARE_LINES: [&str; 5] = ["\n{\"", "\n{ \"", "\n[{", "\n```json", "\n{\n"];

/// A mark that was found.
struct Found {
    start: usize,
    length: usize,
}

/// How many bytes stand before the first of the marks, without the white space beside it; and the mark. Where none is
/// found, what may become one stays out.
fn before_mark<'a>(text: &str, marks: impl Iterator<Item = &'a str> + Clone, come: Rest) -> (usize, Option<Found>) {
    let mut end = text.len();
    let mut found = None;
    for (at, _) in text.char_indices() {
        let rest = &text[at..];
        let is_mark = marks.clone().filter(|mark| rest.starts_with(mark)).map(str::len).max();
        if let Some(length) = is_mark {
            (end, found) = (at, Some(Found { start: at, length }));
            break;
        }
        if come == Rest::Comes && marks.clone().any(|mark| mark.starts_with(rest)) {
            end = at;
            break;
        }
    }
    if found.is_none() && come != Rest::Comes {
        return (end, None);
    }
    let trimmed = text[..end].trim_end().len();
    // Too much white space is content.
    let shown = if end - trimmed > SPACE_HELD_MAX { end } else { trimmed };
    (shown, found)
}

/// `text` without the names of control tokens.
fn without(text: &str, controls: &[String]) -> String {
    controls.iter().fold(text.to_owned(), |text, control| text.replace(control.as_str(), ""))
}
