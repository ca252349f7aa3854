//! The parser of the header, on files of the writer with their numbers and bytes changed.

use crate::allocation::within;
use crate::mutate::{Field, change_bytes};
use crate::runner::Target;
use fastrand::Rng;
use std::collections::HashSet;
use wasm_chord::gguf::testing::{Writer, sample};
use wasm_chord::gguf::{Array, Header, Parser, Progress, Value, join, part_count, shard_names};
use wasm_chord::quant::Dtype;
use wasm_chord::{ErrorCode, Result};

/// Sound files to change.
const SEEDS: usize = 256;

/// A sound file, or the beginning of one.
struct Seed {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

pub struct Gguf {
    seeds: Vec<Seed>,
}

impl Gguf {
    pub fn new() -> Gguf {
        let mut random = Rng::with_seed(0);
        let files = (0..SEEDS).map(|number| if number == 0 { sample() } else { random_writer(&mut random) });
        Gguf { seeds: files.map(|writer| Seed { bytes: writer.file(), fields: fields(&writer.header()) }).collect() }
    }
}

impl Target for Gguf {
    fn generate(&self, random: &mut Rng) -> Vec<u8> {
        let seed = &self.seeds[random.usize(..SEEDS)];
        let donor = &self.seeds[random.usize(..SEEDS)];
        let mut bytes = seed.bytes.clone();
        change_bytes(random, &mut bytes, &seed.fields, &donor.bytes);
        bytes
    }

    fn run(&self, input: &[u8], random: &mut Rng) -> bool {
        let file_bytes = match random.u8(..4) {
            0 => None,
            1 => Some(random.u64(..)),
            _ => Some(input.len() as u64),
        };
        let whole = within(4 * input.len() + (1 << 20), || parse(input, file_bytes, input.len().max(1)));
        if random.u8(..8) == 0 {
            let piece = random.usize(1..=40);
            let pieces = within(4 * input.len() + (1 << 20), || parse(input, file_bytes, piece));
            assert_same(&whole, &pieces);
        }
        match whole {
            Ok(header) => {
                check(&header, file_bytes);
                true
            }
            Err(error) => {
                assert_ne!(error.code, ErrorCode::Internal, "{error}");
                false
            }
        }
    }
}

/// Parses in pieces.
fn parse(input: &[u8], file_bytes: Option<u64>, piece: usize) -> Result<Header> {
    let mut parser = Parser::new(file_bytes);
    for bytes in input.chunks(piece) {
        if parser.feed(bytes)? != Progress::NeedMore {
            break;
        }
    }
    parser.finish()
}

/// Whether the bytes arrive together or in pieces makes no difference but in how many of the first
/// bytes of a file that is no GGUF an error shows.
fn assert_same(whole: &Result<Header>, pieces: &Result<Header>) {
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.tensors, pieces.tensors);
            // As text, because NaN is not equal to itself.
            assert_eq!(format!("{:?}", whole.metadata), format!("{:?}", pieces.metadata));
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole.code, pieces.code, "{whole} | {pieces}"),
        _ => panic!("the bytes together give {whole:?}, in pieces {pieces:?}"),
    }
}

/// What holds for every header that is accepted.
fn check(header: &Header, file_bytes: Option<u64>) {
    let mut names = HashSet::new();
    let mut spans = Vec::new();
    for tensor in &header.tensors {
        assert!(names.insert(&tensor.name), "the name {:?} occurs twice", tensor.name);
        assert!((1..=4).contains(&tensor.dimensions.len()));
        let values: u128 = tensor.dimensions.iter().map(|&dimension| u128::from(dimension)).product();
        let (block_values, block_bytes) = (tensor.dtype.block_values() as u128, tensor.dtype.block_bytes() as u128);
        assert_eq!(tensor.dimensions[0] as u128 % block_values, 0);
        assert_eq!(u128::from(tensor.bytes), values / block_values * block_bytes);
        let end = u128::from(tensor.offset) + u128::from(tensor.bytes);
        assert!(end <= u128::from(file_bytes.unwrap_or(1 << 63)), "{tensor:?} passes the end");
        spans.push((u128::from(tensor.offset), end));
    }
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "tensors overlap: {spans:?}");
    read_metadata(header);
    let joined = join(vec![header.clone()]);
    assert_eq!(joined.is_ok(), joined.is_ok_and(|joined| joined.tensors == header.tensors));
}

