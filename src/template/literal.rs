//! String literals: Python's escapes, written so that minijinja reads the same text.

/// The literal for minijinja, if it would read the original otherwise than Python does.
pub(super) fn minijinjas(literal: &str) -> Option<String> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    let differs = inner.split('\\').skip(1).any(|rest| !rest.starts_with(['"', '\'', 'n', 'r', 't', 'u', 'x']));
    if !differs {
        return None;
    }
    let mut out = String::from("\"");
    for c in decoded(inner).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out.push('"');
    Some(out)
}

/// What Python's `unicode-escape` makes of a literal. Unknown escapes keep their backslash.
fn decoded(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let c = after.chars().next().unwrap_or('\\');
        let (replacement, used) = match c {
            '\n' => (None, 1),
            '\\' | '\'' | '"' => (Some(c), 1),
            'n' => (Some('\n'), 1),
            'r' => (Some('\r'), 1),
            't' => (Some('\t'), 1),
            'a' => (Some('\u{7}'), 1),
            'b' => (Some('\u{8}'), 1),
            'f' => (Some('\u{c}'), 1),
            'v' => (Some('\u{b}'), 1),
            'x' => number(after, 1..3, 16),
            'u' => number(after, 1..5, 16),
            'U' => number(after, 1..9, 16),
            '0'..='7' => {
                let digits = after.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                number(after, 0..digits, 8)
            }
            _ => (Some('\\'), 0),
        };
        out.extend(replacement);
        rest = after.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The character that digits name, and the bytes they take; a backslash if they name none.
fn number(after: &str, digits: std::ops::Range<usize>, radix: u32) -> (Option<char>, usize) {
    let found = after.get(digits.clone()).and_then(|digits| u32::from_str_radix(digits, radix).ok());
    match found.and_then(char::from_u32) {
        Some(c) => (Some(c), digits.end),
        None => (Some('\\'), 0),
    }
}
