//! The selective scan of Mamba and Mamba 2, <https://arxiv.org/abs/2312.00752>, <https://arxiv.org/abs/2405.21060>.

use super::delta::softplus;
use super::vector;

/// The fields of `Op::Scan`, for heads of `rows` values and `columns` of a key.
pub struct Scan<'a> {
    pub heads: usize,
    pub rows: usize,
    pub columns: usize,
    pub groups: usize,
    pub bias: Option<&'a [f32]>,
    pub rate: &'a [f32],
    pub skip: &'a [f32],
}

impl Scan<'_> {
    /// Moves `state` on by every token of the inputs, which are inputs, steps, keys and queries. `scratch` has room
    /// for a row of a matrix.
    pub fn run(&self, inputs: [&[f32]; 4], state: &mut [f32], scratch: &mut [f32], out: &mut [f32]) {
        let Scan { heads, rows, columns, groups, .. } = *self;
        let [input, step, key, query] = inputs;
        let rates = self.rate.len() / heads;
        let decays = &mut scratch[..rates];
        for (token, out) in out.chunks_exact_mut(heads * rows).enumerate() {
            for (head, out) in out.chunks_exact_mut(rows).enumerate() {
                let shared = (token * groups + head / (heads / groups)) * columns;
                let (key, query) = (&key[shared..][..columns], &query[shared..][..columns]);
                let at = token * heads + head;
                let step = softplus(step[at] + self.bias.map_or(0.0, |bias| bias[head]));
                decays.copy_from_slice(&self.rate[head * rates..][..rates]);
                vector::scale(decays, step);
                vector::exp(decays);
                let state = &mut state[head * rows * columns..][..rows * columns];
                let input = &input[at * rows..][..rows];
                for ((row, input), out) in state.chunks_exact_mut(columns).zip(input).zip(out) {
                    match *decays {
                        [decay] => vector::scale(row, decay),
                        _ => vector::multiply(row, decays),
                    }
                    vector::axpy(row, step * input, key);
                    *out = vector::dot(row, query) + self.skip[head] * input;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scan_agrees_with_its_definition_in_every_batch() {
        let (tokens, columns) = (9, 7);
        let values =
            |count: usize, seed: f32| (0..count).map(|i| ((i as f32 + 1.0) * seed).sin()).collect::<Vec<f32>>();
        // Mamba 2 has few heads with a rate each; Mamba 1 many of a single value, with a rate for each column.
        for (heads, rows, groups, rates) in [(4, 5, 2, 1), (6, 1, 1, columns)] {
            let (input, step) = (values(tokens * heads * rows, 0.71), values(tokens * heads, 0.37));
            let (key, query) = (values(tokens * groups * columns, 0.93), values(tokens * groups * columns, 1.7));
            let (bias, skip) = (values(heads, 2.3), values(heads, 0.3));
            let rate: Vec<f32> = values(heads * rates, 0.57).into_iter().map(|v| -v.abs()).collect();
            let mut truth = Vec::new();
            let mut s = vec![0.0f64; heads * rows * columns];
            for token in 0..tokens {
                for (head, row) in (0..heads * rows).map(|i| (i / rows, i % rows)) {
                    let step = (1.0 + f64::from(step[token * heads + head] + bias[head]).exp()).ln();
                    let x = f64::from(input[(token * heads + head) * rows + row]);
                    let mut sum = f64::from(skip[head]) * x;
                    for column in 0..columns {
                        let shared = (token * groups + head / (heads / groups)) * columns + column;
                        let s = &mut s[(head * rows + row) * columns + column];
                        *s *= (step * f64::from(rate[head * rates + column % rates])).exp();
                        *s += step * x * f64::from(key[shared]);
                        sum += *s * f64::from(query[shared]);
                    }
                    truth.push(sum);
                }
            }
            let scan = Scan { heads, rows, columns, groups, bias: Some(&bias), rate: &rate, skip: &skip };
            let mut first: Option<Vec<f32>> = None;
            for batch in [1, 4, tokens] {
                let (mut out, mut state) = (vec![f32::NAN; tokens * heads * rows], vec![0.0; heads * rows * columns]);
                for (n, out) in out.chunks_mut(batch * heads * rows).enumerate() {
                    let from = |of: &[f32]| of.len() / tokens * n * batch;
                    let inputs = [&input, &step, &key, &query].map(|of| &of[from(of)..]);
                    scan.run(inputs, &mut state, &mut [0.0; 7], out);
                }
                for (truth, out) in truth.iter().zip(&out) {
                    assert!((truth - f64::from(*out)).abs() < 1e-5, "{rates} rates, batches of {batch}");
                }
                assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "the same to the bit");
            }
        }
    }
}
