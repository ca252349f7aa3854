//! The parser against files built by the writer: every type, every split, every fault.

use super::testing::{TensorEntry, Writer, sample};
use super::*;
use crate::error::{ChordError, ErrorCode, Result};

/// Feeds all bytes at once.
fn parse(bytes: &[u8], file_bytes: Option<u64>) -> Result<Header> {
    let mut parser = Parser::new(file_bytes);
    parser.feed(bytes)?;
    parser.finish()
}

/// Parses a whole file of known size and expects an error with this code whose message has `part`.
fn refused(bytes: &[u8], code: ErrorCode, part: &str) -> ChordError {
    let error = parse(bytes, Some(bytes.len() as u64)).expect_err(part);
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(part), "'{error}' does not contain '{part}'");
    error
}

/// Parses the file of a writer and expects `InvalidGguf`.
fn invalid(writer: Writer, part: &str) -> ChordError {
    refused(&writer.file(), ErrorCode::InvalidGguf, part)
}

/// The raw bytes of an array's type, element type and length.
fn array_head(element: u32, length: u64) -> Vec<u8> {
    [&9u32.to_le_bytes()[..], &element.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// An entry of a tensor of F32 without data.
fn entry(name: &str, dimensions: &[u64], offset: u64) -> TensorEntry {
    TensorEntry { name: name.into(), dimensions: dimensions.into(), ggml_type: 0, offset }
}

#[test]
fn sample_parses_to_what_was_written() {
    let writer = sample();
    let (file, header_bytes) = (writer.file(), writer.header().len());
    let header = parse(&file, Some(file.len() as u64)).unwrap();
    let metadata = &header.metadata;
    assert_eq!(metadata.len(), 24);
    assert_eq!(metadata.str("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.get("test.i16"), Some(&Value::I16(-700)));
    assert_eq!(metadata.get("test.i64"), Some(&Value::I64(-(1 << 40))));
    assert_eq!(metadata.get("test.f64"), Some(&Value::F64(0.1)));
    assert_eq!(metadata.get("test.u32s"), Some(&Value::Array(Array::U32(vec![1, 1 << 31]))));
    assert_eq!(metadata.get("test.bools"), Some(&Value::Array(Array::Bool(vec![true, false]))));
    let strings = metadata.strings("test.strings").unwrap();
    assert_eq!(strings.iter().collect::<Vec<_>>(), [&b"<s>"[..], b"", "▁hello".as_bytes()]);
    assert_eq!(strings.str(2).unwrap(), "▁hello");
    let data_start = header_bytes.next_multiple_of(32) as u64;
    let first = TensorInfo {
        name: "token_embd.weight".into(),
        dimensions: vec![32, 3],
        dtype: Dtype::Q8_0,
        part: 0,
        offset: data_start,
        bytes: 102,
    };
    assert_eq!(header.tensors[0], first);
    assert_eq!((header.tensors[1].offset, header.tensors[1].bytes), (data_start + 128, 20));
    assert_eq!(header.tensor("output_norm.weight"), Some(&header.tensors[1]));
    assert_eq!(header.tensors_by_name()["token_embd.weight"], &first);
}

#[test]
fn any_split_gives_the_same_header() {
    for version in [2, 3] {
        let mut writer = sample();
        writer.version = version;
        let (file, header_bytes) = (writer.file(), writer.header().len() as u64);
        let whole = parse(&file, None).unwrap();
        assert_eq!(whole.version, version);
        for piece in [1, 2, 3, 5, 7, 11, 64, 1000] {
            let mut parser = Parser::new(Some(file.len() as u64));
            let mut fed = 0;
            for bytes in file.chunks(piece) {
                let progress = parser.feed(bytes).unwrap();
                fed += bytes.len() as u64;
                let done = Progress::Done { header_bytes };
                assert_eq!(progress, if fed >= header_bytes { done } else { Progress::NeedMore });
            }
            let header = parser.finish().unwrap();
            assert_eq!((header.metadata, header.tensors), (whole.metadata.clone(), whole.tensors.clone()));
        }
    }
}

#[test]
fn other_versions_and_byte_orders_are_named() {
    for (version, part) in [(1, "version 1 "), (3u32.swap_bytes(), "big-endian"), (0, "version 0"), (4, "version 4")] {
        let mut writer = sample();
        writer.version = version;
        refused(&writer.file(), ErrorCode::UnsupportedGguf, part);
    }
}

#[test]
fn other_formats_are_recognised() {
    for (bytes, part) in [
        (&b"<!DOCTYPE html><html>"[..], "web page"),
        (b"\n\n<html>", "web page"),
        (b"{\"error\":1}", "JSON"),
        (b"version https://git-lfs", "Git LFS"),
        (b"\x10\x02\0\0\0\0\0\0{\"a\"", "safetensors"),
        (b"tjgg\x01\0\0\0", "before GGUF"),
        (b"\0\0\0\0\0\0\0\0", "empty"),
        (b"nonsense", "begins with \"nonsense\""),
    ] {
        refused(bytes, ErrorCode::InvalidGguf, part);
    }
}

#[test]
fn an_error_stays() {
    let mut parser = Parser::new(None);
    let first = parser.feed(b"<htm").unwrap_err();
    assert_eq!(parser.feed(b"GGUF").unwrap_err().message, first.message);
    assert_eq!(parser.finish().unwrap_err().message, first.message);
}

#[test]
fn counts_are_bounded() {
    for count in [1 << 63, u64::MAX, u64::MAX / 14, 1 << 40, 10_000] {
        let mut writer = sample();
        writer.key_count = Some(count);
        invalid(writer, "left for the header");
        let mut writer = sample();
        writer.tensor_count = Some(count);
        invalid(writer, "left for the header");
    }
    // Within the file's size, but more than any model has.
    for (keys, tensors, part) in [(KEYS_MAX + 1, 0, "4097 keys"), (0, TENSORS_MAX + 1, "8193 tensors")] {
        let mut writer = Writer::new();
        (writer.key_count, writer.tensor_count) = (Some(keys), Some(tensors));
        let error = parse(&writer.file(), None).unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn lengths_are_bounded() {
    for length in [1 << 63, u64::MAX, 1 << 40, 1000] {
        for element in [0u32, 4, 8, 12] {
            invalid(Writer::new().raw_pair(b"a", &array_head(element, length)), "array of key 'a'");
        }
        let string = [&8u32.to_le_bytes()[..], &length.to_le_bytes()].concat();
        invalid(Writer::new().raw_pair(b"a", &string), "value of key 'a'");
        let in_array = [array_head(8, 1), length.to_le_bytes().to_vec()].concat();
        invalid(Writer::new().raw_pair(b"a", &in_array), "string 0 of the array of key 'a'");
        // The length of the key itself.
        let mut file = Writer::new().pair("a", 1u8).file();
        file[24..32].copy_from_slice(&length.to_le_bytes());
        refused(&file, ErrorCode::InvalidGguf, "a key of the metadata");
        // Where the file's size is not known, the bound of the header holds.
        let unbounded = Writer::new().raw_pair(b"a", &string).file();
        let error = parse(&unbounded, None).unwrap_err();
        let part = if length > HEADER_BYTES_MAX { "left for the header" } else { "cut off" };
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn types_are_checked() {
    invalid(Writer::new().raw_pair(b"a", &array_head(9, 1)), "array of arrays");
    invalid(Writer::new().raw_pair(b"a", &array_head(13, 0)), "unknown value type 13");
    invalid(Writer::new().raw_pair(b"a", &77u32.to_le_bytes()), "unknown value type 77");
    let mut file = Writer::new().zeros("a.weight", &[8], Dtype::F32).file();
    let name = file.windows(8).position(|bytes| bytes == b"a.weight").unwrap();
    file[name] = 0xff;
    refused(&file, ErrorCode::InvalidGguf, "not valid UTF-8");
    for (ggml_type, name) in [(9, "Q8_1"), (5, "Q4_3"), (31, "Q4_0_4_4"), (38, "IQ4_NL_8_8"), (1000, "unknown")] {
        let tensor = TensorEntry { ggml_type, ..entry("a.weight", &[256], 0) };
        let error = refused(&Writer::new().entry(tensor).file(), ErrorCode::UnsupportedTensorType, name);
        assert_eq!(error.details["tensor"], "a.weight");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_with_a_warning() {
    let string = |bytes: &[u8]| [&8u32.to_le_bytes()[..], &(bytes.len() as u64).to_le_bytes(), bytes].concat();
    let mut writer = Writer::new()
        .pair("general.name", "café")
        .raw_pair(b"general.description", &string(b"caf\xe9\xff, \xf0\x9f\xa6\x99"))
        .raw_pair(b"k\xe9y", &[0, 0, 0, 0, 1]);
    for number in 0..100 {
        writer = writer.raw_pair(format!("note.{number}").as_bytes(), &string(b"\xc3"));
    }
    let header = parse(&writer.file(), None).unwrap();
    assert_eq!(header.metadata.str("general.name").unwrap(), "café");
    assert_eq!(header.metadata.str("general.description").unwrap(), "caf\u{fffd}\u{fffd}, 🦙");
    assert_eq!(header.metadata.u32("k\u{fffd}y").unwrap(), 1);
    assert_eq!(header.warnings.len(), 8);
    assert!(header.warnings[0].contains("'general.description'"), "{}", header.warnings[0]);
    assert!(header.warnings[1].contains("name of the key 'k\u{fffd}y'"), "{}", header.warnings[1]);
}

#[test]
fn duplicates_are_refused() {
    invalid(Writer::new().pair("a", 1u8).pair("b", 1u8).pair("a", "x"), "key 'a' occurs twice");
    let twice = Writer::new().zeros("a", &[8], Dtype::F32).zeros("b", &[8], Dtype::F32).zeros("a", &[8], Dtype::F32);
    invalid(twice, "tensor 'a' occurs twice");
}

#[test]
fn alignment_is_checked() {
    for alignment in [0u32, 1, 4, 13, 24, 1 << 21, 1 << 31] {
        let writer = Writer::new().pair("general.alignment", alignment).zeros("a", &[8], Dtype::F32);
        invalid(writer, "general.alignment");
    }
    for alignment in [8u32, 64, 4096] {
        let mut writer = Writer::new().pair("general.alignment", alignment);
        writer.alignment = alignment.into();
        let file = writer.zeros("a", &[8], Dtype::F32).zeros("b", &[8], Dtype::F32).file();
        let header = parse(&file, Some(file.len() as u64)).unwrap();
        let offsets: Vec<u64> = header.tensors.iter().map(|tensor| tensor.offset % u64::from(alignment)).collect();
        assert_eq!(offsets, [0, 0]);
    }
    let error = parse(&Writer::new().pair("general.alignment", "32").file(), None).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidModel);
}

#[test]
fn dimensions_are_checked() {
    for (dimensions, part) in [
        (&[][..], "0 dimensions"),
        (&[1, 1, 1, 1, 1], "5 dimensions"),
        (&[0], "empty dimension"),
        (&[8, 0, 8], "empty dimension"),
        (&[u64::MAX], "too large"),
        (&[8, -1i64 as u64], "too large"),
        (&[1 << 32, 1 << 32], "too large"),
        (&[1 << 21, 1 << 21, 1 << 22, 1], "too large"),
        // The values fit 63 bits, their bytes do not.
        (&[1 << 62], "too large"),
        (&[1 << 31, 1 << 31], "too large"),
    ] {
        let error = invalid(Writer::new().entry(entry("a.weight", dimensions, 0)), part);
        assert_eq!(error.details["tensor"], "a.weight");
    }
    // Sizes that wrap 32 bits to something small: 2^32 + 256 values, 2^30 + 8 values of 4 bytes.
    for (dimension, ggml_type) in [((1 << 32) + 256, 12), ((1 << 30) + 8, 0)] {
        let tensor = TensorEntry { ggml_type, ..entry("a.weight", &[dimension], 0) };
        invalid(Writer::new().entry(tensor), "the data of tensor 'a.weight' ends at byte");
    }
    let ragged = TensorEntry { ggml_type: 12, ..entry("a.weight", &[128, 2], 0) };
    let error = invalid(Writer::new().entry(ragged), "whole blocks of 256");
    assert_eq!(error.details["type"], "Q4_K");
}

#[test]
fn tensor_places_are_checked() {
    let placed = |first: u64, second: u64, part: &str| {
        let writer = Writer::new().entry(entry("a", &[16], first)).entry(entry("b", &[8], second));
        let error = parse(&writer.header(), Some(4096)).expect_err(part);
        assert!(error.code == ErrorCode::InvalidGguf && error.message.contains(part), "{error}");
    };
    placed(0, 0, "lies inside the tensor before it");
    placed(0, 32, "lies inside the tensor before it");
    placed(0, 96, "leaves a gap");
    placed(0, 65, "not a multiple of the alignment 32");
    placed(0, 1 << 63, "leaves a gap");
    placed(32, 96, "leaves a gap");
    placed(u64::MAX, u64::MAX - 31, "leaves a gap");
    // In another order than the data, which is sound.
    let swapped = Writer::new().entry(entry("b", &[8], 64)).entry(entry("a", &[16], 0));
    let header = parse(&swapped.file(), None).unwrap();
    assert_eq!(header.tensors[0].offset, header.tensors[1].offset + 64);
    // The last tensor may end without padding, but no byte earlier.
    let file_bytes = swapped.header().len().next_multiple_of(32) as u64 + 64 + 32;
    assert!(parse(&swapped.header(), Some(file_bytes)).is_ok());
    let error = parse(&swapped.header(), Some(file_bytes - 1)).unwrap_err();
    assert!(error.message.contains("ends at byte"), "{error}");
}

#[test]
fn offsets_beyond_4_gib_are_kept() {
    let writer = Writer::new().entry(entry("a", &[1 << 20, 1 << 12], 0)).entry(entry("b", &[8], 1 << 34));
    let header = parse(&writer.header(), Some(1 << 35)).unwrap();
    let data_start = writer.header().len().next_multiple_of(32) as u64;
    assert_eq!((header.tensors[0].bytes, header.tensors[1].offset), (1 << 34, data_start + (1 << 34)));
}

#[test]
fn truncation_at_every_byte_is_an_error() {
    let writer = sample();
    let (file, header_bytes) = (writer.file(), writer.header().len());
    // The last tensor's 20 bytes end before its padding does.
    let needed = file.len() - 12;
    for cut in 0..file.len() {
        let known = parse(&file[..cut], Some(cut as u64));
        assert_eq!(known.is_ok(), cut >= needed, "cut at {cut}");
        let mut parser = Parser::new(None);
        let progress = parser.feed(&file[..cut]).unwrap();
        assert_eq!(progress == Progress::NeedMore, cut < header_bytes, "cut at {cut}");
        if cut < header_bytes {
            let error = parser.finish().unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidGguf);
            assert_eq!(error.details["bytes"], cut, "{error}");
        }
    }
}

#[test]
fn typed_access_widens_and_refuses() {
    let file = sample().file();
    let mut metadata = parse(&file, None).unwrap().metadata;
    assert_eq!(metadata.u32("test.u8").unwrap(), 7);
    assert_eq!(metadata.u64("test.i32s").unwrap_err().code, ErrorCode::InvalidModel);
    assert_eq!(metadata.i32("test.i8").unwrap(), -7);
    assert_eq!(metadata.u64("test.u64").unwrap(), 1 << 40);
    assert_eq!(metadata.f32("test.u16").unwrap(), 700.0);
    assert_eq!(metadata.f32("test.f64").unwrap(), 0.1);
    assert!(metadata.bool("test.bool").unwrap());
    assert_eq!(metadata.opt_u32("absent").unwrap(), None);
    assert_eq!(metadata.i32s("test.i32s").unwrap(), [-1, 1, 3]);
    assert_eq!(metadata.i32s("test.u8s").unwrap(), [1, 2, 3]);
    assert_eq!(metadata.i32s("test.i64s").unwrap(), [-1]);
    assert_eq!(metadata.f32s("test.f32s").unwrap(), [0.5, -1000.0]);
    assert_eq!(metadata.f32s("test.i16s").unwrap(), [-1000.0]);
    for (error, part) in [
        (metadata.u32("absent").unwrap_err(), "no key 'absent'"),
        (metadata.u32("test.i8").unwrap_err(), "-7 (i8)"),
        (metadata.u32("test.u64").unwrap_err(), "1099511627776 (u64)"),
        (metadata.opt_str("test.u8").unwrap_err(), "must be a string"),
        (metadata.bool("test.u8").unwrap_err(), "must be a boolean"),
        (metadata.strings("test.i8s").unwrap_err(), "an array of 2 i8"),
        (metadata.i32s("test.u64s").unwrap_err(), "an array of 1 u64"),
        (metadata.i32s("test.f32s").unwrap_err(), "an array of integers"),
        (metadata.f32s("test.strings").unwrap_err(), "an array of numbers"),
    ] {
        assert_eq!(error.code, ErrorCode::InvalidModel);
        assert!(error.message.contains(part), "{error}");
        assert!(error.details.contains_key("key"));
    }
    assert_eq!(metadata.take_strings("test.i8s"), None);
    assert_eq!(metadata.take_strings("test.strings").unwrap().len(), 3);
    assert!(!metadata.contains("test.strings") && metadata.contains("test.i8s"));
}

#[test]
fn per_layer_values_are_scalars_or_arrays() {
    let writer = sample().pair("flags", Array::Bool(vec![true, false]));
    let metadata = parse(&writer.file(), None).unwrap().metadata;
    assert_eq!(metadata.u32_or_array("test.u8", 3).unwrap(), [7, 7, 7]);
    assert_eq!(metadata.u32_or_array("test.u16s", 2).unwrap(), [1, 1000]);
    assert_eq!(metadata.opt_u32_or_array("absent", 2).unwrap(), None);
    assert_eq!(metadata.opt_bool_or_array("flags", 2).unwrap().unwrap(), [true, false]);
    assert_eq!(metadata.opt_f32_or_array("test.f64s", 2).unwrap().unwrap(), [1.5, 2.5]);
    for (key, layers, part) in [
        ("test.u16s", 3, "2 elements for 3 layers"),
        ("test.i8s", 2, "integers from 0"),
        ("test.strings", 3, "integers from 0"),
        ("test.u8", 1 << 31, "layers"),
    ] {
        let error = metadata.u32_or_array(key, layers).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidModel);
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn json_shows_values_and_shortens_arrays() {
    let writer = sample().pair("long", Array::U8(vec![0; 65])).pair("nan", f32::NAN);
    let json = parse(&writer.file(), None).unwrap().metadata.to_json();
    assert_eq!(json["test.f32"].to_string(), "0.00001");
    assert_eq!(json["test.i64"], -(1i64 << 40));
    assert_eq!(json["test.strings"], serde_json::json!(["<s>", "", "▁hello"]));
    assert_eq!(json["long"], serde_json::json!({ "type": "u8", "length": 65 }));
    assert_eq!(json["nan"], serde_json::Value::Null);
}

#[test]
fn invalid_text_in_arrays_is_kept_as_bytes() {
    let bytes = [array_head(8, 1), 2u64.to_le_bytes().to_vec(), vec![0xff, 0x41]].concat();
    let metadata = parse(&Writer::new().raw_pair(b"a", &bytes).file(), None).unwrap().metadata;
    let strings = metadata.strings("a").unwrap();
    assert_eq!(strings.get(0), [0xff, 0x41]);
    assert_eq!(strings.str(0).unwrap_err().code, ErrorCode::InvalidModel);
}

/// Part `number` of `count` with one tensor.
fn part(number: u16, count: u16, tensor: &str) -> Header {
    let writer = Writer::new().pair("split.no", number).pair("split.count", count).pair("split.tensors.count", 2i32);
    parse(&writer.zeros(tensor, &[8], Dtype::F32).file(), None).unwrap()
}

#[test]
fn parts_are_joined() {
    let joined = join(vec![part(0, 2, "a"), part(1, 2, "b")]).unwrap();
    let found: Vec<_> = joined.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.part)).collect();
    assert_eq!(found, [("a", 0), ("b", 1)]);
    let single = parse(&sample().file(), None).unwrap();
    assert_eq!(join(vec![single.clone()]).unwrap().tensors, single.tensors);
    for (parts, message) in [
        (vec![part(0, 2, "a")], "has 2 parts; 1 are given"),
        (vec![part(1, 2, "b"), part(0, 2, "a")], "says that it is part 2"),
        (vec![part(0, 2, "a"), part(0, 2, "b")], "says that it is part 1"),
        (vec![part(0, 3, "a"), part(1, 3, "b"), part(2, 3, "c")], "3 tensors together; 2 are declared"),
        (vec![part(0, 2, "a"), single], "has 1 parts; 2 are given"),
        (vec![part(0, 2, "a"), part(1, 2, "a")], "occurs twice"),
        (vec![part(0, 1001, "a")], "at most 1000"),
    ] {
        let error = join(parts).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn shard_names_follow_the_first() {
    let names = shard_names("model-q4-00001-of-00003.gguf", 3).unwrap();
    let expected = ["model-q4-00001-of-00003.gguf", "model-q4-00002-of-00003.gguf", "model-q4-00003-of-00003.gguf"];
    assert_eq!(names, expected);
    assert_eq!(shard_names("model.gguf", 1).unwrap(), ["model.gguf"]);
    for (name, count) in [
        ("model.gguf", 3),
        ("model-00002-of-00003.gguf", 3),
        ("model-00001-of-00003.gguf", 4),
        ("model-00001-of-00003.gguf", u64::MAX),
        ("model-00001-of-01001.gguf", 1001),
        ("../model-00001-of-00003.gguf", 3),
        ("..\\model-00001-of-00003.gguf", 3),
        ("a?b-00001-of-00003.gguf", 3),
        ("%2e%2e-00001-of-00003.gguf", 3),
        ("a\u{0}-00001-of-00003.gguf", 3),
        (".hidden-00001-of-00003.gguf", 3),
    ] {
        assert_eq!(shard_names(name, count).unwrap_err().code, ErrorCode::InvalidModel, "{name} {count}");
    }
}

#[test]
fn real_files_parse() {
    let Some(folder) = testing::reference_data() else { return };
    let mut count = 0;
    for folder in ["real", "arch", "quant", "vocab"].map(|name| folder.join(name)) {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension != "gguf") {
                continue;
            }
            let bytes = std::fs::read(&file).unwrap();
            let whole = parse(&bytes, Some(bytes.len() as u64));
            let whole = whole.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let mut parser = Parser::new(Some(bytes.len() as u64));
            for piece in bytes.chunks(4093) {
                parser.feed(piece).unwrap();
            }
            let pieces = parser.finish().unwrap();
            assert_eq!((pieces.metadata, pieces.tensors), (whole.metadata, whole.tensors), "{}", file.display());
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} files");
}
