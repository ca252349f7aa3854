//! Gemma 3n's layer: several streams, of which attention and feed-forward compute the first, and the others follow it.
//! A row is all streams, one after the other.

use super::{Pass, Row, dot, gated, scaled, sum};
use crate::styles::*;

/// Streams, and the inner width of the narrow product beside attention, as llama.cpp has them for every file.
const STREAMS: usize = 4;
const LAUREL: usize = 64;

/// `row` made as long as another.
fn as_long_as(row: &[f64], other: &[f64]) -> Row {
    scaled(row, (dot(other, other) / dot(row, row)).sqrt())
}

fn stream(row: &[f64], number: usize) -> &[f64] {
    &row[number * WIDTH..][..WIDTH]
}

impl Pass<'_> {
    fn of_stream(&mut self, name: &str, number: usize, row: &[f64]) -> Row {
        let all = self.weights.get(name, &[WIDTH, WIDTH, STREAMS - 1], 0.0);
        super::multiplied(&all[(number - 1) * WIDTH * WIDTH..][..WIDTH * WIDTH], row)
    }

    /// All streams of an embedding.
    pub fn spread(&mut self, row: &Row) -> Row {
        let others = (1..STREAMS).map(|n| as_long_as(&self.of_stream("altup_proj.weight", n, row), row));
        std::iter::once(row.clone()).chain(others.collect::<Vec<Row>>()).flatten().collect()
    }

    /// One row of all streams.
    pub fn merged(&mut self, row: &Row) -> Row {
        let first = stream(row, 0).to_vec();
        let all = (1..STREAMS).fold(first.clone(), |all, n| {
            let made = self.of_stream("altup_unembd_proj.weight", n, stream(row, n));
            sum(&all, &as_long_as(&made, &first))
        });
        scaled(&all, 1.0 / STREAMS as f64)
    }

    fn modalities(&mut self, row: &Row) -> Row {
        let normed = scaled(&self.norm(&self.name("altup_router_norm"), row), 1.0 / WIDTH as f64);
        self.linear(&self.name("altup_router"), &normed, STREAMS, false).iter().map(|v| v.tanh()).collect()
    }

    fn guesses(&mut self, row: &Row) -> Row {
        let modalities = self.modalities(&stream(row, 0).to_vec());
        let factors = self.linear(&self.name("altup_predict_coef"), &modalities, STREAMS * STREAMS, false);
        let guess = |n: usize| {
            (0..STREAMS)
                .fold(stream(row, n).to_vec(), |all, m| sum(&all, &scaled(stream(row, m), factors[n * STREAMS + m])))
        };
        (0..STREAMS).flat_map(guess).collect()
    }

    /// All tokens through a layer.
    pub fn altup_layer(&mut self, rows: &mut [Row], tokens: &[u32]) {
        let guesses: Vec<Row> = rows.iter().map(|row| self.guesses(row)).collect();
        let name = self.name("attn_norm");
        let inputs: Vec<Row> = guesses.iter().map(|row| self.norm(&name, &stream(row, 0).to_vec())).collect();
        let attended = self.attention(&inputs);
        for (token, row) in rows.iter_mut().enumerate() {
            let (guess, input) = (&guesses[token], &inputs[token]);
            let narrow = self.linear(&self.name("laurel_l"), input, LAUREL, false);
            let laurel = self.linear(&self.name("laurel_r"), &narrow, WIDTH, false);
            let laurel = sum(&self.norm(&self.name("laurel_post_norm"), &laurel), input);
            let made = self.norm(&self.name("post_attention_norm"), &attended[token]);
            let joined = scaled(&sum(&sum(&made, stream(guess, 0)), &laurel), 0.5f64.sqrt());

            let input = self.norm(&self.name("ffn_norm"), &joined);
            let mut gate = self.linear(&self.name("ffn_gate"), &input, INNER, false);
            let excess = self.style.excess[self.layer];
            if excess > 0.0 {
                let mean = gate.iter().sum::<f64>() / INNER as f64;
                let deviation = (gate.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (INNER - 1) as f64).sqrt();
                gate = gate.iter().map(|v| (v - mean - excess * deviation).max(0.0)).collect();
            }
            let up = self.linear(&self.name("ffn_up"), &input, INNER, false);
            let fed = self.linear(&self.name("ffn_down"), &gated(Unit::Gelu, &gate, &up), WIDTH, false);
            let computed = sum(&self.norm(&self.name("post_ffw_norm"), &fed), &joined);

            let modalities = self.modalities(&computed);
            let factors = self.linear(&self.name("altup_correct_coef"), &modalities, STREAMS, false);
            let off = sum(&computed, &scaled(stream(guess, 0), -1.0));
            let corrected: Vec<Row> =
                (0..STREAMS).map(|n| sum(stream(guess, n), &scaled(&off, 1.0 + factors[n]))).collect();
            let scale = self.weights.get(&self.name("altup_correct_scale.weight"), &[WIDTH], 1.0);
            let first: Row = corrected[0].iter().zip(&scale).map(|(v, scale)| v * scale).collect();
            let own = self.own_input(tokens[token]);
            let width = self.style.own_inputs;
            let gate = self.linear(&self.name("inp_gate"), &first, width, false);
            let made = self.linear(&self.name("proj"), &gated(Unit::Gelu, &gate, &own), WIDTH, false);
            let made = self.norm(&self.name("post_norm"), &made);
            *row = corrected
                .iter()
                .enumerate()
                .flat_map(|(n, row)| if n == 0 { row.clone() } else { sum(row, &made) })
                .collect();
        }
    }
}
