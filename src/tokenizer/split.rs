//! Cutting text into the words within which BPE merges.
//!
//! The patterns of pre-tokenisers are regular expressions of a simple form: alternatives, each a
//! short sequence of repeated classes. They are written as data (in `patterns`) and matched here as
//! a backtracking engine would match the expression, without the tables of a general one. A run of
//! characters is looked at a bounded number of times by each alternative, and then taken by one of
//! them, so the time is linear in the text.

use super::class::Class;

/// One item of an alternative.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// From `min` to `max` characters of a class, as many as lead to a match.
    Run { class: Class, min: u32, max: u32 },
    /// An apostrophe with the ending of an English contraction: s, t, m, d, re, ve, ll.
    Contraction { any_case: bool },
    /// A contraction in any case, if there is one.
    MaybeContraction,
    /// Not before a character of this class.
    NotBefore(Class),
    /// The end of the text.
    End,
}

/// A regular expression: the first alternative that matches is taken. No alternative matches nothing.
pub type Pattern = &'static [&'static [Step]];

/// The most alternatives that a pattern has.
const ALTERNATIVES_MAX: usize = 8;

/// As many as there are, for the `max` of a run.
pub const MANY: u32 = u32::MAX;

/// Cuts `text` by the first of `passes`, the parts by the second and so on, and gives the parts to
/// `emit` in order. A pass cuts its text into its matches and what lies between them; it sees
/// nothing of the text around.
pub fn split(text: &str, passes: &[Pattern], emit: &mut dyn FnMut(&str)) {
    match passes.split_first() {
        Some((pattern, rest)) => split_pass(text, pattern, &mut |part| split(part, rest, emit)),
        None => emit(text),
    }
}

/// Cuts `text` into matches of `pattern` and what lies between.
fn split_pass(text: &str, pattern: Pattern, emit: &mut dyn FnMut(&str)) {
    // Up to where each alternative is known not to match: when it starts with a run of any length and
    // fails, it fails from every later start in that run, whose ends it has tried already.
    let mut hopeless = [0; ALTERNATIVES_MAX];
    let (mut start, mut at) = (0, 0);
    while let Some(character) = text[at..].chars().next() {
        let end = pattern.iter().zip(&mut hopeless).find_map(|(alternative, until)| {
            let end = if at < *until { None } else { find_end(text, at, alternative) };
            if end.is_none() && at >= *until {
                *until = at + leading_run(&text[at..], alternative);
            }
            end
        });
        match end {
            Some(end) => {
                if start < at {
                    emit(&text[start..at]);
                }
                emit(&text[at..end]);
                (start, at) = (end, end);
            }
            None => at += character.len_utf8(),
        }
    }
    if start < at {
        emit(&text[start..at]);
    }
}

/// Bytes of the run of any length that `alternative` starts with, 0 if it starts otherwise.
fn leading_run(text: &str, alternative: &[Step]) -> usize {
    match alternative.first() {
        Some(Step::Run { class, max: MANY, .. }) => longest_run(text, *class, MANY).1,
        _ => 0,
    }
}

/// Where a match of `steps` that starts at `at` ends.
fn find_end(text: &str, at: usize, steps: &[Step]) -> Option<usize> {
    let Some((step, rest)) = steps.split_first() else { return Some(at) };
    match *step {
        Step::Run { class, min, max } => {
            let (mut count, mut end) = longest_run(&text[at..], class, max);
            loop {
                if count < min {
                    return None;
                }
                if let Some(found) = find_end(text, at + end, rest) {
                    return Some(found);
                }
                // Give one character back and try again.
                end -= text[at..at + end].chars().next_back()?.len_utf8();
                count -= 1;
            }
        }
        Step::Contraction { any_case } => find_end(text, at + contraction(&text[at..], any_case)?, rest),
        Step::MaybeContraction => find_end(text, at + contraction(&text[at..], true).unwrap_or(0), rest),
        Step::NotBefore(class) if text[at..].chars().next().is_some_and(|next| class.contains(next)) => None,
        Step::End if at < text.len() => None,
        Step::NotBefore(_) | Step::End => find_end(text, at, rest),
    }
}

/// How many characters of `class`, at most `max`, `text` starts with, and their bytes.
fn longest_run(text: &str, class: Class, max: u32) -> (u32, usize) {
    let (mut count, mut end) = (0, 0);
    for character in text.chars() {
        if count == max || !class.contains(character) {
            break;
        }
        count += 1;
        end += character.len_utf8();
    }
    (count, end)
}

/// Length of the contraction that `text` starts with.
fn contraction(text: &str, any_case: bool) -> Option<usize> {
    let letter = |index: usize| {
        let byte = *text.as_bytes().get(index)?;
        Some(if any_case { byte.to_ascii_lowercase() } else { byte })
    };
    if letter(0)? != b'\'' {
        return None;
    }
    match (letter(1)?, letter(2)) {
        (b's' | b't' | b'm' | b'd', _) => Some(2),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(3),
        _ => None,
    }
}
