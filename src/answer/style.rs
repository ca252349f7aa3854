//! In which style a model thinks and calls tools: the marks around both. It is found out by rendering small
//! conversations through the chat template, which writes down what the model was trained to write.

use super::form::{Form, NAME as NAME_MARK};
use super::tagged::TAGS;
use serde_json::{Value as Json, json};

/// Texts that no template contains.
const USER_MARK: &str = "qzj5user9";
const REASON_MARK: &str = "qzj5why9";
const ANSWER_MARK: &str = "qzj5said9";

/// What opens a section of calls, and what closes it where something does.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// The mark before the first call.
    pub open: &'static str,
    /// The mark behind the last. Sections without one end where no further call begins.
    pub close: Option<&'static str>,
    /// The opening mark is the beginning of a call, too.
    pub is_call: bool,
}

const fn section(open: &'static str, close: Option<&'static str>) -> Section {
    Section { open, close, is_call: false }
}

/// Every section in use. What stands within is told from its first characters.
pub static SECTIONS: [Section; 17] = [
    // Hermes, Qwen, Granite 4, GLM and many others.
    section("<tool_call>", Some("</tool_call>")),
    // Jamba.
    section("<tool_calls>", Some("</tool_calls>")),
    // Granite 3 closes nothing, Phi-4 does.
    section("<|tool_call|>", Some("<|/tool_call|>")),
    // Gemma 4, and the smaller Gemma for functions.
    section("<|tool_call>", Some("<tool_call|>")),
    section("<start_function_call>", Some("<end_function_call>")),
    // Mistral.
    section("[TOOL_CALLS]", None),
    // DeepSeek.
    section("<\u{ff5c}tool\u{2581}calls\u{2581}begin\u{ff5c}>", Some("<\u{ff5c}tool\u{2581}calls\u{2581}end\u{ff5c}>")),
    section("<\u{ff5c}DSML\u{ff5c}function_calls>", Some("</\u{ff5c}DSML\u{ff5c}function_calls>")),
    // Kimi.
    section("<|tool_calls_section_begin|>", Some("<|tool_calls_section_end|>")),
    // Command R 7B and Command A; Command R.
    section("<|START_ACTION|>", Some("<|END_ACTION|>")),
    section("Action: ```json", Some("```")),
    // LFM2, MiniCPM.
    section("<|tool_call_start|>", Some("<|tool_call_end|>")),
    // Nemotron.
    section("<TOOLCALL>", Some("</TOOLCALL>")),
    // MiniMax; Seed.
    section("<minimax:tool_call>", Some("</minimax:tool_call>")),
    section("<seed:tool_call>", Some("</seed:tool_call>")),
    // Llama 3.
    section("<|python_tag|>", None),
    // Functionary 3.1, and Qwen3-Coder where it forgets the mark around it.
    Section { open: "<function=", close: None, is_call: true },
];

/// Marks around a call within a section: what opens it, and what closes it.
pub static ITEM_OPENS: [&str; 2] = ["<\u{ff5c}tool\u{2581}call\u{2581}begin\u{ff5c}>", "<|tool_call_begin|>"];
pub static ITEM_CLOSES: [&str; 5] = [
    "<\u{ff5c}tool\u{2581}call\u{2581}end\u{ff5c}>",
    "<|tool_call_end|>",
    "</function>",
    "</invoke>",
    "</\u{ff5c}DSML\u{ff5c}invoke>",
];

/// Marks between a name and its arguments.
pub static SEPARATORS: [&str; 6] =
    ["<\u{ff5c}tool\u{2581}sep\u{ff5c}>", "[ARGS]", "<|tool_call_argument_begin|>", "```json", "\">", ">"];

/// The mark before a call's id.
pub const ID_MARK: &str = "[CALL_ID]";

/// Marks around texts within arguments that are written as in a programming language.
const QUOTES: [&str; 2] = ["<|\"|>", "<escape>"];

/// Marks around what a model thinks.
#[derive(Debug, PartialEq, Eq)]
pub struct Thought {
    /// The mark before a thought. Where the prompt ends with it, the answer begins within one.
    pub open: &'static str,
    /// The mark behind it.
    pub close: &'static str,
}

/// Every pair in use.
pub static THOUGHTS: [Thought; 8] = [
    Thought { open: "<think>", close: "</think>" },
    Thought { open: "<|channel>thought", close: "<channel|>" },
    Thought { open: "[THINK]", close: "[/THINK]" },
    Thought { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
    Thought { open: "<|thought_start|>", close: "<|thought_end|>" },
    Thought { open: "<seed:think>", close: "</seed:think>" },
    Thought { open: "<thinking>", close: "</thinking>" },
    Thought { open: "<reasoning>", close: "</reasoning>" },
];

/// A format in which everything that a model writes has a header: who it is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Frames {
    /// Marks that end what was written; a header may follow each.
    pub ends: &'static [&'static str],
    /// The mark at the end of a header.
    pub body: &'static str,
    /// Further marks of headers.
    pub others: &'static [&'static str],
    /// Where a prompt ends with this, the answer begins within a header.
    pub opening: &'static str,
    /// Marks by which a rendered conversation shows the format.
    pub shown_by: &'static [&'static str],
}

