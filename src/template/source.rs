//! Prepares a template's source before minijinja compiles it.
//!
//! Fuel bounds a template's time and memory, but not how deep it nests: a chain of ten thousand
//! `elif` overflows the stack in the parser, and `{% set ns.x = [ns.x] %}` in a loop makes a value
//! whose destruction does. So the nesting of the source is bounded here, by the tokens of
//! minijinja's own lexer, and every assignment passes its value through a filter that bounds the
//! nesting of values.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::Call;
use super::bounds::{bounded, step};
use super::filters::escaped;
use super::literal;
use super::tag::{Bracket, Kind, Last, Operand, Tag, complex};
use super::text::type_name;

/// Tokens of one expression: chains of operators and filters become nested code. The items of a list
/// or of a dictionary are expressions of their own.
const TAG_TOKENS_MAX: usize = 1_000;
/// Brackets within brackets.
const BRACKETS_MAX: usize = 32;
/// `if` and `elif` that are open at once: an `elif` is an `if` nested in the `else`.
const CONDITIONS_MAX: usize = 150;
/// A `with` assigns too, and is not passed through the filter; no known chat template has one.
const WITHS_MAX: usize = 8;
const WITH_TOKENS_MAX: usize = 100;

/// The ends of assignments, whose values pass through filters, and the method that slices go
/// through.
const BOUNDED: &str = ")|__bounded ";
const BOUNDED_FIELD: &str = ")|__bounded_field ";
const STEP: &str = ")|__step ";
const SOLID: &str = ".__solid()";
/// Name of the method in [`SOLID`].
pub(super) const SOLID_METHOD: &str = "__solid";
/// What `{% for %}` and `loop()` iterate over passes through a filter that iterates as Python does.
const ITERATED: &str = ")|__iter ";
/// The filter behind `…|safe + value`: markup escapes what it is added to, whatever the environment.
const PLUS: &str = "|__plus(";
/// The method behind `'…' % value`, which minijinja's operator does not know.
pub(super) const PERCENT_METHOD: &str = "__percent";
/// The method behind `.items` without a call: in Jinja2 it is the dictionary's method.
pub(super) const ATTRIBUTE_METHOD: &str = "__attribute";
/// Methods of dictionaries, which a dot finds before it finds keys.
const DICT_METHODS: [&str; 11] =
    ["items", "keys", "values", "get", "copy", "pop", "update", "clear", "setdefault", "popitem", "fromkeys"];
/// The function that calls a macro with any number of arguments.
const CALL_MACRO: &str = "__call_macro(";

/// Adds the filters and the function that prepared sources use.
pub(super) fn add(environment: &mut minijinja::Environment) {
    environment.add_filter("__bounded", |state: &State, value: &Value| bounded(state, value, false));
    environment.add_filter("__step", step);
    environment.add_filter("__bounded_field", |state: &State, value: &Value| bounded(state, value, true));
    environment.add_filter("__iter", |state: &State, value: &Value| super::items::items(state, value).map(Value::from));
    environment.add_filter("__plus", |state: &mut State, left: &Value, right: &Value| plus(state, left, right));
    environment.add_function("__call_macro", call_macro);
}

/// A source that minijinja can compile, and where its parts come from.
pub(super) struct Prepared {
    pub source: String,
    /// Offsets in the prepared source and in the original one from which both run alike.
    places: Vec<(usize, usize)>,
}

impl Prepared {
    /// Where a range of the prepared source lies in the original.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let place = |offset: usize| {
            let index = self.places.partition_point(|&(prepared, _)| prepared <= offset);
            let Some(&(prepared, original)) = index.checked_sub(1).and_then(|index| self.places.get(index)) else {
                return offset;
            };
            let end = self.places.get(index).map_or(usize::MAX, |&(_, original)| original);
            (original + (offset - prepared)).min(end)
        };
        place(range.start)..place(range.end)
    }
}

/// The source with `{% generation %}` and `{% block %}`, which only mark text, turned into plain
/// blocks, with bounded assignments, and with what minijinja understands otherwise than Jinja2.
///
/// # Errors
/// A syntax error if the source is no Jinja or nests too deeply.
pub(super) fn prepared(source: &str, syntax: SyntaxConfig) -> Result<Prepared, Error> {
    let mut rewriter = Rewriter { source, variadic: variadic_macros(source, syntax.clone())?, ..Rewriter::default() };
    let mut tag = Tag::default();
    for token in tokenize(source, false, syntax) {
        let (token, span) = token?;
        rewriter.token(&mut tag, &token, span)?;
    }
    Ok(rewriter.applied())
}

