//! The gated delta rule: a matrix a head that forgets by a factor and corrects what it answers to a key,
//! <https://arxiv.org/abs/2412.06464>.

use super::vector;

/// The fields of `Op::DeltaRule`, for heads of `rows` values and `columns` keys.
pub struct DeltaRule<'a> {
    pub heads: usize,
    pub rows: usize,
    pub columns: usize,
    pub groups: usize,
    pub interleaved: bool,
    pub bias: &'a [f32],
    pub rate: &'a [f32],
}

impl DeltaRule<'_> {
    /// Moves `state` on by every token of the inputs, which are queries, keys, values, decays and betas. `scratch`
    /// has room for the decays of a head.
    pub fn run(&self, inputs: [&[f32]; 5], state: &mut [f32], scratch: &mut [f32], out: &mut [f32]) {
        let DeltaRule { heads, rows, columns, groups, .. } = *self;
        let [query, key, value, decay, beta] = inputs;
        let decays = self.bias.len() / heads;
        let factors = &mut scratch[..decays];
        for (token, out) in out.chunks_exact_mut(heads * rows).enumerate() {
            for (head, out) in out.chunks_exact_mut(rows).enumerate() {
                let group = if self.interleaved { head % groups } else { head / (heads / groups) };
                let shared = (token * groups + group) * columns;
                let (query, key) = (&query[shared..][..columns], &key[shared..][..columns]);
                let at = token * heads + head;
                let value = &value[at * rows..][..rows];
                let beta = 1.0 / (1.0 + (-beta[at]).exp());
                for (i, factor) in factors.iter_mut().enumerate() {
                    let x = decay[at * decays + i] + self.bias[head * decays + i];
                    *factor = softplus(x) * self.rate[head];
                }
                vector::exp(factors);
                let state = &mut state[head * rows * columns..][..rows * columns];
                for ((row, value), out) in state.chunks_exact_mut(columns).zip(value).zip(out) {
                    match *factors {
                        [factor] => vector::scale(row, factor),
                        _ => vector::multiply(row, factors),
                    }
                    let missing = beta * (value - vector::dot(row, key));
                    vector::axpy(row, missing, key);
                    *out = vector::dot(row, query);
                }
            }
        }
    }
}

/// ln(1 + eˣ), which is x where that is large.
pub fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_agrees_with_its_definition_in_every_batch() {
        let (heads, groups, rows, columns, tokens) = (4, 2, 5, 7, 9);
        let values =
            |count: usize, seed: f32| (0..count).map(|i| ((i as f32 + 1.0) * seed).sin()).collect::<Vec<f32>>();
        for (decays, interleaved) in [(1, false), (1, true), (columns, false)] {
            let query = values(tokens * groups * columns, 0.71);
            let key = values(tokens * groups * columns, 0.37);
            let value = values(tokens * heads * rows, 0.93);
            let decay = values(tokens * heads * decays, 1.7);
            let beta = values(tokens * heads, 2.3);
            let (bias, rate) = (values(heads * decays, 0.3), [-0.5, -1.0, -0.2, -2.0]);
            // By the definition, in f64.
            let mut truth = Vec::new();
            let mut s = vec![0.0f64; heads * rows * columns];
            for token in 0..tokens {
                for head in 0..heads {
                    let group = if interleaved { head % groups } else { head / 2 };
                    let value_of = |of: &[f32], i: usize| f64::from(of[(token * groups + group) * columns + i]);
                    let s = &mut s[head * rows * columns..][..rows * columns];
                    for (i, s) in s.iter_mut().enumerate() {
                        let d = i % columns % decays;
                        let x = f64::from(decay[(token * heads + head) * decays + d] + bias[head * decays + d]);
                        *s *= (f64::from(rate[head]) * (1.0 + x.exp()).ln()).exp();
                    }
                    let beta = 1.0 / (1.0 + (-f64::from(beta[token * heads + head])).exp());
                    for row in 0..rows {
                        let s = &mut s[row * columns..][..columns];
                        let answer: f64 = s.iter().enumerate().map(|(i, s)| s * value_of(&key, i)).sum();
                        let missing = beta * (f64::from(value[(token * heads + head) * rows + row]) - answer);
                        s.iter_mut().enumerate().for_each(|(i, s)| *s += missing * value_of(&key, i));
                        truth.push(s.iter().enumerate().map(|(i, s)| s * value_of(&query, i)).sum::<f64>());
                    }
                }
            }
            let rule = DeltaRule { heads, rows, columns, groups, interleaved, bias: &bias, rate: &rate };
            let mut first: Option<Vec<f32>> = None;
            for batch in [1, 4, tokens] {
                let (mut out, mut state) = (vec![f32::NAN; tokens * heads * rows], vec![0.0; heads * rows * columns]);
                for (n, out) in out.chunks_mut(batch * heads * rows).enumerate() {
                    let from = |of: &[f32]| of.len() / tokens * n * batch;
                    let inputs = [&query, &key, &value, &decay, &beta].map(|of| &of[from(of)..]);
                    rule.run(inputs, &mut state, &mut [0.0; 7], out);
                }
                for (truth, out) in truth.iter().zip(&out) {
                    assert!((truth - f64::from(*out)).abs() < 1e-5, "{decays} decays, batches of {batch}");
                }
                assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "the same to the bit");
            }
        }
    }
}
