//! Changes to inputs: of bytes, with a preference for the numbers that a format is made of, and of
//! text, with a preference for the words of its language.

use fastrand::Rng;

/// A number in a binary input.
#[derive(Clone, Copy)]
pub struct Field {
    pub at: usize,
    pub width: usize,
}

/// Numbers at which sizes and types turn bad.
const EXTREMES: [u64; 24] = [
    0,
    1,
    2,
    4,
    8,
    13,
    31,
    32,
    255,
    256,
    1000,
    0x7fff,
    0xffff,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    (1 << 61) + 1,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

/// Longest input that changes may make, in bytes.
const BYTES_MAX: usize = 16 << 10;

/// One to four changes of `bytes`. `fields` are its numbers, `donor` another input.
pub fn change_bytes(random: &mut Rng, bytes: &mut Vec<u8>, fields: &[Field], donor: &[u8]) {
    for _ in 0..random.usize(1..=4) {
        if random.u8(..) < 140 && !fields.is_empty() {
            let field = fields[random.usize(..fields.len())];
            change_field(random, bytes, field);
        } else {
            change_bytes_once(random, bytes, donor);
        }
    }
}

/// Sets a number to an extreme, to a neighbour, or flips one of its bits.
fn change_field(random: &mut Rng, bytes: &mut [u8], field: Field) {
    let Some(place) = bytes.get_mut(field.at..field.at + field.width) else { return };
    let mut number = [0; 8];
    number[..field.width].copy_from_slice(place);
    let new = changed_number(random, u64::from_le_bytes(number), 8 * field.width);
    place.copy_from_slice(&new.to_le_bytes()[..field.width]);
}

/// Another number of `bits` bits: an extreme, a neighbour, or with one bit flipped.
pub fn changed_number(random: &mut Rng, old: u64, bits: usize) -> u64 {
    match random.u8(..8) {
        0..4 => EXTREMES[random.usize(..EXTREMES.len())],
        4 => old.wrapping_add(random.u64(1..=8)),
        5 => old.wrapping_sub(random.u64(1..=8)),
        6 => random.u64(..16),
        _ => old ^ 1 << random.usize(..bits),
    }
}

/// One change that knows nothing of the format.
fn change_bytes_once(random: &mut Rng, bytes: &mut Vec<u8>, donor: &[u8]) {
    let at = random.usize(..=bytes.len());
    let until = bytes.len().min(at + random.usize(..=64));
    match random.u8(..8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..until)),
        2 if bytes.len() + 64 < BYTES_MAX => {
            let copy = bytes[at..until].to_vec();
            let to = random.usize(..=bytes.len());
            bytes.splice(to..to, copy);
        }
        3 if bytes.len() + donor.len() < BYTES_MAX => {
            let from = random.usize(..=donor.len());
            let piece = &donor[from..donor.len().min(from + random.usize(..=128))];
            bytes.splice(at..until, piece.iter().copied());
        }
        4 => bytes[at..until].fill(random.u8(..)),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = if random.bool() { *byte ^ 1 << random.u8(..8) } else { random.u8(..) };
            }
        }
    }
}

/// One to three changes of `text`, which stays UTF-8. `words` are those of its language, `donor`
/// another text.
pub fn change_text(random: &mut Rng, text: &mut String, words: &[&str], donor: &str) {
    for _ in 0..random.usize(1..=3).min(random.usize(1..=3)) {
        let at = boundary(text, random.usize(..=text.len()));
        let length = if random.bool() { random.usize(..=4) } else { random.usize(..=64) };
        let until = boundary(text, text.len().min(at + length));
        let word = words[random.usize(..words.len())];
        match random.u8(..8) {
            0 => text.truncate(at),
            1 => text.replace_range(at..until, ""),
            2 => text.replace_range(at..until, word),
            3 if text.len() < BYTES_MAX => {
                let copy = text[at..until].to_string();
                let to = boundary(text, random.usize(..=text.len()));
                text.insert_str(to, &copy);
            }
            4 if text.len() < BYTES_MAX => {
                let from = boundary(donor, random.usize(..=donor.len()));
                let to = boundary(donor, donor.len().min(from + random.usize(..=128)));
                text.replace_range(at..until, &donor[from..to]);
            }
            5 => text.insert(at, random.char(..)),
            _ => text.insert_str(at, word),
        }
    }
}

/// The character boundary at or before a place.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
