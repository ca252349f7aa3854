//! What the preparation of a source knows of the tag that it reads.

use std::ops::Range;

use minijinja::machinery::Token;
use minijinja::{Error, ErrorKind};

/// What is known about the tag being read.
#[derive(Default)]
pub(super) struct Tag {
    pub kind: Kind,
    /// Tokens of the expression, and of the whole tag.
    pub tokens: usize,
    pub count: usize,
    pub brackets: Vec<Bracket>,
    /// True if a set has assigned already or is a block, so that later `=` are not its own; in a
    /// loop true behind its `in`.
    pub assigned: bool,
    pub dotted: bool,
    /// How many tokens of `.cycle(` come last.
    pub cycle: usize,
    pub last: Last,
    /// The operand being read of an operator that becomes a call.
    pub operand: Option<Operand>,
}

/// The right operand of a `%` behind a text, or of a `+` behind `|safe`.
pub(super) struct Operand {
    /// How many brackets are open around it.
    pub depth: usize,
    /// True where a name or another value must follow.
    pub expects: bool,
    pub adds: bool,
}

/// The token before, as far as the next one is understood by it.
#[derive(Default)]
pub(super) enum Last {
    #[default]
    Other,
    Dot(usize),
    /// A method of dictionaries behind a dot: the range of both, and of the name.
    Method(Range<usize>, Range<usize>),
    Loop,
    /// A macro that takes any arguments.
    Macro(usize),
    Text,
    Pipe,
    /// The filter `safe`.
    Safe,
}

/// A bracket that is open.
#[derive(Default)]
pub(super) struct Bracket {
    /// Where it begins, if it is a square one without a colon yet.
    pub start: Option<usize>,
    /// Colons of a slice in it; of the last one the number of its token, and where it ends.
    pub colons: usize,
    pub colon: usize,
    pub colon_end: usize,
    /// What is put before its end.
    pub close: &'static str,
    /// The counts of tokens where it began.
    pub tokens: usize,
    pub count: usize,
}

impl Tag {
    /// Refuses `loop.cycle()` without values, by which minijinja divides by their number. Unpacked
    /// lists are refused with it, because they may be empty.
    pub fn cycle(&mut self, token: &Token) -> Result<(), Error> {
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
pub(super) enum Kind {
    #[default]
    Other,
    /// Between the start of a block tag and its name.
    Unnamed,
    Set,
    With,
    For,
    Macro,
    /// The start or the end of a block, whose name is left out.
    Block,
}

pub(super) fn complex(message: &'static str) -> Error {
    Error::new(ErrorKind::SyntaxError, message)
}
