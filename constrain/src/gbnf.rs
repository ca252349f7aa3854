//! GBNF, llama.cpp's way of writing grammars, turned into the Lark that llguidance reads.
//!
//! The syntax: <https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md>. GBNF describes characters and has
//! no words that a lexer would cut a text into, while Lark's words are cut as long as they can be. So a grammar without
//! recursion becomes one regular expression, and in others each character is a word of its own: both mean exactly what
//! the grammar says.

use crate::Refused;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

/// The last character of Unicode, and those that are none.
const LAST: u32 = 0x10_ffff;
const SURROGATES: (u32, u32) = (0xd800, 0xdfff);

/// Larger regular expressions are written as rules.
const REGEX_BYTES_MAX: usize = 20_000;

/// More repetitions are a mistake or an attack.
const REPEATS_MAX: u32 = 2_000;

/// Groups within groups, and rules within rules of a regular expression.
const DEPTH_MAX: usize = 100;

/// Rules within rules, along the way on which llguidance goes through them, which takes of the stack for each.
const CHAIN_MAX: usize = 200;

/// What a rule or a part of it stands for.
#[derive(Clone, Debug)]
enum Node {
    /// One of these characters: ranges in order, ends included.
    Chars(Vec<(u32, u32)>),
    Rule(usize),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
}

/// The same grammar in Lark.
///
/// # Errors
/// What cannot be read, with the line.
pub fn to_lark(text: &str) -> Result<String, Refused> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, names: HashMap::new(), rules: BTreeMap::new() };
    parser.grammar()?;
    let Some(&root) = parser.names.get("root") else {
        return Err(Refused::new("the grammar has no rule 'root'"));
    };
    for (name, number) in &parser.names {
        if !parser.rules.contains_key(number) {
            return Err(Refused::new(format!("the grammar uses a rule '{name}', which it does not define")));
        }
    }
    let rules = parser.rules;
    let mut regex = String::new();
    if write_regex(&rules[&root], &rules, &mut vec![root], &mut regex) {
        return Ok(format!("start: /{regex}/\n"));
    }
    let mut lark = format!("start: r{root}\n");
    if !write_rules(root, &rules, &mut HashSet::new(), 0, &mut lark) {
        return Err(Refused::new(format!("the grammar has more than {CHAIN_MAX} rules within rules")));
    }
    Ok(lark)
}

/// Appends a rule and those that it uses, but for those that are there already; false where they lie too deep.
fn write_rules(
    number: usize,
    rules: &BTreeMap<usize, Node>,
    seen: &mut HashSet<usize>,
    depth: usize,
    out: &mut String,
) -> bool {
    if !seen.insert(number) {
        return true;
    }
    let mut used = Vec::new();
    let _ = write!(out, "r{number}: ");
    write_rule(&rules[&number], out, &mut |rule| used.push(rule));
    out.push('\n');
    depth < CHAIN_MAX && used.into_iter().all(|rule| write_rules(rule, rules, seen, depth + 1, out))
}

/// Appends `node` as a regular expression; false where it is none, or too long. `within` are the rules that it stands in.
fn write_regex(node: &Node, rules: &BTreeMap<usize, Node>, within: &mut Vec<usize>, out: &mut String) -> bool {
    if out.len() > REGEX_BYTES_MAX {
        return false;
    }
    match node {
        Node::Chars(ranges) => write_class(ranges, out),
        Node::Rule(rule) => {
            if within.contains(rule) || within.len() > DEPTH_MAX {
                return false;
            }
            within.push(*rule);
            let is_written = write_regex(&rules[rule], rules, within, out);
            within.pop();
            return is_written;
        }
        Node::Sequence(parts) => {
            out.push_str("(?:");
            if !parts.iter().all(|part| write_regex(part, rules, within, out)) {
                return false;
            }
            out.push(')');
        }
        Node::Choice(parts) => {
            out.push_str("(?:");
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    out.push('|');
                }
                if !write_regex(part, rules, within, out) {
                    return false;
                }
            }
            out.push(')');
        }
        Node::Repeat(part, least, most) => {
            out.push_str("(?:");
            if !write_regex(part, rules, within, out) {
                return false;
            }
            out.push(')');
            write_times(*least, *most, out);
        }
    }
    true
}