/// Every such format in use: GPT-OSS ("harmony"), Functionary 2 and 3.2.
pub static FRAMES: [Frames; 3] = [
    Frames {
        ends: &["<|start|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>"],
        body: "<|message|>",
        others: &["<|constrain|>"],
        opening: "<|start|>assistant",
        shown_by: &["<|channel|>", "<|message|>"],
    },
    Frames {
        ends: &["<|from|>", "<|stop|>"],
        body: "<|content|>",
        others: &["<|recipient|>"],
        opening: "<|recipient|>",
        shown_by: &["<|recipient|>", "<|content|>"],
    },
    Frames { ends: &[">>>"], body: "\n", others: &[], opening: ">>>", shown_by: &[">>>all\n"] },
];

/// How a model marks what is not its answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The headers of a format that has them. There are no sections then.
    pub frames: Option<&'static Frames>,
    /// What may open calls.
    pub sections: Vec<&'static Section>,
    /// Calls may be JSON that nothing marks.
    pub is_bare: bool,
    /// The marks around thoughts, where the model thinks.
    pub thought: Option<&'static Thought>,
    /// How calls are written, where that is known to the letter.
    pub form: Option<Form>,
}

/// A conversation that tells something of a template.
pub struct Probe<'a> {
    /// A list of messages, as in a request.
    pub messages: &'a Json,
    /// The tools that it has, as in a request.
    pub tools: Option<&'a Json>,
    /// Ends with the opening of the assistant's turn.
    pub opens: bool,
    /// Asks for thinking or forbids it, in the words that templates have for that.
    pub thinks: Option<bool>,
}

/// Renders a probe: the prompt's text, if there is one.
pub type Render<'a> = dyn Fn(&Probe) -> Option<String> + 'a;

impl Style {
    /// The style of the model whose template `render` renders. `is_token` says whether a text is a token of it.
    pub fn of(render: &Render, is_token: &dyn Fn(&str) -> bool) -> Style {
        let is_thought = |thought: &&Thought| is_token(thought.open) && is_token(thought.close);
        let thought = thought_of(render).or_else(|| THOUGHTS.iter().find(is_thought));
        let frames = frames_of(render);
        let (sections, is_bare, form) = if frames.is_some() { (Vec::new(), false, None) } else { sections_of(render) };
        Style { frames, sections, is_bare, thought, form }
    }

    /// Whether the model is known to think aloud, in marks.
    pub fn thinks(&self) -> bool {
        self.thought.is_some() || self.frames.is_some_and(|frames| frames.body == FRAMES[0].body)
    }

    /// Whether there may be more than content in an answer without tools.
    pub fn has_more(&self) -> bool {
        self.thought.is_some() || self.frames.is_some()
    }

    /// Whether a control token of this name tells something.
    pub fn knows(&self, name: &str) -> bool {
        let frames =
            self.frames.iter().flat_map(|frames| frames.ends.iter().chain([&frames.body]).chain(frames.others));
        let thoughts = self.thought.iter().flat_map(|thought| [&thought.open, &thought.close]);
        let sections = self.sections.iter().flat_map(|section| [Some(&section.open), section.close.as_ref()]);
        let items = ITEM_OPENS.iter().chain(&ITEM_CLOSES).chain(&SEPARATORS).chain(&QUOTES).chain([&ID_MARK]);
        let tags = TAGS.iter().flat_map(|tags| tags.key.iter().chain(&tags.value).chain([&tags.end]));
        let items = items.chain(tags).filter(|_| !self.sections.is_empty());
        let mut marks = frames.chain(thoughts).chain(sections.flatten()).chain(items);
        !name.is_empty() && marks.any(|mark| mark.contains(name))
    }

    /// Whether the answer to `prompt` begins within a thought, which the prompt has opened.
    pub fn is_thought_open(&self, prompt: &str) -> bool {
        self.thought.is_some_and(|thought| prompt.trim_end().ends_with(thought.open))
    }

    /// Whether what goes on behind `said`, the beginning of an answer, is within a thought.
    pub fn is_thought_open_in(&self, said: &str) -> bool {
        let is_open = |thought: &Thought| said.rfind(thought.open) > said.rfind(thought.close);
        self.thought.is_some_and(|thought| said.trim_start().starts_with(thought.open) && is_open(thought))
    }
}

/// The user's turn that begins every probe.
fn user() -> Json {
    json!({"role": "user", "content": USER_MARK})
}

/// Tools for a probe.
fn tools() -> Json {
    let parameters = json!({"type": "object", "properties": {"place": {"type": "string", "description": "where"}}});
    json!([{"type": "function", "function": {"name": NAME_MARK, "description": "Looks up", "parameters": parameters}}])
}

/// What a prompt has behind what the user said.
fn behind_user(prompt: &str) -> &str {
    prompt.rfind(USER_MARK).map_or("", |at| &prompt[at + USER_MARK.len()..])
}

