//! The parser of the header keeps its memory bound, 4 times the bytes fed and 1 MiB, whatever the
//! header declares, and needs time linear in them. Its own test binary, because the measure is a
//! global allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wasm_chord::gguf::{Header, KEYS_MAX, Parser, Progress, TENSORS_MAX};
use wasm_chord::{ErrorCode, Result};

/// Counts the bytes that are allocated on each thread. `realloc` is left at its default, which
/// allocates the new block before it frees the old: the strictest way to count.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.get().saturating_add(layout.size());
        NOW.set(now);
        PEAK.set(PEAK.get().max(now));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.set(NOW.get().saturating_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Parses in pieces of `piece` bytes and checks the memory bound against what was fed.
fn parse(bytes: &[u8], file_bytes: Option<u64>, piece: usize, what: &str) -> Result<Header> {
    let before = NOW.get();
    PEAK.set(before);
    let mut fed = 0;
    let outcome = parse_pieces(bytes, file_bytes, piece, &mut fed);
    let (peak, bound) = (PEAK.get() - before, 4 * fed + (1 << 20));
    assert!(peak <= bound, "{what}: {peak} bytes allocated for {fed} fed, more than {bound}");
    outcome
}

/// Feeds pieces until the header is complete or refused, and counts the bytes fed.
fn parse_pieces(bytes: &[u8], file_bytes: Option<u64>, piece: usize, fed: &mut usize) -> Result<Header> {
    let mut parser = Parser::new(file_bytes);
    for bytes in bytes.chunks(piece) {
        *fed += bytes.len();
        if parser.feed(bytes)? != Progress::NeedMore {
            break;
        }
    }
    parser.finish()
}

/// A header's first 24 bytes.
fn preamble(tensors: u64, keys: u64) -> Vec<u8> {
    [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
}

/// Adds a length and bytes.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// Element types of arrays and the bytes of their elements; 8 are strings, here empty ones.
const ELEMENTS: [(u32, usize); 12] =
    [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (8, 8), (10, 8), (11, 8), (12, 8)];

/// A header whose only value is an array of `declared` elements, and `held` zero bytes of it.
fn array(element: u32, declared: u64, held: usize) -> Vec<u8> {
    let mut out = preamble(0, 1);
    string(&mut out, b"a");
    out.extend([9u32.to_le_bytes(), element.to_le_bytes()].concat());
    out.extend(declared.to_le_bytes());
    out.resize(out.len() + held, 0);
    out
}

/// Names of two bytes: the number in base 120 as ASCII, a crowd as tight as names can be.
fn name(number: u64) -> String {
    [number / 120, number % 120].map(|digit| char::from(digit as u8)).iter().collect()
}

/// As many of the smallest values and tensors as are allowed, without the counts.
fn crowd(keys: u64, tensors: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..keys {
        string(&mut out, name(number).as_bytes());
        out.extend([0, 0, 0, 0, 1]);
    }
    for number in 0..tensors {
        string(&mut out, name(number).as_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(8u64.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend((number * 32).to_le_bytes());
    }
    out
}

#[test]
fn declared_lengths_allocate_nothing() {
    for (element, _) in ELEMENTS {
        for declared in [1 << 63, u64::MAX, 1 << 61, 1 << 40, 1 << 27] {
            let bytes = array(element, declared, 0);
            for file_bytes in [Some(bytes.len() as u64), Some(1 << 40), None] {
                let error = parse(&bytes, file_bytes, usize::MAX, "declared").unwrap_err();
                assert_eq!(error.code, ErrorCode::InvalidGguf);
            }
        }
    }
}

#[test]
fn counts_allocate_nothing() {
    for count in [1 << 63, u64::MAX, 1 << 40, KEYS_MAX.min(TENSORS_MAX)] {
        for (tensors, keys) in [(count, 0), (0, count), (count, count)] {
            let error = parse(&preamble(tensors, keys), None, usize::MAX, "counts").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidGguf);
        }
    }
}

#[test]
fn arrays_grow_with_what_arrives() {
    const HELD: usize = (4 << 20) + 8;
    for (element, element_bytes) in ELEMENTS {
        let whole = array(element, (HELD / element_bytes) as u64, HELD);
        for piece in [1000, 65_536, usize::MAX] {
            parse(&whole, Some(whole.len() as u64), piece, "a whole array").unwrap();
            // Many more elements declared than ever arrive.
            let cut = array(element, 1 << 24, HELD);
            parse(&cut, None, piece, "an array cut off").unwrap_err();
        }
    }
}

#[test]
fn crowds_of_small_entries_keep_the_bound() {
    for (keys, tensors) in [(KEYS_MAX, 0), (0, TENSORS_MAX), (KEYS_MAX, TENSORS_MAX)] {
        let file = [preamble(tensors, keys), crowd(keys, tensors)].concat();
        for piece in [1, 1000, usize::MAX] {
            parse(&file, None, piece, "a crowd").unwrap();
        }
        // Cut off at many places, of which some follow right after a table has grown.
        for cut in (1..100).map(|percent| file.len() * percent / 100) {
            let outcome = parse(&file[..cut], None, 1000, "a crowd cut off");
            assert!(outcome.is_err_and(|error| error.message.contains("cut off")));
        }
    }
}

#[test]
fn duplicates_among_many_are_found() {
    let mut entries = crowd(0, TENSORS_MAX);
    let last = entries.len() - 34;
    // The last tensor takes the name of the first.
    entries[last + 8..last + 10].copy_from_slice(b"\0\0");
    let error = parse(&[preamble(TENSORS_MAX, 0), entries].concat(), None, 1000, "duplicates").unwrap_err();
    assert!(error.message.contains("'\\0\\0' occurs twice"), "{error}");
}

/// Would take hours if a feed began again at the start of the header or of the value.
#[test]
fn single_bytes_take_linear_time() {
    const HELD: usize = 8 << 20;
    let bytes = array(8, (HELD / 8) as u64, HELD);
    parse(&bytes, Some(bytes.len() as u64), 1, "single bytes").unwrap();
    let mut long = preamble(0, 1);
    string(&mut long, b"a");
    long.extend(8u32.to_le_bytes());
    string(&mut long, &[b'x'; HELD]);
    parse(&long, None, 1, "single bytes of a string").unwrap();
}