/// Appends `node` as a rule's body, and tells the rules in it.
fn write_rule(node: &Node, out: &mut String, tell: &mut impl FnMut(usize)) {
    match node {
        Node::Chars(ranges) => {
            out.push('/');
            write_class(ranges, out);
            out.push('/');
        }
        Node::Rule(rule) => {
            let _ = write!(out, "r{rule}");
            tell(*rule);
        }
        Node::Sequence(parts) if parts.is_empty() => out.push_str("\"\""),
        Node::Sequence(parts) | Node::Choice(parts) => {
            let between = if matches!(node, Node::Choice(_)) { " | " } else { " " };
            out.push('(');
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    out.push_str(between);
                }
                write_rule(part, out, tell);
            }
            out.push(')');
        }
        Node::Repeat(part, least, most) => {
            out.push('(');
            write_rule(part, out, tell);
            out.push(')');
            write_times(*least, *most, out);
        }
    }
}

fn write_times(least: u32, most: Option<u32>, out: &mut String) {
    match (least, most) {
        (0, None) => out.push('*'),
        (1, None) => out.push('+'),
        (0, Some(1)) => out.push('?'),
        (least, None) => drop(write!(out, "{{{least},}}")),
        (least, Some(most)) => drop(write!(out, "{{{least},{most}}}")),
    }
}

fn write_class(ranges: &[(u32, u32)], out: &mut String) {
    out.push('[');
    for &(first, last) in ranges {
        let _ = write!(out, "\\x{{{first:x}}}");
        if last > first {
            let _ = write!(out, "-\\x{{{last:x}}}");
        }
    }
    out.push(']');
}

struct Parser {
    text: Vec<char>,
    at: usize,
    /// Numbers of the rules that were named.
    names: HashMap<String, usize>,
    /// What was defined.
    rules: BTreeMap<usize, Node>,
}

impl Parser {
    fn grammar(&mut self) -> Result<(), Refused> {
        self.space(true);
        while self.at < self.text.len() {
            let name = self.name().ok_or_else(|| self.error("a rule's name is expected"))?;
            self.space(false);
            if !self.take("::=") {
                return Err(self.error("'::=' is expected"));
            }
            self.space(true);
            let number = self.number(&name);
            let node = self.choice(0)?;
            if self.rules.insert(number, node).is_some() {
                return Err(self.error(&format!("the rule '{name}' is defined twice")));
            }
            if !matches!(self.peek(), None | Some('\n' | '\r')) {
                return Err(self.error("the end of the line is expected"));
            }
            self.space(true);
        }
        Ok(())
    }

