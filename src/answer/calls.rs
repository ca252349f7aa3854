//! The calls of one section. What stands there is told from its first characters: JSON objects, alone or in a list; a
//! name and JSON behind it; a name and tagged arguments; or calls as in a programming language.

use super::json::Json;
use super::object::{self, CallObject};
use super::style::{ID_MARK, ITEM_CLOSES, ITEM_OPENS, SEPARATORS, Section};
use super::tagged::{self, Literals, Object, TAGS, Tagged};
use super::tools::Tools;
use super::{Delta, Rest, before_mark};

/// Longer names are none.
const NAME_BYTES_MAX: usize = 256;

/// What stands before the name of a call whose arguments are tagged, or JSON.
const HEADS: [&str; 3] = ["<function=", "<invoke name=\"", "<\u{ff5c}DSML\u{ff5c}invoke name=\""];

/// What stands before the name of a call of Gemma's.
const GEMMA_HEAD: &str = "call:";

/// What DeepSeek 3 writes in the place of a name; the name comes behind the next mark.
const KIND: &str = "function";

const FENCE: &str = "```";

/// What a step came to.
pub enum Step {
    /// More text is needed.
    More,
    /// So many bytes were read.
    Read(usize),
    /// So many bytes were read, and the section has ended.
    Ended(usize),
    /// What is there is no call.
    Failed,
}

/// Reads the calls of a section.
#[derive(Clone)]
pub struct Calls {
    section: Option<&'static Section>,
    /// Calls of the answer that have begun.
    pub begun: usize,
    /// Calls of this section that have ended.
    pub ended: usize,
    /// Within square brackets.
    is_list: bool,
    /// Within a fence of code.
    is_fenced: bool,
    /// A mark of a call has come, so that a name may follow.
    is_marked: bool,
    state: State,
}

#[derive(Clone)]
enum State {
    Between,
    /// Behind the opening of a fence, where the language may stand.
    Language,
    /// Before a name; true for one of Gemma's.
    Name(bool),
    /// Before an id.
    Id(Named),
    Named(Named),
    Object(CallObject),
    Json(Json),
    /// Arguments that are not JSON: they are passed on as they are.
    Broken,
    Tagged(Tagged),
    Literals(Literals),
}

/// A name whose arguments have not begun.
#[derive(Clone, Default)]
struct Named {
    name: String,
    id: Option<String>,
    is_gemma: bool,
}

/// Whether a text begins with a mark, or may yet.
#[derive(PartialEq, Eq)]
enum Begins {
    Yes,
    Maybe,
    No,
}

fn begins(text: &str, mark: &str, come: Rest) -> Begins {
    if text.starts_with(mark) {
        Begins::Yes
    } else if come == Rest::Comes && mark.starts_with(text) {
        Begins::Maybe
    } else {
        Begins::No
    }
}

impl Calls {
    /// Within a section, behind its opening mark, after so many calls of the answer.
    pub fn of(section: &'static Section, begun: usize) -> Calls {
        Calls { section: Some(section), ..Calls::bare(begun) }
    }

    /// Within calls that nothing marks.
    pub fn bare(begun: usize) -> Calls {
        let state = State::Between;
        Calls { section: None, begun, ended: 0, is_list: false, is_fenced: false, is_marked: false, state }
    }

