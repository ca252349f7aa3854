//! Prepares a template's source before minijinja compiles it.
//!
//! Fuel bounds a template's time and memory, but not how deep it nests: a chain of ten thousand
//! `elif` overflows the stack in the parser, and `{% set ns.x = [ns.x] %}` in a loop makes a value
//! whose destruction does. So the nesting of the source is bounded here, by the tokens of
//! minijinja's own lexer, and every assignment passes its value through a filter that bounds the
//! nesting of values.

use std::ops::Range;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value, filters};

/// Tokens of one tag: chains of operators and filters become nested code.
const TAG_TOKENS_MAX: usize = 1_000;
/// Brackets within brackets.
const BRACKETS_MAX: usize = 32;
/// `if` and `elif` that are open at once: an `elif` is an `if` nested in the `else`.
const CONDITIONS_MAX: usize = 150;
/// A `with` assigns too, and is not passed through the filter; no known chat template has one.
const WITHS_MAX: usize = 8;
const WITH_TOKENS_MAX: usize = 100;
/// How deep an assigned value may nest: what messages may have, and some containers around them.
const VALUE_DEPTH_MAX: usize = 100;
/// Items whose inspection costs one unit of fuel.
const ITEMS_PER_FUEL: usize = 8;

/// The ends of assignments, whose values pass through filters, and the method that slices go
/// through.
const BOUNDED: &str = ")|__bounded ";
const BOUNDED_FIELD: &str = ")|__bounded_field ";
const STEP: &str = ")|__step ";
const SOLID: &str = ".__solid()";
/// Name of the method in [`SOLID`].
pub(super) const SOLID_METHOD: &str = "__solid";

/// Adds the filters that prepared sources use.
pub(super) fn add_filters(environment: &mut minijinja::Environment) {
    environment.add_filter("__bounded", |state: &State, value: &Value| bounded(state, value, false));
    environment.add_filter("__step", step);
    environment.add_filter("__bounded_field", |state: &State, value: &Value| bounded(state, value, true));
}

/// The source with `{% generation %}` blocks, which only mark text for training, turned into plain
/// blocks, and with bounded assignments.
///
/// # Errors
/// A syntax error if the source is no Jinja or nests too deeply.
pub(super) fn prepared(source: &str, syntax: SyntaxConfig) -> Result<String, Error> {
    let mut rewriter = Rewriter::default();
    let mut tag = Tag::default();
    for token in tokenize(source, false, syntax) {
        let (token, span) = token?;
        rewriter.token(&mut tag, &token, span)?;
    }
    Ok(rewriter.applied(source))
}

/// What is known about the tag being read.
#[derive(Default)]
struct Tag {
    kind: Kind,
    tokens: usize,
    brackets: Vec<Bracket>,
    /// True if a set has assigned already or is a block, so that later `=` are not its own.
    assigned: bool,
    dotted: bool,
    /// How many tokens of `.cycle(` come last.
    cycle: usize,
}

/// A bracket that is open.
#[derive(Default)]
struct Bracket {
    /// Where it begins, if it is a square one without a colon yet.
    start: Option<usize>,
    /// Colons of a slice in it; of the last one the number of its token, and where it ends.
    colons: usize,
    colon: usize,
    colon_end: usize,
}