    fn choice(&mut self, depth: usize) -> Result<Node, Refused> {
        let mut parts = vec![self.sequence(depth)?];
        while self.peek() == Some('|') {
            self.at += 1;
            self.space(true);
            parts.push(self.sequence(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Choice(parts) })
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, Refused> {
        if depth > DEPTH_MAX {
            return Err(self.error("the groups are too deep"));
        }
        let mut parts = Vec::new();
        loop {
            let part = match self.peek() {
                Some('"') => self.literal()?,
                Some('[') => self.class()?,
                Some('.') => {
                    self.at += 1;
                    Node::Chars(inverted(Vec::new()))
                }
                Some('(') => {
                    self.at += 1;
                    self.space(true);
                    let group = self.choice(depth + 1)?;
                    if !self.take(")") {
                        return Err(self.error("')' is expected"));
                    }
                    group
                }
                Some('<' | '!') => return Err(self.error("tokens in grammars are not supported")),
                _ => match self.name() {
                    Some(name) => Node::Rule(self.number(&name)),
                    None => break,
                },
            };
            self.space(depth > 0);
            let part = self.repeated(part)?;
            self.space(depth > 0);
            parts.push(part);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Sequence(parts) })
    }

    /// `part`, as often as what follows it says.
    fn repeated(&mut self, mut part: Node) -> Result<Node, Refused> {
        loop {
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.at += 1;
                    self.space(true);
                    let least = self.decimal()?;
                    self.space(true);
                    let mut most = Some(least);
                    if self.take(",") {
                        self.space(true);
                        most = if self.peek() == Some('}') { None } else { Some(self.decimal()?) };
                        self.space(true);
                    }
                    if self.peek() != Some('}') || most.is_some_and(|most| most < least) {
                        return Err(self.error("a repetition is {m}, {m,} or {m,n}"));
                    }
                    (least, most)
                }
                _ => return Ok(part),
            };
            self.at += 1;
            part = Node::Repeat(Box::new(part), least, most);
        }
    }

    fn decimal(&mut self) -> Result<u32, Refused> {
        let mut value: Option<u32> = None;
        while let Some(digit) = self.peek().and_then(|char| char.to_digit(10)) {
            value = Some(value.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            self.at += 1;
        }
        value
            .filter(|value| *value <= REPEATS_MAX)
            .ok_or_else(|| self.error(&format!("a number up to {REPEATS_MAX} is expected")))
    }

    fn literal(&mut self) -> Result<Node, Refused> {
        self.at += 1;
        let mut parts = Vec::new();
        while self.peek() != Some('"') {
            let char = self.char()?;
            parts.push(Node::Chars(vec![(char, char)]));
        }
        self.at += 1;
        // What follows repeats the whole literal.
        Ok(Node::Sequence(parts))
    }

    fn class(&mut self) -> Result<Node, Refused> {
        self.at += 1;
        let is_inverted = self.take("^");
        let mut ranges = Vec::new();
        while self.peek() != Some(']') {
            let first = self.char()?;
            let is_range = self.peek() == Some('-') && self.text.get(self.at + 1) != Some(&']');
            let last = if is_range {
                self.at += 1;
                self.char()?
            } else {
                first
            };
            if last < first {
                return Err(self.error("a range goes from a lower to a higher character"));
            }
            ranges.push((first, last));
        }
        self.at += 1;
        let ranges = if is_inverted { inverted(ranges) } else { sorted(ranges) };
        if ranges.is_empty() {
            return Err(self.error("no character is of this class"));
        }
        Ok(Node::Chars(ranges))
    }

    /// A character of a literal or a class.
    fn char(&mut self) -> Result<u32, Refused> {
        let next = |parser: &mut Parser| {
            let char = parser.peek().ok_or_else(|| parser.error("the grammar ends within quotes"))?;
            parser.at += 1;
            Ok::<char, Refused>(char)
        };
        let char = next(self)?;
        if char != '\\' {
            return Ok(char.into());
        }
        let digits = match next(self)? {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            't' => return Ok(9),
            'r' => return Ok(13),
            'n' => return Ok(10),
            char @ ('\\' | '"' | '[' | ']' | '-' | '^') => return Ok(char.into()),
            _ => return Err(self.error("an unknown escape")),
        };
        let mut value = 0u32;
        for _ in 0..digits {
            let digit = next(self)?.to_digit(16).ok_or_else(|| self.error("a hexadecimal digit is expected"))?;
            value = value.wrapping_mul(16).wrapping_add(digit);
        }
        char::from_u32(value).map(u32::from).ok_or_else(|| self.error("an escape that is no character"))
    }

    fn name(&mut self) -> Option<String> {
        let is_of_name = |char: &&char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        let name: String = self.text[self.at..].iter().take_while(is_of_name).collect();
        self.at += name.len();
        Some(name).filter(|name| !name.is_empty())
    }

    fn number(&mut self, name: &str) -> usize {
        let next = self.names.len();
        *self.names.entry(name.to_owned()).or_insert(next)
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let is_there = text.chars().eq(self.text[self.at..].iter().copied().take(text.len()));
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    /// Passes over white space and comments.
    fn space(&mut self, lines: bool) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\n' | '\r') if lines => self.at += 1,
                Some('#') => {
                    while !matches!(self.peek(), None | Some('\n' | '\r')) {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn error(&self, what: &str) -> Refused {
        let line = 1 + self.text[..self.at.min(self.text.len())].iter().filter(|char| **char == '\n').count();
        Refused::new(format!("the grammar, line {line}: {what}"))
    }
}

/// Ranges in order, without overlaps.
fn sorted(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Every character that is not in `ranges`.
fn inverted(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.push(SURROGATES);
    let mut rest = Vec::new();
    let mut next = 0;
    for (first, last) in sorted(ranges) {
        if first > next {
            rest.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= LAST {
        rest.push((next, LAST));
    }
    rest
}