/// Uses every kind of access on every key.
fn read_metadata(header: &Header) {
    let metadata = &header.metadata;
    serde_json::to_string(&metadata.to_json()).expect("metadata can be shown");
    for (key, value) in metadata.iter() {
        let integer = value.as_integer();
        assert_eq!(metadata.u32(key).ok().map(i128::from), integer.filter(|&value| u32::try_from(value).is_ok()));
        assert_eq!(metadata.u64(key).ok().map(i128::from), integer.filter(|&value| u64::try_from(value).is_ok()));
        assert_eq!(metadata.f32(key).is_ok(), value.as_f64().is_some());
        let layers = metadata.array(key).map_or(3, Array::len).min(4096);
        let _ = (metadata.u32_or_array(key, layers), metadata.opt_bool_or_array(key, layers));
        if let Ok(strings) = metadata.strings(key) {
            let bytes: usize = strings.iter().map(<[u8]>::len).sum();
            assert_eq!(bytes, strings.total_bytes());
        }
        if let Ok(text) = metadata.str(key) {
            let _ = shard_names(text, metadata.u64("split.count").unwrap_or(2));
        }
    }
    let _ = part_count(header);
}

/// A sound file with some keys and tensors.
fn random_writer(random: &mut Rng) -> Writer {
    let mut writer = Writer::new();
    writer.version = random.u32(2..=3);
    if random.u8(..4) == 0 {
        let alignment = 8u32 << random.u32(..4);
        writer = writer.pair("general.alignment", alignment);
        writer.alignment = alignment.into();
    }
    if random.u8(..8) == 0 {
        writer = writer.pair("split.no", 0u16).pair("split.count", 2u16).pair("split.tensors.count", 3i32);
    }
    for number in 0..random.usize(..8) {
        writer = writer.pair(&format!("key.{number}"), random_value(random));
    }
    for number in 0..random.usize(..5) {
        let dtype = Dtype::ALL[random.usize(..Dtype::ALL.len())];
        let mut dimensions: Vec<u64> = (0..random.usize(1..=3)).map(|_| random.u64(1..3)).collect();
        dimensions[0] *= dtype.block_values() as u64;
        writer = writer.zeros(&format!("blk.{number}.weight"), &dimensions, dtype);
    }
    writer
}

/// A value of any type.
fn random_value(random: &mut Rng) -> Value {
    let length = random.usize(..4);
    match random.u8(..14) {
        0 => random.u8(..).into(),
        1 => random.i8(..).into(),
        2 => random.u16(..).into(),
        3 => random.i16(..).into(),
        4 => random.u32(..).into(),
        5 => random.i32(..).into(),
        6 => random.f32().into(),
        7 => random.bool().into(),
        8 => random.u64(..).into(),
        9 => random.f64().into(),
        10 => "model-00001-of-00002.gguf".into(),
        11 => Array::U32((0..length as u32).collect()).into(),
        12 => Array::F64(vec![0.25; length]).into(),
        _ => ["<unk>", "", "▁a", "b"][..length].into(),
    }
}

/// Bytes of a number of each type of value; 0 for strings and arrays.
const WIDTHS: [usize; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const STRING: usize = 8;
const ARRAY: usize = 9;

/// Finds the numbers in a sound header.
struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl Walker<'_> {
    /// Notes a number and gives it.
    fn number(&mut self, width: usize) -> usize {
        let mut number = [0; 8];
        number[..width].copy_from_slice(&self.bytes[self.at..self.at + width]);
        self.fields.push(Field { at: self.at, width });
        self.at += width;
        u64::from_le_bytes(number) as usize
    }

    /// Notes the length of a string and passes it.
    fn string(&mut self) {
        let length = self.number(8);
        self.at += length;
    }

    /// Passes a value of a type.
    fn value(&mut self, kind: usize) {
        match kind {
            STRING => self.string(),
            ARRAY => {
                let kind = self.number(4);
                (0..self.number(8)).for_each(|_| self.value(kind));
            }
            _ => {
                self.number(WIDTHS[kind]);
            }
        }
    }
}

/// The numbers in a sound header.
pub fn fields(header: &[u8]) -> Vec<Field> {
    let mut walker = Walker { bytes: header, at: 4, fields: Vec::new() };
    walker.number(4);
    let (tensors, keys) = (walker.number(8), walker.number(8));
    for _ in 0..keys {
        walker.string();
        let kind = walker.number(4);
        walker.value(kind);
    }
    for _ in 0..tensors {
        walker.string();
        let dimensions = walker.number(4);
        for _ in 0..dimensions {
            walker.number(8);
        }
        walker.number(4);
        walker.number(8);
    }
    assert_eq!(walker.at, header.len(), "the walk ends with the header");
    walker.fields
}
