//! The scalar products against sums in f64 over dequantised weights.

use super::*;
use crate::quant::dequantise_row;
use crate::quant::random::{Noise, random_rows};

/// Shapes: rows below, at and over whole groups; one block and several.
fn shapes(dtype: Dtype) -> impl Iterator<Item = (usize, usize)> {
    let block = dtype.block_values().max(4);
    [(1, block), (7, block), (8, 3 * block), (21, 2 * block)].into_iter()
}

#[test]
fn repacked_rows_read_as_before() {
    let mut noise = Noise::new(1);
    for dtype in Dtype::ALL {
        for (rows, columns) in shapes(dtype) {
            let file = random_rows(dtype, columns, rows, &mut noise);
            let mut bytes = file.clone();
            repack(dtype, columns, &mut bytes, &mut Vec::new());
            assert_eq!(layout::interleaving(dtype).is_some() && rows >= 8, bytes != file, "{}", dtype.name());
            let matrix = Matrix { dtype, columns, rows, bytes: &bytes };
            let (mut expected, mut got) = (vec![0.0; columns], vec![0.0; columns]);
            for (index, file_row) in file.chunks_exact(file.len() / rows).enumerate() {
                dequantise_row(dtype, file_row, &mut expected);
                row(&matrix, index, &mut got);
                assert_eq!(expected, got, "{} row {index}", dtype.name());
            }
        }
    }
}

/// Rounding to int8 adds at most half a step to every activation, so that a product is off by at most
/// Σ |w| · scale / 2; the sum's own rounding in f32 is far below.
#[test]
fn products_are_within_the_rounding_of_activations() {
    let mut noise = Noise::new(2);
    for dtype in Dtype::ALL {
        for (rows, columns) in shapes(dtype) {
            let file = random_rows(dtype, columns, rows, &mut noise);
            let mut bytes = file.clone();
            repack(dtype, columns, &mut bytes, &mut Vec::new());
            let matrix = Matrix { dtype, columns, rows, bytes: &bytes };
            let source: Vec<f32> = (0..3 * columns).map(|_| noise.normal()).collect();
            let mut activations = Activations::new(columns.next_multiple_of(32), 3);
            let input = if wants_quantised(dtype) {
                activations.quantise(&source, columns, 3);
                Input::Quantised(&activations)
            } else {
                Input::F32(&source)
            };
            let (first, stride) = (rows / 3, rows + 1);
            let mut dst = vec![7.0; 3 * stride];
            matmul(&matrix, first, rows - first, input, 1..3, &mut dst, stride);
            assert!(dst[..stride].iter().all(|&value| value == 7.0), "column 0 was not asked for");
            let mut weights = vec![0.0; columns];
            for index in first..rows {
                row(&matrix, index, &mut weights);
                for column in 1..3 {
                    let values = &source[column * columns..][..columns];
                    let (expected, bound) = product_f64(&weights, values, wants_quantised(dtype));
                    let got = f64::from(dst[column * stride + index - first]);
                    assert!((got - expected).abs() <= bound, "{}: {got} for {expected}", dtype.name());
                }
            }
            let before = dst.clone();
            matmul_add(&matrix, first, rows - first, input, 1..3, &mut dst, stride);
            for (at, (after, before)) in dst.iter().zip(before).enumerate() {
                let inside = at >= stride && at % stride < rows - first;
                assert_eq!(*after, if inside { 2.0 * before } else { 7.0 });
            }
        }
    }
}

/// The product, and how far off the kernels may be.
fn product_f64(weights: &[f32], values: &[f32], quantised: bool) -> (f64, f64) {
    let (mut sum, mut bound, mut size) = (0.0, 0.0, 0.0);
    for (weights, values) in weights.chunks(16).zip(values.chunks(16)) {
        let maximum = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (&w, &v) in weights.iter().zip(values) {
            let (w, v) = (f64::from(w), f64::from(v));
            sum += w * v;
            size += (w * v).abs();
            bound += w.abs() * f64::from(maximum) / 254.0;
        }
    }
    (sum, if quantised { bound + 1e-4 * size } else { 1e-6 * size })
}

/// Groups of 16 normal values have 2.1e-5 of their power as noise, groups of 32 would have 2.8e-5.
#[test]
fn noise_of_rounding_is_small() {
    let mut noise = Noise::new(3);
    let columns = 4096;
    let source: Vec<f32> = (0..columns).map(|_| noise.normal()).collect();
    let mut activations = Activations::new(columns, 1);
    activations.quantise(&source, columns, 1);
    let column = activations.column(0);
    let (mut error, mut power) = (0.0, 0.0);
    for (i, &value) in source.iter().enumerate() {
        let pair = &column[i / 32];
        let rounded = f64::from(pair.scales[i % 32 / 16]) * f64::from(pair.value(i % 32));
        error += (rounded - f64::from(value)).powi(2);
        power += f64::from(value).powi(2);
    }
    assert!(error / power < 2.4e-5, "{}", error / power);
}

#[test]
fn activations_that_are_not_finite_show_in_the_product() {
    let mut noise = Noise::new(4);
    let mut bytes = random_rows(Dtype::Q4_0, 64, 8, &mut noise);
    repack(Dtype::Q4_0, 64, &mut bytes, &mut Vec::new());
    let matrix = Matrix { dtype: Dtype::Q4_0, columns: 64, rows: 8, bytes: &bytes };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut source = vec![0.5; 64];
        source[40] = bad;
        let mut activations = Activations::new(64, 1);
        activations.quantise(&source, 64, 1);
        let mut dst = [0.0; 8];
        matmul(&matrix, 0, 8, Input::Quantised(&activations), 0..1, &mut dst, 8);
        assert!(dst.iter().all(|value| !value.is_finite()), "{bad}");
    }
}

#[test]
fn zeros_and_subnormals_quantise_to_zero() {
    let mut activations = Activations::new(32, 1);
    activations.quantise(&[1e-40; 32], 32, 1);
    let pair = &activations.column(0)[0];
    assert!(pair.words.iter().all(|&value| value == 0) && pair.scales == [0.0; 2]);
}
