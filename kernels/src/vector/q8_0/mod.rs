//! Rows of values as 8-bit integers: all integers of the row, then for each 32 of them a scale in half precision, filled
//! up to a whole word. A value is its integer times the scale, as in llama.cpp's Q8_0. Rows are as wide as some blocks.

pub mod scalar;
#[cfg(target_family = "wasm")]
mod simd128;

#[cfg(not(target_family = "wasm"))]
pub use scalar::*;
#[cfg(target_family = "wasm")]
pub use simd128::*;

use half::f16;

/// Values that share a scale.
pub const BLOCK: usize = 32;

/// Bytes of a row of `width` values.
pub const fn row_bytes(width: usize) -> usize {
    width + 4 * width.div_ceil(2 * BLOCK)
}

/// The integers of a row of `width` values, and its scales.
fn parts(row: &[u8], width: usize) -> (&[i8], &[u8]) {
    let (integers, scales) = row.split_at(width);
    (bytemuck::cast_slice(integers), scales)
}

/// The scale of a block.
fn scale(scales: &[u8], block: usize) -> f32 {
    f16::from_le_bytes([scales[2 * block], scales[2 * block + 1]]).to_f32()
}

/// What values are divided by, the largest of a block being given, and the scale that goes to the row: it is finite.
fn divisor(largest: f32) -> (f32, f16) {
    let scale = largest / 127.0;
    let scale = if scale > f16::MAX.to_f32() { f16::MAX.to_f32() } else { scale };
    (if scale > 0.0 { 1.0 / scale } else { 0.0 }, f16::from_f32(scale))
}

/// The values of a row.
#[cfg(any(test, feature = "gpu"))]
pub fn dequantise(row: &[u8], values: &mut [f32]) {
    let (integers, scales) = parts(row, values.len());
    for (i, (value, integer)) in values.iter_mut().zip(integers).enumerate() {
        *value = scale(scales, i / BLOCK) * f32::from(*integer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 96;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| ((i as f32 + 1.0) * seed).sin() * 3.0).collect()
    }

    fn quantised(values: &[f32]) -> Vec<u8> {
        let mut row = vec![0xaa; row_bytes(values.len())];
        scalar::quantise(values, &mut row);
        row
    }

    fn back(row: &[u8]) -> Vec<f32> {
        let mut values = vec![f32::NAN; WIDTH];
        dequantise(row, &mut values);
        values
    }

    #[test]
    fn values_are_within_half_a_step_and_those_of_a_row_are_kept() {
        let mut source = values(WIDTH, 0.731);
        source[32..64].fill(0.0);
        let row = quantised(&source);
        let kept = back(&row);
        for (block, kept) in source.chunks(BLOCK).zip(kept.chunks(BLOCK)) {
            let largest = block.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            // Half of an integer, and what the scale's rounding moves 127 of them.
            let most = largest / 127.0 * (0.5 + 127.0 / 2048.0) + f32::MIN_POSITIVE;
            assert!(block.iter().zip(kept).all(|(value, kept)| (value - kept).abs() <= most));
        }
        assert_eq!(quantised(&kept), row, "what a row holds is held exactly");
    }

    #[test]
    fn scales_are_finite_and_those_that_vanish_leave_zeros() {
        for (value, kept) in [(1e38, 65504.0 * 127.0), (-1e38, -65504.0 * 128.0), (1e-40, 0.0), (-0.0, 0.0)] {
            assert!(back(&quantised(&[value; WIDTH])).iter().all(|found| *found == kept), "{value:e}");
        }
    }

    #[test]
    fn products_and_sums_are_those_of_the_values() {
        let rows: Vec<Vec<u8>> = (0..5).map(|position| quantised(&values(WIDTH, 0.1 + position as f32))).collect();
        let query = values(2 * WIDTH + 3, 1.377);
        let weights = values(2 * 7, 0.917);
        let (mut scores, mut sums) = (weights.clone(), query.clone());
        scalar::dots(&rows.concat(), WIDTH, &query, &[WIDTH + 2, 1], 0.5, &mut scores, 7);
        scalar::add_weighted(&rows.concat(), WIDTH, &weights, 7, &mut sums, &[WIDTH + 2, 1]);
        for (index, first) in [WIDTH + 2, 1].into_iter().enumerate() {
            for (position, row) in rows.iter().enumerate() {
                let terms = query[first..].iter().zip(back(row)).map(|(q, k)| f64::from(*q) * f64::from(k));
                assert!((terms.sum::<f64>() * 0.5 - f64::from(scores[7 * index + position])).abs() < 1e-4);
            }
            for i in 0..WIDTH {
                let terms =
                    rows.iter().zip(&weights[7 * index..]).map(|(row, w)| f64::from(*w) * f64::from(back(row)[i]));
                let sum = f64::from(query[first + i]) + terms.sum::<f64>();
                assert!((sum - f64::from(sums[first + i])).abs() < 1e-4);
            }
        }
        assert_eq!(scores[5..7], weights[5..7], "nothing is written behind the positions");
    }
}
