//! What RWKV keeps: a matrix a head that fades, forgets what stands under a key, and takes up a value under another,
//! <https://arxiv.org/abs/2503.14456>; and what a token answers to itself.

use super::vector;

/// The fields of `Op::Wkv`, for heads of `rows` values and `columns` keys.
pub struct Wkv<'a> {
    pub heads: usize,
    pub rows: usize,
    pub columns: usize,
    pub erase: Option<[&'a [f32]; 2]>,
    pub early: bool,
}

impl Wkv<'_> {
    /// Moves `state` on by every token of the inputs, which are queries, keys, values and decays. `scratch` has room for
    /// the decays of a head.
    pub fn run(&self, inputs: [&[f32]; 4], state: &mut [f32], scratch: &mut [f32], out: &mut [f32]) {
        let Wkv { heads, rows, columns, erase, early } = *self;
        let [query, key, value, decay] = inputs;
        let factors = &mut scratch[..columns];
        for (at, out) in out.chunks_exact_mut(rows).enumerate() {
            let keys = at * columns..(at + 1) * columns;
            let (query, key, value) = (&query[keys.clone()], &key[keys.clone()], &value[at * rows..][..rows]);
            factors.copy_from_slice(&decay[keys.clone()]);
            let erase = erase.map(|slots| slots.map(|values| &values[keys.clone()]));
            vector::exp(factors);
            let state = &mut state[at % heads * rows * columns..][..rows * columns];
            for ((row, value), out) in state.chunks_exact_mut(columns).zip(value).zip(out) {
                if early {
                    *out = vector::dot(row, query);
                }
                let erased = erase.map(|[removed, added]| (vector::dot(row, removed), added));
                vector::multiply(row, factors);
                if let Some((erased, added)) = erased {
                    vector::axpy(row, -erased, added);
                }
                vector::axpy(row, *value, key);
                if !early {
                    *out = vector::dot(row, query);
                }
            }
        }
    }
}

/// dst = (query · key) · value for each of the heads of `keys` and `values` values.
pub fn echo(query: &[f32], key: &[f32], value: &[f32], keys: usize, values: usize, out: &mut [f32]) {
    let products = query.chunks_exact(keys).zip(key.chunks_exact(keys));
    for ((query, key), (value, out)) in products.zip(value.chunks_exact(values).zip(out.chunks_exact_mut(values))) {
        out.copy_from_slice(value);
        vector::scale(out, vector::dot(query, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_agrees_with_its_definition_in_every_batch() {
        let (heads, rows, columns, tokens) = (3, 5, 7, 9);
        let values =
            |count: usize, seed: f32| (0..count).map(|i| ((i as f32 + 1.0) * seed).sin()).collect::<Vec<f32>>();
        let wide = tokens * heads * columns;
        let (query, key, value) = (values(wide, 0.71), values(wide, 0.37), values(tokens * heads * rows, 0.93));
        let decay: Vec<f32> = values(wide, 1.7).into_iter().map(|v| -v.abs()).collect();
        let [removed, added] =
            [1.3, 0.57].map(|seed| values(wide, seed).into_iter().map(|v| 0.3 * v).collect::<Vec<f32>>());
        for (erases, early) in [(false, false), (false, true), (true, false), (true, true)] {
            // By the definition, in f64.
            let mut truth = Vec::new();
            let mut states = vec![vec![vec![0.0f64; columns]; rows]; heads];
            for token in 0..tokens {
                for (head, state) in states.iter_mut().enumerate() {
                    let first = (token * heads + head) * columns;
                    let of = |values: &[f32], c: usize| f64::from(values[first + c]);
                    for (r, row) in state.iter_mut().enumerate() {
                        let answer =
                            |row: &[f64], to: &[f32]| -> f64 { (0..columns).map(|c| row[c] * of(to, c)).sum() };
                        let (before, erased) = (answer(row, &query), answer(row, &removed));
                        for (c, s) in row.iter_mut().enumerate() {
                            *s *= of(&decay, c).exp();
                            *s -= if erases { erased * of(&added, c) } else { 0.0 };
                            *s += f64::from(value[(token * heads + head) * rows + r]) * of(&key, c);
                        }
                        truth.push(if early { before } else { answer(row, &query) });
                    }
                }
            }
            let mut first: Option<Vec<f32>> = None;
            for batch in [1, 4, tokens] {
                let (mut out, mut state) = (vec![f32::NAN; tokens * heads * rows], vec![0.0; heads * rows * columns]);
                for (n, out) in out.chunks_mut(batch * heads * rows).enumerate() {
                    let cut = n * batch * heads * columns;
                    let erase = erases.then_some([&removed[cut..], &added[cut..]]);
                    let wkv = Wkv { heads, rows, columns, erase, early };
                    let inputs = [&query[cut..], &key[cut..], &value[n * batch * heads * rows..], &decay[cut..]];
                    wkv.run(inputs, &mut state, &mut [0.0; 7], out);
                }
                for (truth, out) in truth.iter().zip(&out) {
                    assert!(
                        (truth - f64::from(*out)).abs() < 1e-5,
                        "erases: {erases}, early: {early}, batches of {batch}"
                    );
                }
                assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "the same to the bit");
            }
        }
    }

    #[test]
    fn a_token_answers_itself_head_by_head() {
        let mut out = [0.0; 4];
        echo(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], &[1.0, 10.0, 2.0, 20.0], 2, 2, &mut out);
        assert_eq!(out, [17.0, 170.0, 106.0, 1060.0]);
    }
}
