//! The form in which a model writes calls of tools, to the letter: what its chat template writes around the names and
//! the arguments of calls.

use serde_json::{Value as Json, json};

use super::style::{ID_MARK, ITEM_CLOSES, Probe, Render, Section};
use super::tagged::{TAGS, Tags};

/// What the probe's calls are made of. No template contains the first two.
pub(super) const NAME: &str = "qzj5tool9";
/// An id as Mistral's templates ask for it.
pub const PROBE_ID: &str = "abcdef123";
const KEY: &str = "place";
const VALUE: &str = "Paris";

/// More than this stands nowhere between two parts of a call.
const GAP_MAX: usize = 160;

/// A form of calls.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// The section that calls stand in; none where nothing marks them.
    pub section: Option<&'static Section>,
    /// From the section's mark to the name of the first call.
    pub open: String,
    /// What follows a name.
    pub arguments: Arguments,
    /// From the end of one call's arguments to the name of the next, where the template writes several calls.
    pub again: Option<String>,
    /// From the end of the last call's arguments to that of the section.
    pub close: String,
}

/// How arguments are written.
#[derive(Debug, PartialEq, Eq)]
pub enum Arguments {
    /// As a JSON object, behind this.
    Json(String),
    /// In tags.
    Tagged(Tagging),
}

/// What a template writes around tagged arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Tagging {
    /// The tags.
    pub tags: &'static Tags,
    /// Between the call's name and the first tag.
    pub lead: String,
    /// Between the name of a parameter and its value.
    pub middle: String,
    /// Between a value and the tag that ends it.
    pub before: String,
    /// Behind that tag.
    pub after: String,
}

impl Form {
    /// JSON that nothing marks, or in a section: for models whose template shows no calls.
    pub(super) fn plain(section: Option<&'static Section>) -> Form {
        let around = section.and_then(|section| Some((section.open, section.close?)));
        let (open, close) =
            around.map_or_else(Default::default, |(open, close)| (format!("{open}\n"), format!("\n{close}")));
        Form {
            section,
            open: format!("{open}{{\"name\": \""),
            arguments: Arguments::Json("\", \"arguments\": ".into()),
            again: None,
            close: format!("}}{close}"),
        }
    }

    /// What the template writes where it is given calls; `None` where it writes none, or in no form that is known.
    /// `turn` is what stands behind the user's words.
    pub(super) fn of(
        render: &Render,
        turn: &dyn Fn(&str) -> String,
        tools: &Json,
        asked: &Json,
        sections: &[&'static Section],
    ) -> Option<Form> {
        let render = |count: usize, arguments: &Json, content: &Json| {
            let function = json!({"name": NAME, "arguments": arguments});
            let call = json!({"id": PROBE_ID, "type": "function", "function": function});
            let said = json!({"role": "assistant", "content": content, "tool_calls": vec![call; count]});
            let result = json!({"role": "tool", "tool_call_id": PROBE_ID, "name": NAME, "content": "done"});
            let results = vec![result; count];
            let ways = [json!([asked, said]), Json::from_iter([asked.clone(), said].into_iter().chain(results))];
            let prompts = ways
                .iter()
                .filter_map(|messages| render(&Probe { messages, tools: Some(tools), opens: false, thinks: None }));
            prompts.map(|prompt| turn(&prompt)).find(|turn| turn.contains(NAME))
        };
        let object = json!({KEY: VALUE});
        let written = Json::from(object.to_string());
        let variants = [&object, &written]
            .into_iter()
            .flat_map(|arguments| [json!(""), Json::Null].map(|content| (arguments, content)));
        variants.into_iter().find_map(|(arguments, content)| {
            let one = render(1, arguments, &content)?;
            let form = Form::read(&one, sections)?;
            let again = render(2, arguments, &content).and_then(|two| form.between(&two));
            Some(Form { again, ..form })
        })
    }

    /// Reads a turn with one call.
    fn read(turn: &str, sections: &[&'static Section]) -> Option<Form> {
        let (before, behind) = turn.split_once(NAME)?;
        let opened = sections.iter().filter_map(|section| Some((before.rfind(section.open)?, *section)));
        let (start, section) = match opened.min_by_key(|(at, _)| *at) {
            Some((at, section)) => (at, Some(section)),
            None => {
                let at = before.rfind('{')?;
                // A part of something larger is not understood.
                let is_within =
                    before[..at].trim_end().ends_with(['{', '[', ',']) || before[..at].trim_end().ends_with("\":");
                (Some(at).filter(|_| !is_within)?, None)
            }
        };
        let (arguments, rest) = Arguments::read(behind)?;
        // Granite 3 does not close what Phi-4 does.
        let close = section.and_then(|section| section.close);
        let closed = close.and_then(|close| Some(rest.find(close).filter(|at| *at <= GAP_MAX)? + close.len()));
        let end = closed.unwrap_or_else(|| closers(rest));
        Some(Form { section, open: before[start..].to_owned(), arguments, again: None, close: rest[..end].to_owned() })
    }

    /// What stands between two calls of a turn, unless that is another turn.
    fn between(&self, turn: &str) -> Option<String> {
        let (_, behind) = turn.split_once(NAME)?;
        let (arguments, rest) = Arguments::read(behind)?;
        let (between, second) = rest.split_once(NAME)?;
        let pairs = between.bytes().rev().zip(self.open.bytes().rev());
        let own = between.len() - pairs.take_while(|(one, other)| one == other).count();
        let is_near = own <= self.close.len() + 8 && arguments == self.arguments && Arguments::read(second).is_some();
        is_near.then(|| between.to_owned())
    }
}

impl Arguments {
    /// Reads the probe's arguments behind the name; and what follows them.
    fn read(behind: &str) -> Option<(Arguments, &str)> {
        if let Some(at) = behind.find('{').filter(|at| *at <= GAP_MAX) {
            let mut values = serde_json::Deserializer::from_str(&behind[at..]).into_iter::<Json>();
            if values.next().and_then(Result::ok) == Some(json!({KEY: VALUE})) {
                return Some((Arguments::Json(behind[..at].to_owned()), &behind[at + values.byte_offset()..]));
            }
        }
        TAGS.iter().find_map(|tags| {
            let [open, _] = tags.key;
            let (lead, rest) = behind.split_once(&format!("{open}{KEY}"))?;
            let (middle, rest) = rest.split_once(VALUE)?;
            let (before, rest) = rest.split_once(tags.value[1])?;
            let end = rest.find(tags.end)?;
            let (after, rest) = rest.split_at(end);
            let [lead, middle, before, after] = [lead, middle, before, after].map(str::to_owned);
            let is_near = [&lead, &middle, &before, &after].iter().all(|text| text.len() <= GAP_MAX);
            is_near.then_some((Arguments::Tagged(Tagging { tags, lead, middle, before, after }), rest))
        })
    }
}

/// How much of what follows the arguments closes what was opened before the name.
fn closers(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let mark = ITEM_CLOSES.into_iter().chain(["}", "]", "```"]).find(|mark| rest.starts_with(mark));
        let id = rest.find(PROBE_ID).filter(|_| rest.starts_with(',') || rest.starts_with(ID_MARK));
        at += match (mark, id) {
            (Some(mark), _) => mark.len(),
            (None, Some(id)) if id <= GAP_MAX => id + PROBE_ID.len() + 1,
            (None, _) if rest.starts_with(char::is_whitespace) => rest.len() - rest.trim_start().len(),
            (None, _) => break,
        };
    }
    text[..at].trim_end().len()
}
