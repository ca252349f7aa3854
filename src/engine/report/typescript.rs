//! Writes `www/src/wire/generated.ts`: what TypeScript has to know of the core, from the core's own definitions.

use super::{
    ExpertStats, GroupState, LayerStats, MemoryStats, ModelDescription, ModelInfo, OpenPlan, SequenceStats, Stats,
};
use crate::answer::CallDelta;
use crate::engine::event::{Event, FinishReason, Logprob, TokenLogprob, Usage};
use crate::engine::{AdapterScale, Bound, ContextOverflow, MemoryPlan, OpenOptions, Tally};
use crate::error::ErrorCode;
use crate::exec::{DeviceStats, Poll};
use crate::program::KvFormat;
use std::fmt::Write;
use std::path::Path;
use ts_rs::{Config, TS};

/// The file, from the root of the repository.
const FILE: &str = "www/src/wire/generated.ts";

/// The variable of the environment with which the file is written before it is compared.
const UPDATE: &str = "CHORD_UPDATE";

const HEAD: &str = "/**
 * What the scripts have of the core, written by a test of the core from its own definitions. To change it, change those
 * and run `CHORD_UPDATE=1 cargo test --lib typescript`.
 */
";

#[test]
fn the_types_of_the_scripts_are_those_of_the_core() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let types = [
        shape::<GroupState>(),
        shape::<FinishReason>(),
        shape::<Usage>(),
        shape::<Tally>(),
        shape::<TokenLogprob>(),
        shape::<Logprob>(),
        shape::<CallDelta>(),
        shape::<Event>(),
        shape::<KvFormat>(),
        shape::<ContextOverflow>(),
        shape::<AdapterScale>(),
        shape::<OpenOptions>(),
        shape::<ModelDescription>(),
        shape::<ModelInfo>(),
        shape::<Bound>(),
        shape::<MemoryPlan>(),
        shape::<OpenPlan>(),
        shape::<SequenceStats>(),
        shape::<MemoryStats>(),
        shape::<LayerStats>(),
        shape::<ExpertStats>(),
        shape::<DeviceStats>(),
        shape::<Stats>(),
    ];
    let text = [HEAD.to_owned(), codes(), numbers(), types.join("\n")].join("\n");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &text).expect("the file is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{FILE} is not what the core has: run `{UPDATE}=1 cargo test --lib typescript`");
}

/// The codes of errors as a union, and the set of those after which the same call may succeed.
fn codes() -> String {
    let mut text = "/** Stable codes of `ChordError`. */\nexport type ChordErrorCode =".to_owned();
    for code in ErrorCode::ALL {
        write!(text, "\n  /**{} */\n  | '{code:?}'", code.words()).expect("text takes more text");
    }
    text += ";\n\n/** Codes after which the same call, or a new engine, may succeed later. */\n";
    text += "export const RETRYABLE: ReadonlySet<ChordErrorCode> = new Set<ChordErrorCode>([";
    for code in ErrorCode::ALL.iter().filter(|code| code.is_retryable()) {
        write!(text, "\n  '{code:?}',").expect("text takes more text");
    }
    text + "\n]);\n"
}

/// What stands for a number where the core hands over numbers.
fn numbers() -> String {
    let names = GroupState::ALL.map(|state| serde_json::to_string(&state).expect("a name").replace('"', "'"));
    let [pending, ready, lost] = [Poll::Pending, Poll::Ready, Poll::Lost].map(|poll| poll as u8);
    format!(
        "/** The states of groups by the core's numbers. */
export const GROUP_STATES: readonly GroupState[] = [{}];

/** What is asked for is not there yet. */
export const PENDING = {pending};
/** What is asked for is there. */
export const READY = {ready};
/** What is asked for is gone, and will not come. */
export const LOST = {lost};
",
        names.join(", ")
    )
}

/// The type that TypeScript reads the JSON of `T` as, with its documentation.
fn shape<T: TS>() -> String {
    // No number of the core is larger than 2^53.
    let config = Config::new().with_large_int("number");
    let mut text = documentation(&T::docs().unwrap_or_default(), 0);
    text += "export ";
    layout(&T::decl(&config).replace("\"type\":", "type:"), &mut text);
    text + "\n"
}

/// Puts a type, which comes on few lines, on one line a field.
fn layout(code: &str, text: &mut String) {
    let (mut depth, mut brackets, mut rest) = (0, 0_usize, code);
    let begin_line = |text: &mut String, depth: usize| *text += &format!("\n{}", "  ".repeat(depth));
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        match next {
            '/' if rest.starts_with("/**") => {
                length = rest.find("*/").map_or(rest.len(), |end| end + 2);
                *text += documentation(&rest[..length], depth).trim_start();
                text.truncate(text.trim_end().len());
                begin_line(text, depth);
            }
            '{' => {
                depth += 1;
                text.push('{');
                begin_line(text, depth);
            }
            '}' => {
                depth -= 1;
                text.truncate(text.trim_end().len());
                if !text.ends_with([';', '{']) {
                    text.push(';');
                }
                begin_line(text, depth);
                text.push('}');
            }
            ',' if depth > 0 && brackets == 0 => {
                text.push(';');
                begin_line(text, depth);
            }
            ' ' | '\n' if text.ends_with([' ', '\n']) => {}
            '\n' => {}
            '"' => text.push('\''),
            other => {
                brackets = match other {
                    '<' => brackets + 1,
                    '>' => brackets - 1,
                    _ => brackets,
                };
                text.push(other);
            }
        }
        rest = &rest[length..];
    }
}

/// A comment of several lines, on one where it fits.
fn documentation(comment: &str, depth: usize) -> String {
    let lines = comment.lines().map(|line| line.trim().trim_start_matches(['/', '*']).trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let indent = "  ".repeat(depth);
    match lines.as_slice() {
        [] => String::new(),
        [line] => format!("{indent}/** {line} */\n"),
        lines => {
            let body: String = lines.iter().map(|line| format!("{indent} * {line}\n")).collect();
            format!("{indent}/**\n{body}{indent} */\n")
        }
    }
}