/// The macros whose bodies mention `varargs` or `kwargs`.
fn variadic_macros(source: &str, syntax: SyntaxConfig) -> Result<HashSet<&str>, Error> {
    let mut found = HashSet::new();
    if !source.contains("varargs") && !source.contains("kwargs") {
        return Ok(found);
    }
    let mut open: Vec<Range<usize>> = Vec::new();
    let mut before = None;
    for token in tokenize(source, false, syntax) {
        let (token, span) = token?;
        let range = span.start_offset as usize..span.end_offset as usize;
        match (&token, &before) {
            (Token::Ident(_), Some("macro")) => open.push(range),
            (Token::Ident("endmacro"), _) => drop(open.pop()),
            (Token::Ident("varargs" | "kwargs"), _) => {
                found.extend(open.last().and_then(|name| source.get(name.clone())));
            }
            _ => {}
        }
        before = match token {
            Token::Ident("macro") => Some("macro"),
            _ => None,
        };
    }
    Ok(found)
}

/// Calls a macro with what it has no parameters for in `varargs` and `kwargs`.
fn call_macro(state: &mut State, function: Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    let call = Call::new("a macro", &args)?;
    let (positional, keywords) = call.all();
    let parameters: Vec<String> = match function.get_attr("arguments") {
        Ok(names) if names.kind() == ValueKind::Seq || names.kind() == ValueKind::Iterable => names
            .try_iter()?
            .map(|name| name.to_string())
            .filter(|name| name != "varargs" && name != "kwargs")
            .collect(),
        _ => return function.call(state, &args),
    };
    let mut named: Vec<(String, Value)> = parameters.iter().cloned().zip(positional.iter().cloned()).collect();
    let varargs = positional.get(parameters.len()..).unwrap_or_default().to_vec();
    let mut kwargs = Vec::new();
    for (name, value) in keywords {
        if named.iter().any(|(known, _)| known == name) {
            return Err(call.refuse(format!("has two values for '{name}'")));
        }
        let target = if parameters.contains(name) || name == "caller" { &mut named } else { &mut kwargs };
        target.push((name.clone(), value.clone()));
    }
    named.push(("varargs".into(), Value::from(Tuple::from(varargs))));
    named.push(("kwargs".into(), Value::from_pairs(kwargs)));
    function.call(state, &[Kwargs::from_iter(named).into()])
}

/// True for the operators between which and a sum's operand no bracket is needed; `~` is one.
fn binds_tighter_than_plus(token: &Token) -> bool {
    matches!(token, Token::Tilde | Token::Mul | Token::Div | Token::FloorDiv | Token::Mod | Token::Pow)
}