impl Tag {
    /// Refuses `loop.cycle()` without values, by which minijinja divides by their number. Unpacked
    /// lists are refused with it, because they may be empty.
    fn cycle(&mut self, token: &Token) -> Result<(), Error> {
        self.cycle = match (self.cycle, token) {
            (_, Token::Dot) => 1,
            (1, Token::Ident("cycle")) => 2,
            (2, Token::ParenOpen) => 3,
            (3, Token::ParenClose | Token::Mul | Token::Pow) => {
                return Err(complex("cycle needs values"));
            }
            _ => 0,
        };
        Ok(())
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    /// Between the start of a block tag and its name.
    Unnamed,
    Set,
    With,
}

#[derive(Default)]
struct Rewriter {
    /// Ranges of the source and what stands there instead.
    edits: Vec<(Range<usize>, &'static str)>,
    /// The `elif` of every open `if`.
    elifs: Vec<usize>,
    /// For every open loop, the blocks open in it that `break` and `continue` may not leave.
    enclosures: Vec<usize>,
    withs: usize,
}

impl Rewriter {
    fn token(&mut self, tag: &mut Tag, token: &Token, span: Span) -> Result<(), Error> {
        tag.tokens += 1;
        tag.cycle(token)?;
        let range = span.start_offset as usize..span.end_offset as usize;
        match token {
            Token::TemplateData(_) | Token::VariableStart => *tag = Tag::default(),
            Token::BlockStart => *tag = Tag { kind: Kind::Unnamed, ..Tag::default() },
            Token::Ident(name) if tag.kind == Kind::Unnamed => self.name(tag, name, range)?,
            Token::BracketOpen => tag.brackets.push(Bracket { start: Some(range.start), ..Bracket::default() }),
            Token::ParenOpen | Token::BraceOpen => tag.brackets.push(Bracket::default()),
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                if let Some(bracket) = tag.brackets.pop() {
                    self.step(tag, &bracket, range.start);
                }
            }
            Token::Colon => self.slice(tag, range.end),
            Token::Dot => tag.dotted |= tag.kind == Kind::Set && !tag.assigned,
            Token::Assign if tag.kind == Kind::Set && !tag.assigned && tag.brackets.is_empty() => {
                tag.assigned = true;
                self.insert(range.end, "(");
            }
            Token::BlockEnd => {
                if tag.assigned {
                    if let Some(open) = self.enclosures.last_mut() {
                        *open = open.saturating_sub(1);
                    }
                    self.insert(range.start, if tag.dotted { BOUNDED_FIELD } else { BOUNDED });
                }
                *tag = Tag::default();
            }
            _ => {}
        }
        let tokens_max = if tag.kind == Kind::With { WITH_TOKENS_MAX } else { TAG_TOKENS_MAX };
        if tag.tokens > tokens_max || tag.brackets.len() > BRACKETS_MAX {
            return Err(complex("an expression is too long or nests too deeply"));
        }
        Ok(())
    }

    fn name(&mut self, tag: &mut Tag, name: &str, range: Range<usize>) -> Result<(), Error> {
        tag.kind = match name {
            "set" => Kind::Set,
            "with" => Kind::With,
            _ => Kind::Other,
        };
        match name {
            "generation" => self.edits.push((range, "if true")),
            "endgeneration" => self.edits.push((range, "endif")),
            "if" => self.elifs.push(0),
            "elif" => {
                if let Some(count) = self.elifs.last_mut() {
                    *count += 1;
                }
            }
            "endif" => drop(self.elifs.pop()),
            "with" => self.withs += 1,
            _ => {}
        }
        let nested = self.elifs.len() + self.elifs.iter().sum::<usize>();
        if nested > CONDITIONS_MAX || self.withs > WITHS_MAX {
            return Err(complex("too many conditions within conditions, or too many with"));
        }
        self.enclosure(name)
    }

