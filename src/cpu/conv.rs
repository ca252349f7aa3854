//! The short convolution of a channel's values over neighbouring tokens, as Mamba and LFM2 have it.

/// Convolves rows of `width` values in place, as `Op::ShortConv` says. `state` holds the rows before them, the
/// oldest first, and then the last of them.
pub fn short_conv(rows: &mut [f32], width: usize, kernel: Option<&[f32]>, bias: Option<&[f32]>, state: &mut [f32]) {
    let taps = state.len() / width;
    let Some(kernel) = kernel else {
        return delay(rows, width, bias, state);
    };
    for row in rows.chunks_exact_mut(width) {
        for (channel, value) in row.iter_mut().enumerate() {
            let (past, own) = kernel[channel * (taps + 1)..][..taps + 1].split_at(taps);
            let newest = *value;
            let mut sum = 0.0;
            for (tap, weight) in past.iter().enumerate() {
                let at = tap * width + channel;
                sum += weight * state[at];
                state[at] = if tap + 1 < taps { state[at + width] } else { newest };
            }
            *value = sum + own[0] * newest + bias.map_or(0.0, |bias| bias[channel]);
        }
    }
}

/// Puts the row of as many tokens before as `state` holds in place of each.
fn delay(rows: &mut [f32], width: usize, bias: Option<&[f32]>, state: &mut [f32]) {
    for row in rows.chunks_exact_mut(width) {
        state[..width].swap_with_slice(row);
        state.rotate_left(width);
        if let Some(bias) = bias {
            super::vector::add(row, bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_convolution_agrees_with_its_definition_in_every_batch() {
        let (width, tokens) = (3, 9);
        for taps in 1..4 {
            let value = |i: usize, seed: f32| ((i as f32 + 1.0) * seed).sin();
            let rows: Vec<f32> = (0..width * tokens).map(|i| value(i, 0.7)).collect();
            let kernel: Vec<f32> = (0..width * (taps + 1)).map(|i| value(i, 1.3)).collect();
            let bias: Vec<f32> = (0..width).map(|i| value(i, 2.1)).collect();
            let truth = |token: usize, channel: usize| {
                let past = (0..=taps).filter(|tap| token + tap >= taps);
                let term = |tap: usize| {
                    let row = token + tap - taps;
                    f64::from(kernel[channel * (taps + 1) + tap]) * f64::from(rows[row * width + channel])
                };
                past.map(term).sum::<f64>() + f64::from(bias[channel])
            };
            for batch in [1, 2, 4, tokens] {
                let (mut out, mut state) = (rows.clone(), vec![0.0; width * taps]);
                for rows in out.chunks_mut(batch * width) {
                    short_conv(rows, width, Some(&kernel), Some(&bias), &mut state);
                }
                for (i, value) in out.iter().enumerate() {
                    let truth = truth(i / width, i % width);
                    assert!((truth - f64::from(*value)).abs() < 1e-5, "{taps} taps, batches of {batch}: {value}");
                }
                assert_eq!(state, rows[(tokens - taps) * width..], "the last inputs remain");
                let (mut out, mut state) = (rows.clone(), vec![0.0; width * taps]);
                out.chunks_mut(batch * width).for_each(|rows| short_conv(rows, width, None, None, &mut state));
                assert_eq!(out[taps * width..], rows[..(tokens - taps) * width], "without a kernel they are delayed");
                assert!(out[..taps * width].iter().all(|value| *value == 0.0));
                assert_eq!(state, rows[(tokens - taps) * width..], "the last inputs remain");
            }
        }
    }
}
