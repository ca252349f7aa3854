//! Decoding against the values that Python's `gguf` package computes from the same bytes.

use super::*;

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn fnv(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn blocks_decode_as_the_reference_does() {
    let mut seen = Vec::new();
    for line in include_str!("reference.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let dtype = Dtype::ALL.into_iter().find(|dtype| dtype.name() == words[0]).unwrap();
        let mut values = vec![0.0; dtype.block_values()];
        dequantise_block(dtype, &bytes_of(words[1]), &mut values);
        let some = [values[0], values[values.len() / 2], *values.last().unwrap()];
        assert_eq!(some.map(f64::from), [3, 4, 5].map(|at| words[at].parse::<f64>().unwrap()), "{}", words[0]);
        assert_eq!(format!("{:016x}", fnv(&values)), words[2], "{}", words[0]);
        seen.push(dtype);
    }
    seen.dedup();
    assert_eq!(seen.len(), Dtype::ALL.len() - 4, "all but the floats and Q8_K");
}

#[test]
fn floats_decode() {
    let decode = |dtype, bytes: &[u8]| {
        let mut value = [0.0];
        dequantise_block(dtype, bytes, &mut value);
        value[0]
    };
    assert_eq!(decode(Dtype::F32, &1.25f32.to_le_bytes()), 1.25);
    assert_eq!(decode(Dtype::F16, &[0x00, 0xbe]), -1.5);
    assert_eq!(decode(Dtype::F16, &[0x01, 0x00]), 2f32.powi(-24));
    assert_eq!(decode(Dtype::BF16, &[0xc0, 0x3f]), 1.5);
    assert!(decode(Dtype::F16, &[0x01, 0x7c]).is_nan());
}

#[test]
fn q8_k_is_a_scale_times_bytes() {
    let mut block = vec![0; 292];
    block[..4].copy_from_slice(&0.5f32.to_le_bytes());
    for i in 0..256 {
        block[4 + i] = i as u8;
    }
    let mut values = [0.0; 256];
    dequantise_block(Dtype::Q8_K, &block, &mut values);
    for (i, value) in values.into_iter().enumerate() {
        assert_eq!(value, 0.5 * f32::from(i as u8 as i8));
    }
}

/// A scale that is not finite must neither panic nor vanish.
#[test]
fn scales_that_are_not_finite_show() {
    for dtype in Dtype::ALL {
        let mut block = vec![0x11; dtype.block_bytes()];
        match dtype.format().scales {
            Scales::Single => block[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            Scales::Brain => block[..2].copy_from_slice(&[0xc0, 0x7f]),
            Scales::Half(_) | Scales::Nibbles(_) => random::set_halves(dtype, &mut block, || 0x7e00),
            // All of these are finite.
            Scales::Exponent | Scales::Small(_) => continue,
        }
        let mut values = vec![0.0; dtype.block_values()];
        dequantise_block(dtype, &block, &mut values);
        assert!(values.iter().all(|value| value.is_nan()), "{}", dtype.name());
    }
}