/// Markup and a text: what is not safe is escaped, and the sum is safe.
fn plus(state: &mut State, left: &Value, right: &Value) -> Result<Value, Error> {
    let mut sum = String::new();
    for part in [left, right] {
        match part.as_str() {
            Some(text) if part.is_safe() => sum.push_str(text),
            Some(text) => sum.push_str(&escaped(text)),
            None => {
                let message = format!("cannot add 'Markup' and '{}'", type_name(part));
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        }
    }
    state.consume_fuel(1 + (sum.len() / 64) as u64)?;
    Ok(Value::from_safe_string(sum))
}

#[derive(Default)]
struct Rewriter<'a> {
    source: &'a str,
    variadic: HashSet<&'a str>,
    /// Ranges of the source and what stands there instead.
    edits: Vec<(Range<usize>, Cow<'static, str>)>,
    /// The `elif` of every open `if`.
    elifs: Vec<usize>,
    /// For every open loop, the blocks open in it that `break` and `continue` may not leave.
    enclosures: Vec<usize>,
    withs: usize,
}

impl Rewriter<'_> {
    fn token(&mut self, tag: &mut Tag, token: &Token, span: Span) -> Result<(), Error> {
        tag.tokens += 1;
        tag.count += 1;
        tag.cycle(token)?;
        let range = span.start_offset as usize..span.end_offset as usize;
        self.operand(tag, token, &range);
        let last = self.last(tag, token, &range);
        match token {
            Token::TemplateData(_) => {
                self.raw(range.start);
                *tag = Tag::default();
            }
            Token::VariableStart => *tag = Tag::default(),
            Token::BlockStart => *tag = Tag { kind: Kind::Unnamed, ..Tag::default() },
            Token::Ident(name) if tag.kind == Kind::Unnamed => self.name(tag, name, range.clone())?,
            Token::Ident(_) if tag.kind == Kind::Block => self.edits.push((range.clone(), "".into())),
            Token::Ident("in") if tag.kind == Kind::For && !tag.assigned && tag.brackets.is_empty() => {
                tag.assigned = true;
                self.insert(range.end, "(");
            }
            Token::Ident("if" | "recursive") if tag.kind == Kind::For && tag.brackets.is_empty() => {
                self.iterated(tag, range.start);
            }
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => self.open(tag, token, &last, &range),
            Token::BracketClose | Token::ParenClose | Token::BraceClose => self.close(tag, &range),
            Token::Comma => {
                if let Some(bracket) = tag.brackets.last() {
                    tag.tokens = bracket.tokens + 1;
                }
            }
            Token::Colon => self.slice(tag, range.end),
            Token::Dot => tag.dotted |= tag.kind == Kind::Set && !tag.assigned,
            Token::Assign if tag.kind == Kind::Set && !tag.assigned && tag.brackets.is_empty() => {
                tag.assigned = true;
                self.insert(range.end, "(");
            }
            Token::Str(_) | Token::String(_) => {
                let text = self.source.get(range.clone()).and_then(literal::minijinjas);
                self.edits.extend(text.map(|text| (range.clone(), text.into())));
            }
            Token::BlockEnd => self.end(tag, range.start),
            _ => {}
        }
        let tokens_max = if tag.kind == Kind::With { WITH_TOKENS_MAX } else { TAG_TOKENS_MAX };
        if tag.tokens > tokens_max || tag.brackets.len() > BRACKETS_MAX {
            return Err(complex("an expression is too long or nests too deeply"));
        }
        Ok(())
    }

    /// Jinja2 keeps the line feed behind `{% raw %}`, where minijinja drops one.
    fn raw(&mut self, start: usize) {
        let before = self.source.get(..start).and_then(|before| before.strip_suffix("%}\n"));
        let tag = before.and_then(|before| before.trim_end().strip_suffix("raw"));
        if tag.is_some_and(|tag| tag.trim_end().trim_end_matches(['-', '+']).ends_with("{%")) {
            self.insert(start, "\n");
        }
    }

    /// The end of a tag.
    fn end(&mut self, tag: &mut Tag, at: usize) {
        match tag.kind {
            Kind::For => self.iterated(tag, at),
            _ if tag.assigned => {
                if let Some(open) = self.enclosures.last_mut() {
                    *open = open.saturating_sub(1);
                }
                self.insert(at, if tag.dotted { BOUNDED_FIELD } else { BOUNDED });
            }
            _ => {}
        }
        *tag = Tag::default();
    }

    /// The end of what a loop iterates over.
    fn iterated(&mut self, tag: &mut Tag, at: usize) {
        if tag.assigned {
            self.insert(at, ITERATED);
            (tag.kind, tag.assigned) = (Kind::Other, false);
        }
    }

    /// Takes the token before, acts on a method that is not called, and notes the present token.
    fn last(&mut self, tag: &mut Tag, token: &Token, range: &Range<usize>) -> Last {
        let in_target = tag.kind == Kind::Set && !tag.assigned;
        let next = match token {
            Token::Dot => Last::Dot(range.start),
            Token::Str(_) | Token::String(_) => Last::Text,
            Token::Pipe => Last::Pipe,
            Token::Ident(name) => match tag.last {
                Last::Pipe if *name == "safe" => Last::Safe,
                Last::Dot(start) if DICT_METHODS.contains(name) && !in_target => {
                    Last::Method(start..range.end, range.clone())
                }
                Last::Dot(_) => Last::Other,
                _ if *name == "loop" => Last::Loop,
                _ if self.variadic.contains(name) && !in_target => Last::Macro(range.start),
                _ => Last::Other,
            },
            _ => Last::Other,
        };
        let last = std::mem::replace(&mut tag.last, next);
        if let (Last::Method(whole, name), false) = (&last, matches!(token, Token::ParenOpen)) {
            let name = self.source.get(name.clone()).unwrap_or_default();
            self.edits.push((whole.clone(), format!(".{ATTRIBUTE_METHOD}('{name}')").into()));
        }
        last
    }

    fn open(&mut self, tag: &mut Tag, token: &Token, last: &Last, range: &Range<usize>) {
        let start = matches!(token, Token::BracketOpen).then_some(range.start);
        let close = match (token, last) {
            (Token::ParenOpen, Last::Loop) => {
                self.insert(range.end, "(");
                ITERATED
            }
            (Token::ParenOpen, Last::Macro(_)) if tag.kind == Kind::Macro && tag.brackets.is_empty() => {
                ", varargs=(), kwargs={}"
            }
            (Token::ParenOpen, Last::Macro(name)) => {
                self.insert(*name, CALL_MACRO);
                self.edits.push((range.clone(), ", ".into()));
                ""
            }
            _ => "",
        };
        let (tokens, count) = (tag.tokens, tag.count);
        tag.brackets.push(Bracket { start, close, tokens, count, ..Bracket::default() });
    }

    fn close(&mut self, tag: &mut Tag, range: &Range<usize>) {
        let Some(bracket) = tag.brackets.pop() else { return };
        self.step(tag, &bracket, range.start);
        let is_empty = tag.count == bracket.count + 1;
        self.insert(range.start, if is_empty { bracket.close.trim_start_matches(", ") } else { bracket.close });
        tag.tokens = bracket.tokens + 1;
    }

    /// The operators `%` behind a text and `+` behind `|safe` become calls. An operand ends where
    /// neither a dot, a bracket nor a filter goes on with it.
    fn operand(&mut self, tag: &mut Tag, token: &Token, range: &Range<usize>) {
        let mut added = matches!(tag.last, Last::Safe);
        if let Some(operand) = &mut tag.operand {
            if tag.brackets.len() != operand.depth {
                return;
            }
            let opens = matches!(token, Token::ParenOpen | Token::BracketOpen | Token::BraceOpen);
            match (operand.expects, token) {
                (true, Token::Minus) => {}
                (true, _) => operand.expects = false,
                (false, Token::Dot | Token::Pipe) => operand.expects = true,
                (false, _) if opens => {}
                (false, token) if operand.adds && binds_tighter_than_plus(token) => operand.expects = true,
                _ => {
                    added = operand.adds;
                    self.insert(range.start, ")");
                    tag.operand = None;
                }
            }
        }
        let call = match (token, &tag.last) {
            (Token::Mod, Last::Text) => format!(".{PERCENT_METHOD}("),
            (Token::Plus, _) if added => PLUS.to_owned(),
            _ => return,
        };
        if tag.operand.is_none() {
            self.edits.push((range.clone(), call.into()));
            let adds = matches!(token, Token::Plus);
            tag.operand = Some(Operand { depth: tag.brackets.len(), expects: true, adds });
        }
    }

    fn name(&mut self, tag: &mut Tag, name: &str, range: Range<usize>) -> Result<(), Error> {
        tag.kind = match name {
            "set" => Kind::Set,
            "with" => Kind::With,
            "for" => Kind::For,
            "macro" => Kind::Macro,
            "block" | "endblock" => Kind::Block,
            _ => Kind::Other,
        };
        match name {
            "generation" | "block" => self.edits.push((range, "if true".into())),
            "endgeneration" | "endblock" => self.edits.push((range, "endif".into())),
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
        (bracket.colon, bracket.colon_end) = (tag.count, end);
    }

    /// The end of a slice with a step, which passes through a filter.
    fn step(&mut self, tag: &Tag, bracket: &Bracket, end: usize) {
        if bracket.colons == 2 && tag.count > bracket.colon + 1 {
            self.insert(bracket.colon_end, "(");
            self.insert(end, STEP);
        }
    }

    fn insert(&mut self, at: usize, text: &'static str) {
        if !text.is_empty() {
            self.edits.push((at..at, text.into()));
        }
    }

    fn applied(mut self) -> Prepared {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut source = String::with_capacity(self.source.len() * 2);
        let mut places = Vec::new();
        let mut copied = 0;
        for (range, text) in self.edits {
            source.push_str(self.source.get(copied..range.start).unwrap_or_default());
            source.push_str(&text);
            copied = range.end;
            places.push((source.len(), copied));
        }
        source.push_str(self.source.get(copied..).unwrap_or_default());
        Prepared { source, places }
    }
}