/// The marks around thoughts: those that the assistant's turn begins with, those that the template writes around
/// earlier reasoning, or those that it takes out of earlier answers.
fn thought_of(render: &Render) -> Option<&'static Thought> {
    let asked = json!([user()]);
    let opening = |thinks| render(&Probe { messages: &asked, tools: None, opens: true, thinks }).unwrap_or_default();
    let (usual, without, with) = (opening(None), opening(Some(false)), opening(Some(true)));
    let answered = json!([user(), {"role": "assistant", "content": ANSWER_MARK, "reasoning_content": REASON_MARK,
        "reasoning": REASON_MARK, "thinking": REASON_MARK, "thought": REASON_MARK}]);
    let shown = render(&Probe { messages: &answered, tools: None, opens: false, thinks: None }).unwrap_or_default();
    let before = shown.split_once(REASON_MARK).map_or("", |(before, _)| before.trim_end());
    let is_shown = |thought: &&Thought| {
        behind_user(&usual).trim_end().ends_with(thought.open)
            || before.ends_with(thought.open)
            // A prompt that forbids thinking has an empty thought; one that asks for it may say how.
            || behind_user(&usual).contains(thought.close)
            || behind_user(&without).contains(thought.close)
            || (with.contains(thought.open) && !without.contains(thought.open))
    };
    let is_taken_out = |thought: &&Thought| {
        let said = format!("{}\n{REASON_MARK}\n{}\n\n{ANSWER_MARK}", thought.open, thought.close);
        let messages = json!([user(), {"role": "assistant", "content": said}, {"role": "user", "content": "and"}]);
        let prompt = render(&Probe { messages: &messages, tools: None, opens: true, thinks: None });
        prompt.is_some_and(|prompt| prompt.contains(ANSWER_MARK) && !prompt.contains(REASON_MARK))
    };
    THOUGHTS.iter().find(is_shown).or_else(|| THOUGHTS.iter().find(is_taken_out))
}

fn frames_of(render: &Render) -> Option<&'static Frames> {
    let messages = json!([user(), {"role": "assistant", "content": ANSWER_MARK}]);
    let prompt = render(&Probe { messages: &messages, tools: None, opens: false, thinks: None })?;
    FRAMES.iter().find(|frames| frames.shown_by.iter().all(|mark| prompt.contains(mark)))
}

/// What opens calls in the template's rendering of one, or in its instructions; everything in use where it shows none.
/// Whether calls may be JSON that nothing marks, and how they are written.
fn sections_of(render: &Render) -> (Vec<&'static Section>, bool, Option<Form>) {
    let tools = tools();
    let call = |arguments: Json, content: Json| {
        let function = json!({"name": NAME_MARK, "arguments": arguments});
        let call = json!({"id": "abcdef123", "type": "function", "function": function});
        let said = json!({"role": "assistant", "content": content, "tool_calls": [call]});
        let result = json!({"role": "tool", "tool_call_id": "abcdef123", "name": NAME_MARK, "content": "done"});
        let ways = [json!([user(), said]), json!([user(), said, result])];
        let render = |messages| render(&Probe { messages, tools: Some(&tools), opens: false, thinks: None });
        let prompt = ways.iter().find_map(render);
        prompt.filter(|prompt| behind_user(prompt).contains(NAME_MARK))
    };
    let arguments = || json!({"place": "Paris"});
    let called = call(arguments(), json!(""))
        .or_else(|| call(arguments(), Json::Null))
        .or_else(|| call(json!(arguments().to_string()), json!("")))
        .or_else(|| call(json!(arguments().to_string()), Json::Null));
    let within = |text: &str| SECTIONS.iter().filter(|section| text.contains(section.open)).collect::<Vec<_>>();
    let form = |sections: &[&'static Section]| {
        let turn = |prompt: &str| behind_user(prompt).to_owned();
        Form::of(render, &turn, &tools, &user(), sections)
    };
    if let Some(prompt) = called {
        let sections = within(behind_user(&prompt));
        if !sections.is_empty() {
            // Templates of Hermes write the name behind the arguments, and ask for it before them.
            let is_hermes = *sections == [&SECTIONS[0]] && prompt.contains("\"arguments\":");
            let plain = || is_hermes.then(|| Form::plain(sections.first().copied()));
            let form = form(&sections).or_else(plain);
            return (sections, false, form);
        }
        // The template writes calls without a mark; such models may write one of these all the same.
        return (SECTIONS.iter().collect(), true, form(&[]));
    }
    let asked = Probe { messages: &json!([user()]), tools: Some(&tools), opens: true, thinks: None };
    match within(&render(&asked).unwrap_or_default()) {
        sections if sections.is_empty() => (SECTIONS.iter().collect(), true, Some(Form::plain(None))),
        // Hermes, whose calls are JSON unless the instructions say otherwise.
        sections if *sections == [&SECTIONS[0]] => {
            let form = Form::plain(sections.first().copied());
            (sections, false, Some(form))
        }
        sections => (sections, false, None),
    }
}
