//! Character classes of pre-tokenisers.

use unicode_general_category::{GeneralCategory, get_general_category};

/// What the patterns of pre-tokenisers can tell apart, one bit each; every character has exactly
/// one, so that a class is a union of bits and its complement the other bits.
pub mod kind {
    /// A to Z.
    pub const UPPER_ASCII: u32 = 1;
    /// a to z.
    pub const LOWER_ASCII: u32 = 1 << 1;
    /// Other letters in upper case (Lu).
    pub const UPPER_OTHER: u32 = 1 << 2;
    /// Other letters in lower case (Ll).
    pub const LOWER_OTHER: u32 = 1 << 3;
    /// Letters in title case (Lt).
    pub const TITLE: u32 = 1 << 4;
    /// Modifier letters (Lm).
    pub const MODIFIER: u32 = 1 << 5;
    /// Letters without case (Lo).
    pub const UNCASED: u32 = 1 << 6;
    /// Marks (M).
    pub const MARK: u32 = 1 << 7;
    /// 0 to 9.
    pub const DIGIT_ASCII: u32 = 1 << 8;
    /// Other numbers (N).
    pub const NUMBER_OTHER: u32 = 1 << 9;
    /// `/`.
    pub const SLASH: u32 = 1 << 10;
    /// Other punctuation (P) of ASCII.
    pub const PUNCTUATION_ASCII: u32 = 1 << 11;
    /// Punctuation (P) beyond ASCII.
    pub const PUNCTUATION_OTHER: u32 = 1 << 12;
    /// The grave accent, a symbol.
    pub const GRAVE: u32 = 1 << 13;
    /// Other symbols (S) of ASCII: `$ + < = > ^ | ~`.
    pub const SYMBOL_ASCII: u32 = 1 << 14;
    /// Symbols (S) beyond ASCII.
    pub const SYMBOL_OTHER: u32 = 1 << 15;
    /// Carriage return.
    pub const RETURN: u32 = 1 << 16;
    /// Line feed.
    pub const NEWLINE: u32 = 1 << 17;
    /// The space U+0020.
    pub const SPACE: u32 = 1 << 18;
    /// Other white space, as Unicode's property White_Space has it.
    pub const WHITE_OTHER: u32 = 1 << 19;
    /// Everything else: control and format characters, unassigned ones.
    pub const OTHER: u32 = 1 << 20;

    pub const UPPER: u32 = UPPER_ASCII | UPPER_OTHER;
    pub const LOWER: u32 = LOWER_ASCII | LOWER_OTHER;
    pub const LETTER_ASCII: u32 = UPPER_ASCII | LOWER_ASCII;
    /// \p{L}
    pub const LETTER: u32 = UPPER | LOWER | TITLE | MODIFIER | UNCASED;
    /// \p{N}
    pub const NUMBER: u32 = DIGIT_ASCII | NUMBER_OTHER;
    /// \p{P}
    pub const PUNCTUATION: u32 = SLASH | PUNCTUATION_ASCII | PUNCTUATION_OTHER;
    /// \p{S}
    pub const SYMBOL: u32 = GRAVE | SYMBOL_ASCII | SYMBOL_OTHER;
    /// [\r\n]
    pub const LINE_END: u32 = RETURN | NEWLINE;
    /// \s
    pub const WHITE: u32 = LINE_END | SPACE | WHITE_OTHER;
}

/// The bit of every character of ASCII.
const ASCII: [u32; 128] = {
    let mut bits = [kind::OTHER; 128];
    let mut byte = 0;
    while byte < 128 {
        bits[byte as usize] = match byte {
            b'A'..=b'Z' => kind::UPPER_ASCII,
            b'a'..=b'z' => kind::LOWER_ASCII,
            b'0'..=b'9' => kind::DIGIT_ASCII,
            b'/' => kind::SLASH,
            b'`' => kind::GRAVE,
            b'$' | b'+' | b'<' | b'=' | b'>' | b'^' | b'|' | b'~' => kind::SYMBOL_ASCII,
            b'!'..=b'~' => kind::PUNCTUATION_ASCII,
            b'\r' => kind::RETURN,
            b'\n' => kind::NEWLINE,
            b' ' => kind::SPACE,
            b'\t' | 0x0b | 0x0c => kind::WHITE_OTHER,
            _ => kind::OTHER,
        };
        byte += 1;
    }
    bits
};

/// The bit of a character.
pub fn kind_of(character: char) -> u32 {
    use GeneralCategory::*;
    if let Some(&bit) = ASCII.get(character as usize) {
        return bit;
    }
    if character.is_whitespace() {
        return kind::WHITE_OTHER;
    }
    match get_general_category(character) {
        UppercaseLetter => kind::UPPER_OTHER,
        LowercaseLetter => kind::LOWER_OTHER,
        TitlecaseLetter => kind::TITLE,
        ModifierLetter => kind::MODIFIER,
        OtherLetter => kind::UNCASED,
        NonspacingMark | SpacingMark | EnclosingMark => kind::MARK,
        DecimalNumber | LetterNumber | OtherNumber => kind::NUMBER_OTHER,
        ConnectorPunctuation | DashPunctuation | OpenPunctuation | ClosePunctuation | InitialPunctuation
        | FinalPunctuation | OtherPunctuation => kind::PUNCTUATION_OTHER,
        MathSymbol | CurrencySymbol | ModifierSymbol | OtherSymbol => kind::SYMBOL_OTHER,
        _ => kind::OTHER,
    }
}

/// Punctuation (P).
pub fn is_punctuation(character: char) -> bool {
    kind_of(character) & kind::PUNCTUATION != 0
}

/// Marks (M).
pub fn is_mark(character: char) -> bool {
    kind_of(character) & kind::MARK != 0
}

/// Control and format characters, surrogates and those of private use (C), but not unassigned ones.
pub fn is_control(character: char) -> bool {
    use GeneralCategory::*;
    kind_of(character) & (kind::OTHER | kind::LINE_END | kind::WHITE_OTHER) != 0
        && matches!(get_general_category(character), Control | Format | Surrogate | PrivateUse)
}

/// A set of characters.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    /// Those with one of these bits.
    Kinds(u32),
    /// Those in one of these ranges, which are in order; both ends belong.
    Ranges(&'static [(char, char)]),
}

impl Class {
    /// Whether `character` belongs to the set.
    pub fn contains(self, character: char) -> bool {
        match self {
            Class::Kinds(bits) => kind_of(character) & bits != 0,
            Class::Ranges(ranges) => {
                let after = ranges.partition_point(|range| range.0 <= character);
                after > 0 && character <= ranges[after - 1].1
            }
        }
    }
}