    /// Refuses `break` and `continue` out of a block with a scope or an output of its own: minijinja
    /// jumps without closing them, and panics when it comes to the end of the loop.
    fn enclosure(&mut self, name: &str) -> Result<(), Error> {
        let open = self.enclosures.last_mut();
        let enclosed = open.as_ref().is_some_and(|open| **open > 0);
        match name {
            "for" => self.enclosures.push(0),
            "endfor" => drop(self.enclosures.pop()),
            // A set that assigns is taken back at the end of its tag.
            "set" | "with" | "filter" | "autoescape" | "macro" | "call" => open.into_iter().for_each(|open| *open += 1),
            "endset" | "endwith" | "endfilter" | "endautoescape" | "endmacro" | "endcall" => {
                open.into_iter().for_each(|open| *open = open.saturating_sub(1));
            }
            "break" | "continue" if enclosed => {
                return Err(complex("break or continue in a block within the loop"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The colon of a slice: what is sliced becomes solid first. The second colon finds it done.
    fn slice(&mut self, tag: &mut Tag, end: usize) {
        let Some(bracket) = tag.brackets.last_mut() else { return };
        if let Some(start) = bracket.start.take() {
            self.insert(start, SOLID);
            bracket.colons = 0;
        } else if bracket.colons == 0 {
            return;
        }
        bracket.colons += 1;
        (bracket.colon, bracket.colon_end) = (tag.tokens, end);
    }

    /// The end of a slice with a step, which passes through a filter.
    fn step(&mut self, tag: &Tag, bracket: &Bracket, end: usize) {
        if bracket.colons == 2 && tag.tokens > bracket.colon + 1 {
            self.insert(bracket.colon_end, "(");
            self.insert(end, STEP);
        }
    }

    fn insert(&mut self, at: usize, text: &'static str) {
        self.edits.push((at..at, text));
    }

    fn applied(mut self, source: &str) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(source.len() * 2);
        let mut copied = 0;
        for (range, text) in self.edits {
            out.push_str(source.get(copied..range.start).unwrap_or_default());
            out.push_str(text);
            copied = range.end;
        }
        out.push_str(source.get(copied..).unwrap_or_default());
        out
    }
}

fn complex(message: &'static str) -> Error {
    Error::new(ErrorKind::SyntaxError, message)
}

/// Lets a value pass if it does not nest too deeply. Lazy iterables, which nest without limit when
/// they are sliced again and again, become lists.
///
/// The field of a namespace may not be a namespace: it could contain itself, and would never be
/// freed nor printed to an end.
fn bounded(state: &State, value: &Value, field: bool) -> Result<Value, Error> {
    let value = solid(state, value)?;
    Inspection { state, field, items: 0 }.walk(&value, 0)?;
    Ok(value)
}

/// The step of a slice, at most 2^31 − 1 either way: beyond that every slice has one item, and minijinja
/// makes a machine word of it, which would be 0 for 2^32 in 32 bits.
fn step(value: &Value) -> Value {
    const MOST: i128 = i32::MAX as i128;
    match i128::try_from(value.clone()) {
        Ok(step) => Value::from(step.clamp(-MOST, MOST) as i64),
        Err(_) => value.clone(),
    }
}

/// Pays for a walk through a value, and makes lazy iterables lists.
///
/// minijinja's lazy iterables are walked without paying when they are sliced: `([1] * 10 ** 15)[10
/// ** 14:]` is made at once, and its first item takes days.
pub(super) fn solid(state: &State, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Iterable {
        return filters::list(state, value.clone());
    }
    let items = value.as_str().map_or_else(|| value.len().unwrap_or(0), |text| text.len() / ITEMS_PER_FUEL);
    state.consume_fuel((items / ITEMS_PER_FUEL) as u64)?;
    Ok(value.clone())
}

struct Inspection<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    field: bool,
    items: usize,
}

impl Inspection<'_, '_, '_> {
    fn walk(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let Some(object) = value.as_object() else { return Ok(()) };
        if depth > VALUE_DEPTH_MAX {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value nests too deeply"));
        }
        if self.field && object.type_name().ends_with("::Namespace") {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be the field of a namespace"));
        }
        if let Some(list) = object.downcast_ref::<Vec<Value>>() {
            return list.iter().try_for_each(|item| self.item(item, depth));
        }
        if object.downcast_ref::<Tuple>().is_none() && !matches!(value.kind(), ValueKind::Map | ValueKind::Seq) {
            return Ok(());
        }
        for key in value.try_iter()? {
            match value.kind() {
                ValueKind::Map => self.item(&value.get_item(&key)?, depth)?,
                _ => self.item(&key, depth)?,
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Value, depth: usize) -> Result<(), Error> {
        self.items += 1;
        if self.items.is_multiple_of(ITEMS_PER_FUEL) {
            self.state.consume_fuel(1)?;
        }
        self.walk(item, depth + 1)
    }
}