    /// The section, where a mark opened one.
    pub fn section(&self) -> Option<&'static Section> {
        self.section
    }

    /// Whether a call has begun and not ended.
    pub fn is_open(&self) -> bool {
        match &self.state {
            State::Json(_) | State::Broken | State::Tagged(_) | State::Literals(_) => true,
            State::Object(object) => object.is_begun(),
            State::Between | State::Language | State::Name(_) | State::Id(_) | State::Named(_) => false,
        }
    }

    /// Reads a bit.
    pub fn step(&mut self, text: &str, come: Rest, tools: &Tools, out: &mut Delta) -> Step {
        let index = self.begun.saturating_sub(1);
        match &mut self.state {
            State::Between if text.is_empty() => self.wait(come),
            State::Between => self.between(text, come),
            State::Language => {
                let word = text.find(|char: char| !char.is_ascii_alphabetic() && char != '_');
                if word.is_none() && come == Rest::Comes && text.len() <= NAME_BYTES_MAX {
                    return Step::More;
                }
                let word = word.unwrap_or(text.len());
                self.state = State::Between;
                // The name of a call may stand in its place.
                Step::Read(if text[word..].starts_with(['(', '.']) { 0 } else { word })
            }
            State::Name(is_gemma) => {
                let is_gemma = *is_gemma;
                self.name(text, is_gemma, come)
            }
            State::Id(named) => {
                let run = run_of(text);
                if run == text.len() && come == Rest::Comes && run <= NAME_BYTES_MAX {
                    return Step::More;
                }
                named.id = Some(text[..run].to_owned());
                self.state = State::Named(std::mem::take(named));
                Step::Read(run)
            }
            State::Named(named) => {
                let named = named.clone();
                self.named(named, text, come, tools, out)
            }
            State::Object(_) | State::Json(_) | State::Broken if text.is_empty() => self.wait(come),
            State::Object(object) => match object.step(text, self.section.is_none(), &mut self.begun, tools, out) {
                object::Step::Read => Step::Read(text.len()),
                object::Step::Ended(read) => self.ends(read),
                object::Step::Broken(read) => {
                    self.state = State::Broken;
                    Step::Read(read)
                }
                object::Step::Failed => Step::Failed,
            },
            State::Json(json) => {
                let mut arguments = String::new();
                let read = json.read(text, &mut arguments);
                out.argue(index, &arguments);
                if json.is_whole() {
                    return self.ends(read);
                }
                if read < text.len() {
                    self.state = State::Broken;
                }
                Step::Read(read)
            }
            State::Broken => {
                let section = self.section.into_iter();
                let marks =
                    section.flat_map(|section| [Some(section.open), section.close]).flatten().chain(ITEM_CLOSES);
                let (shown, mark) = before_mark(text, marks, come);
                out.argue(index, &text[..shown]);
                match mark {
                    Some(_) => self.ends(shown),
                    None if shown == 0 => self.wait(come),
                    None => Step::Read(shown),
                }
            }
            State::Tagged(tagged) => {
                let step = tagged.step(text, come, tools, out);
                self.arguments(&step, come)
            }
            State::Literals(literals) => {
                let step = literals.step(text, come, tools, out);
                self.arguments(&step, come)
            }
        }
    }

    /// What is to be done without more text.
    fn wait(&self, come: Rest) -> Step {
        match come {
            Rest::Comes => Step::More,
            _ if self.ended > 0 || self.is_open() => Step::Ended(0),
            _ => Step::Failed,
        }
    }

    /// The call that is read has ended.
    fn ends(&mut self, read: usize) -> Step {
        self.ended += 1;
        self.is_marked = false;
        self.state = State::Between;
        Step::Read(read)
    }

    fn arguments(&mut self, step: &tagged::Step, come: Rest) -> Step {
        match *step {
            tagged::Step::More => Step::More,
            tagged::Step::Read(read) => Step::Read(read),
            tagged::Step::Ended(read) if come == Rest::Comes => self.ends(read),
            tagged::Step::Ended(read) => {
                self.ends(read);
                Step::Read(read)
            }
        }
    }

    /// Between calls.
    fn between(&mut self, text: &str, come: Rest) -> Step {
        let space = text.len() - text.trim_start().len();
        if space > 0 {
            return Step::Read(space);
        }
        let had = self.ended > 0;
        if self.is_fenced {
            match begins(text, FENCE, come) {
                Begins::Yes => {
                    self.is_fenced = false;
                    return Step::Read(FENCE.len());
                }
                Begins::Maybe => return Step::More,
                Begins::No => {}
            }
        }
        let (open, close) = self.section.map_or((None, None), |section| (Some(section.open), section.close));
        let mut may_come = false;
        if let Some(close) = close {
            match begins(text, close, come) {
                Begins::Yes if had => return Step::Ended(close.len()),
                Begins::Yes => return Step::Failed,
                begins => may_come |= begins == Begins::Maybe,
            }
        }
        for mark in ITEM_OPENS.into_iter().chain(ITEM_CLOSES) {
            match begins(text, mark, come) {
                Begins::Yes => {
                    self.is_marked = ITEM_OPENS.contains(&mark);
                    return Step::Read(mark.len());
                }
                begins => may_come |= begins == Begins::Maybe,
            }
        }
        if had && let Some(open) = open {
            match begins(text, open, come) {
                // The section opens anew: that is for whoever looks for sections.
                Begins::Yes => return Step::Ended(0),
                begins => may_come |= begins == Begins::Maybe,
            }
        }
        for head in HEADS {
            match begins(text, head, come) {
                Begins::Yes => {
                    self.state = State::Name(false);
                    return Step::Read(head.len());
                }
                begins => may_come |= begins == Begins::Maybe,
            }
        }
        for (mark, state) in [(GEMMA_HEAD, State::Name(true)), (FENCE, State::Language)] {
            match begins(text, mark, come) {
                Begins::Yes => {
                    self.is_fenced |= mark == FENCE;
                    self.state = state;
                    return Step::Read(mark.len());
                }
                begins => may_come |= begins == Begins::Maybe,
            }
        }
        if may_come {
            return Step::More;
        }
        let may_name = self.section.is_some() && (!had || self.is_list || self.is_fenced || self.is_marked);
        match text.chars().next() {
            Some('{') => {
                self.state = State::Object(CallObject::new());
                Step::Read(0)
            }
            Some('[') if !had && !self.is_list => {
                self.is_list = true;
                Step::Read(1)
            }
            Some(']') if self.is_list => {
                self.is_list = false;
                Step::Read(1)
            }
            Some(',' | ';') if had => Step::Read(1),
            Some(char) if may_name && (char.is_alphabetic() || char == '_') => {
                self.state = State::Name(false);
                Step::Read(0)
            }
            _ if had => Step::Ended(0),
            _ => Step::Failed,
        }
    }

    fn name(&mut self, text: &str, is_gemma: bool, come: Rest) -> Step {
        let run = run_of(text);
        if run > NAME_BYTES_MAX {
            return Step::Failed;
        }
        if run == text.len() && come == Rest::Comes {
            return Step::More;
        }
        let word = &text[..run];
        if word.is_empty() {
            return Step::Failed;
        }
        // Kimi gives the place of the call as a part of its id.
        let numbered = word
            .rsplit_once(':')
            .filter(|(_, place)| !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit()));
        let id = numbered.map(|_| word.to_owned());
        let name = numbered.map_or(word, |(name, _)| name);
        let name = name.strip_prefix("functions.").unwrap_or(name).to_owned();
        self.state = State::Named(Named { name, id, is_gemma });
        Step::Read(run)
    }

    /// Behind a name: what its arguments are.
    fn named(&mut self, named: Named, text: &str, come: Rest, tools: &Tools, out: &mut Delta) -> Step {
        let space = text.len() - text.trim_start().len();
        if space > 0 {
            return Step::Read(space);
        }
        if text.is_empty() {
            return if come == Rest::Comes { Step::More } else { Step::Failed };
        }
        let mut may_come = false;
        for mark in SEPARATORS.into_iter().chain([ID_MARK]) {
            match begins(text, mark, come) {
                Begins::Yes => {
                    self.is_fenced |= mark.starts_with(FENCE);
                    if mark == ID_MARK {
                        self.state = State::Id(named);
                    } else if mark == SEPARATORS[0] && named.name == KIND {
                        self.state = State::Name(false);
                    }
                    return Step::Read(mark.len());
                }
                begins => may_come |= begins == Begins::Maybe,
            }
        }
        for tags in &TAGS {
            for mark in [tags.key[0], tags.end] {
                match begins(text, mark, come) {
                    // Where nothing marks the name, it must be one of a tool to be called without arguments.
                    Begins::Yes if mark == tags.key[0] || tools.has(&named.name) => {
                        let object = self.begin(&named, out);
                        self.state = State::Tagged(Tagged::new(tags, object));
                        return Step::Read(0);
                    }
                    begins => may_come |= begins == Begins::Maybe,
                }
            }
        }
        if may_come {
            return Step::More;
        }
        match text.chars().next() {
            Some('{') if named.is_gemma => {
                let object = self.begin(&named, out);
                self.state = State::Literals(Literals::gemma(object));
                Step::Read(1)
            }
            Some('{') => {
                self.begin(&named, out);
                self.state = State::Json(Json::new());
                Step::Read(0)
            }
            Some('(') => {
                // Llama calls the tools that are built in by a method.
                let name = named.name.strip_suffix(".call").unwrap_or(&named.name).to_owned();
                let object = self.begin(&Named { name, ..named }, out);
                self.state = State::Literals(Literals::python(object));
                Step::Read(1)
            }
            _ => Step::Failed,
        }
    }

    fn begin(&mut self, named: &Named, out: &mut Delta) -> Object {
        let index = self.begun;
        self.begun += 1;
        out.begin(index, &named.name, named.id.clone());
        Object::new(index, &named.name)
    }
}

/// How many bytes of a name or an id the text begins with.
fn run_of(text: &str) -> usize {
    let is_of_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '.' | '-' | '/' | ':');
    text.find(|char| !is_of_name(char)).unwrap_or(text.len())
}
