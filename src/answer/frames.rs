//! Answers in frames: each part has a header that says who it is for.

use super::json::Json;
use super::style::{FRAMES, Frames};
use super::{Delta, Plan, Rest, before_mark};

/// Longer headers are none.
const HEADER_BYTES_MAX: usize = 512;

/// What GPT-OSS writes before the name of a recipient, and before that of a channel.
const TO: &str = "to=";
const CHANNEL: &str = "<|channel|>";

/// What GPT-OSS writes before the names of functions.
const NAMESPACE: &str = "functions.";

/// Who a part of the answer is for.
#[derive(Clone)]
enum State {
    /// Within a header, or before one.
    Header,
    Content,
    Reasoning,
    /// A tool: its arguments have not begun.
    Call(String),
    Arguments(Json),
    /// Arguments that are not JSON: they are passed on as they are.
    Broken,
    /// Behind whole arguments.
    Behind,
}

/// Reads an answer in frames.
#[derive(Clone)]
pub struct Framed {
    frames: &'static Frames,
    state: State,
    /// Nothing has come: the header may lack its beginning.
    is_first: bool,
    ended: usize,
}

impl Framed {
    /// Begins an answer.
    pub fn new(frames: &'static Frames) -> Framed {
        Framed { frames, state: State::Header, is_first: true, ended: 0 }
    }

    /// Whether what comes next is content.
    pub fn is_content(&self) -> bool {
        matches!(self.state, State::Content)
    }

    /// Whether what comes next is of a thought; none within a header.
    pub fn is_thinking(&self) -> Option<bool> {
        match self.state {
            State::Header => None,
            State::Reasoning => Some(true),
            _ => Some(false),
        }
    }

    /// Calls that have ended.
    pub fn calls_ended(&self) -> usize {
        self.ended
    }

    /// Reads a bit: how many bytes, or `None` if more of them are needed.
    pub fn step(
        &mut self,
        text: &str,
        come: Rest,
        plan: &Plan,
        controls: &[String],
        calls: &mut usize,
        out: &mut Delta,
    ) -> Option<usize> {
        if text.is_empty() {
            return None;
        }
        match &mut self.state {
            State::Header => self.header(text, come, plan),
            State::Content | State::Reasoning => {
                let is_content = matches!(self.state, State::Content);
                let marks = self.frames.ends.iter().copied().chain(controls.iter().map(String::as_str));
                let (shown, mark) = before_mark(text, marks, come);
                let into = if is_content { &mut out.content } else { &mut out.reasoning };
                into.push_str(&text[..shown]);
                let Some(mark) = mark else { return Some(shown).filter(|shown| *shown > 0) };
                let found = &text[mark.start..];
                if !self.frames.ends.iter().any(|end| found.starts_with(end)) {
                    into.push_str(&text[shown..mark.start]);
                    return Some(mark.start + mark.length);
                }
                self.state = State::Header;
                self.is_first = false;
                Some(mark.start)
            }
            State::Call(name) => {
                let space = text.len() - text.trim_start().len();
                if space > 0 {
                    return Some(space);
                }
                if !text.starts_with('{') {
                    self.state = State::Content;
                    return Some(0);
                }
                out.begin(*calls, name, None);
                *calls += 1;
                self.state = State::Arguments(Json::new());
                Some(0)
            }
            State::Arguments(json) => {
                let mut arguments = String::new();
                let read = json.read(text, &mut arguments);
                out.argue(calls.saturating_sub(1), &arguments);
                if json.is_whole() {
                    self.ended += 1;
                    self.state = State::Behind;
                } else if read < text.len() {
                    self.state = State::Broken;
                }
                Some(read)
            }
            State::Behind => {
                let space = text.len() - text.trim_start().len();
                if space == 0 {
                    self.state = State::Content;
                }
                Some(space)
            }
            State::Broken => {
                let (shown, mark) = before_mark(text, self.frames.ends.iter().copied(), come);
                out.argue(calls.saturating_sub(1), &text[..shown]);
                if let Some(mark) = mark {
                    self.state = State::Header;
                    self.is_first = false;
                    return Some(mark.start);
                }
                Some(shown).filter(|shown| *shown > 0)
            }
        }
    }

    fn header(&mut self, text: &str, come: Rest, plan: &Plan) -> Option<usize> {
        let trimmed = text.trim_start();
        let mut marks = self.frames.ends.iter().chain(self.frames.others);
        let is_marked = marks.any(|mark| trimmed.starts_with(mark) || mark.starts_with(trimmed));
        // A prompt of GPT-OSS ends before the header, and an answer may lack it; the others' end within.
        let may_lack = self.is_first && self.frames.body == FRAMES[0].body;
        let is_header = is_marked || !may_lack || trimmed.starts_with(TO) || TO.starts_with(trimmed);
        if is_header {
            let end = text.find(self.frames.body).filter(|end| *end <= HEADER_BYTES_MAX);
            if let Some((end, state)) = end.and_then(|end| Some((end, state_of(&text[..end], plan)?))) {
                self.state = state;
                return Some(end + self.frames.body.len());
            }
            if end.is_none() && come == Rest::Comes && text.len() <= HEADER_BYTES_MAX {
                return None;
            }
            // A mark that no header follows ends the answer.
            if come != Rest::Comes && is_marked {
                return Some(text.len());
            }
        }
        self.state = State::Content;
        let mark = self.frames.ends.iter().find(|mark| text.starts_with(**mark));
        Some(mark.map_or(0, |mark| mark.len()))
    }
}

/// Who a header says that its part is for; `None` if it is no header.
fn state_of(header: &str, plan: &Plan) -> Option<State> {
    let is_of_word = |char: char| char.is_alphanumeric() || matches!(char, '_' | '.' | '-');
    let word = |text: &str| text.chars().take_while(|char| is_of_word(*char)).collect::<String>();
    let calls = |name: String| if plan.tools.is_empty() { State::Content } else { State::Call(name) };
    if let Some((_, to)) = header.split_once(TO) {
        let name = word(to);
        return Some(calls(name.strip_prefix(NAMESPACE).unwrap_or(&name).to_owned()));
    }
    if let Some((_, channel)) = header.split_once(CHANNEL) {
        return Some(if word(channel) == "analysis" { State::Reasoning } else { State::Content });
    }
    match header.rsplit('>').next().unwrap_or_default().trim() {
        // GPT-OSS's answer without a channel.
        "all" | "assistant" => Some(State::Content),
        name => (!name.is_empty() && name.chars().all(is_of_word)).then(|| calls(name.to_owned())),
    }
}
