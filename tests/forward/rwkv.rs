//! Layers of RWKV, written from the papers: <https://arxiv.org/abs/2404.05892>, <https://arxiv.org/abs/2503.14456>.

use super::{Pass, Row, dot, scaled, sum};
use crate::styles::*;

/// Inner width of the products that decays, rates and shares come from.
const NARROW: usize = 6;

fn times(a: &[f64], b: &[f64]) -> Row {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

fn minus(a: &[f64], b: &[f64]) -> Row {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn sigmoid(row: &[f64]) -> Row {
    row.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect()
}

fn tanh(row: &[f64]) -> Row {
    row.iter().map(|x| x.tanh()).collect()
}

impl Pass<'_> {
    /// All tokens through a layer: what it remembers, then its feed-forward.
    pub fn rwkv_layer(&mut self, rows: &mut [Row], form: Rwkv) {
        let [first, second] = self.style.names.map(|name| self.name(name));
        let inputs: Vec<Row> = rows.iter().map(|row| self.norm(&first, row)).collect();
        let mixed = match form {
            Rwkv::Six { .. } => self.wkv_6(&inputs, form),
            Rwkv::Seven { .. } => self.wkv_7(&inputs, form),
        };
        rows.iter_mut().zip(&mixed).for_each(|(row, mixed)| *row = sum(row, mixed));
        let inputs: Vec<Row> = rows.iter().map(|row| self.norm(&second, row)).collect();
        let is_kin = matches!(form, Rwkv::Six { kin: true, .. } | Rwkv::Seven { kin: true });
        for (token, row) in rows.iter_mut().enumerate() {
            let fed = match is_kin {
                true => self.feed_forward(&inputs[token]),
                false => self.channel_mix(&inputs, token, matches!(form, Rwkv::Six { .. })),
            };
            *row = sum(row, &fed);
            if self.style.halves_every > 0 && (self.layer + 1).is_multiple_of(self.style.halves_every) {
                *row = scaled(row, 0.5);
            }
        }
    }

    fn vector(&mut self, name: &str, mean: f32) -> Row {
        self.weights.get(&format!("{}.weight", self.name(name)), &[WIDTH], mean)
    }

    /// The token before, less the token.
    fn change(inputs: &[Row], token: usize) -> Row {
        match token {
            0 => scaled(&inputs[0], -1.0),
            _ => minus(&inputs[token - 1], &inputs[token]),
        }
    }

    fn channel_mix(&mut self, inputs: &[Row], token: usize, has_gate: bool) -> Row {
        let (x, change) = (&inputs[token], Self::change(inputs, token));
        let mut lerp = |name: &str| {
            let share = self.weights.get(&format!("{}.weight", self.name(name)), &[WIDTH, 1, 1], 0.5);
            sum(x, &times(&change, &share))
        };
        let row = lerp("channel_mix_lerp_k");
        let gate_row = has_gate.then(|| lerp("channel_mix_lerp_r"));
        let inner = self.linear(&self.name("channel_mix_key"), &row, INNER, false);
        let inner: Row = inner.iter().map(|v| v.max(0.0).powi(2)).collect();
        let made = self.linear(&self.name("channel_mix_value"), &inner, WIDTH, false);
        match gate_row {
            Some(row) => {
                let gate = self.linear(&self.name("channel_mix_receptance"), &row, WIDTH, false);
                times(&made, &sigmoid(&gate))
            }
            None => made,
        }
    }

    fn narrow(&mut self, [first, second]: [&str; 2], row: &Row, between: fn(&[f64]) -> Row) -> Row {
        let inner = self.linear(&self.name(first), row, NARROW, false);
        self.linear(&self.name(second), &between(&inner), WIDTH, false)
    }

    fn normed_heads(&mut self, row: &Row) -> Row {
        let [weight, bias] = [("weight", 1.0), ("bias", 0.0)]
            .map(|(part, mean)| self.weights.get(&self.name(&format!("time_mix_ln.{part}")), &[WIDTH], mean));
        let normed: Row = row
            .chunks(HEAD)
            .flat_map(|head| {
                let mean = head.iter().sum::<f64>() / HEAD as f64;
                let variance = head.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / HEAD as f64;
                head.iter().map(move |v| (v - mean) / (variance + 64e-5).sqrt()).collect::<Row>()
            })
            .collect();
        sum(&times(&normed, &weight), &bias)
    }

    fn wkv_7(&mut self, inputs: &[Row], form: Rwkv) -> Vec<Row> {
        let is_kin = matches!(form, Rwkv::Seven { kin: true });
        let parts = if is_kin { 5 } else { 6 };
        let shares = self.weights.get(&self.name("time_mix_lerp_fused.weight"), &[WIDTH, 1, 1, parts], 0.5);
        let mut states = vec![vec![vec![0.0; HEAD]; HEAD]; HEADS];
        let mut values = Vec::new();
        let mut outputs = Vec::new();
        for (token, x) in inputs.iter().enumerate() {
            let change = Self::change(inputs, token);
            let lerp = |part: usize| sum(x, &times(&change, &shares[part * WIDTH..][..WIDTH]));
            let query = self.linear(&self.name("time_mix_receptance"), &lerp(0), WIDTH, false);
            let decay = self.narrow(["time_mix_w1", "time_mix_w2"], &lerp(1), tanh);
            let decay = sum(&decay, &self.vector("time_mix_w0", 0.0));
            let kept: Row = sigmoid(&decay).iter().map(|v| (-(-0.5f64).exp() * v).exp()).collect();
            let key = self.linear(&self.name("time_mix_key"), &lerp(2), WIDTH, false);
            let mut value = self.linear(&self.name("time_mix_value"), &lerp(3), WIDTH, false);
            let share = self.narrow(["time_mix_v1", "time_mix_v2"], &lerp(3), |row| row.to_vec());
            let share = sigmoid(&sum(&share, &self.vector("time_mix_v0", 0.0)));
            match self.layer {
                0 => values.push(value.clone()),
                _ => value = sum(&value, &times(&share, &minus(&self.caches[0][0][token], &value))),
            }
            let rate = self.narrow(["time_mix_a1", "time_mix_a2"], &lerp(4), |row| row.to_vec());
            let rate = sigmoid(&sum(&rate, &self.vector("time_mix_a0", 0.0)));
            let under = times(&key, &self.vector("time_mix_k_k", 1.0));
            let under: Row = under.chunks(HEAD).flat_map(|head| scaled(head, 1.0 / dot(head, head).sqrt())).collect();
            let factors = self.vector("time_mix_k_a", 1.0);
            let key: Row = (0..WIDTH).map(|i| key[i] * (1.0 + (rate[i] - 1.0) * factors[i])).collect();
            let bonus = self.vector("time_mix_r_k", 1.0);
            let mut answer = Row::new();
            for (head, state) in states.iter_mut().enumerate() {
                let span = head * HEAD..(head + 1) * HEAD;
                for (row, v) in state.iter_mut().zip(&value[span.clone()]) {
                    let old = dot(row, &under[span.clone()]);
                    *row = times(row, &kept[span.clone()]);
                    *row = minus(row, &scaled(&times(&under[span.clone()], &rate[span.clone()]), old));
                    *row = sum(row, &scaled(&key[span.clone()], *v));
                    answer.push(dot(row, &query[span.clone()]));
                }
            }
            if !is_kin {
                answer = self.normed_heads(&answer);
            }
            for (i, answer) in answer.iter_mut().enumerate() {
                let span = i / HEAD * HEAD..(i / HEAD + 1) * HEAD;
                let own = times(&times(&query[span.clone()], &key[span.clone()]), &bonus[span]);
                *answer += value[i] * own.iter().sum::<f64>();
            }
            if !is_kin {
                let gate = self.narrow(["time_mix_g1", "time_mix_g2"], &lerp(5), sigmoid);
                answer = times(&answer, &gate);
            }
            outputs.push(self.linear(&self.name("time_mix_output"), &answer, WIDTH, false));
        }
        self.caches.push([values, Vec::new()]);
        outputs
    }

    fn wkv_6(&mut self, inputs: &[Row], form: Rwkv) -> Vec<Row> {
        let Rwkv::Six { kin: is_kin, fused } = form else { unreachable!("of another form") };
        let mut states = vec![vec![vec![0.0; HEAD]; HEAD]; HEADS];
        let mut outputs = Vec::new();
        for (token, x) in inputs.iter().enumerate() {
            let change = Self::change(inputs, token);
            let share = self.weights.get(&self.name("time_mix_lerp_x.weight"), &[WIDTH, 1, 1], 0.5);
            let row = sum(x, &times(&change, &share));
            let inner = tanh(&self.linear(&self.name("time_mix_w1"), &row, 5 * NARROW, false));
            let all = self.weights.get(&self.name("time_mix_w2.weight"), &[NARROW, WIDTH, 5], 0.0);
            let mut parts = ["w", "k", "v", "r", "g"].into_iter().enumerate().map(|(part, name)| {
                let matrix = &all[part * WIDTH * NARROW..][..WIDTH * NARROW];
                let made = super::multiplied(matrix, &inner[part * NARROW..][..NARROW]);
                let fixed = match fused {
                    true => {
                        let all = self.weights.get(&self.name("time_mix_lerp_fused.weight"), &[WIDTH, 1, 1, 5], 0.5);
                        all[part * WIDTH..][..WIDTH].to_vec()
                    }
                    false => {
                        let name = self.name(&format!("time_mix_lerp_{name}.weight"));
                        self.weights.get(&name, &[WIDTH, 1, 1], 0.5)
                    }
                };
                sum(x, &times(&change, &sum(&made, &fixed)))
            });
            let [w, k, v, r, g]: [Row; 5] = std::array::from_fn(|_| parts.next().expect("five parts"));
            drop(parts);
            let decay = self.narrow(["time_mix_decay_w1", "time_mix_decay_w2"], &w, tanh);
            let decay = sum(&decay, &self.vector("time_mix_decay", 0.0));
            let kept: Row = decay.iter().map(|v| (-v.exp()).exp()).collect();
            let heads = if is_kin { KV_HEADS } else { HEADS };
            let spread =
                |row: Row| -> Row { (0..WIDTH).map(|i| row[i / HEAD / (HEADS / heads) * HEAD + i % HEAD]).collect() };
            let mut key = spread(self.linear(&self.name("time_mix_key"), &k, heads * HEAD, is_kin));
            let value = spread(self.linear(&self.name("time_mix_value"), &v, heads * HEAD, is_kin));
            let query = self.linear(&self.name("time_mix_receptance"), &r, WIDTH, is_kin);
            let gate = self.linear(&self.name("time_mix_gate"), &g, WIDTH, false);
            let gate = if is_kin { sigmoid(&gate) } else { times(&gate, &sigmoid(&gate)) };
            if is_kin {
                key = minus(&key, &times(&key, &kept));
            }
            let bonus = match is_kin {
                true => Row::new(),
                false => self.weights.get(&self.name("time_mix_first.weight"), &[HEAD, HEADS], 0.5),
            };
            let mut answer = Row::new();
            for (head, state) in states.iter_mut().enumerate() {
                let span = head * HEAD..(head + 1) * HEAD;
                for (row, v) in state.iter_mut().zip(&value[span.clone()]) {
                    let before = row.clone();
                    *row = sum(&times(row, &kept[span.clone()]), &scaled(&key[span.clone()], *v));
                    answer.push(match is_kin {
                        true => dot(row, &query[span.clone()]) / (HEAD as f64).sqrt(),
                        false => {
                            let own = scaled(&times(&key[span.clone()], &bonus[span.clone()]), *v);
                            dot(&sum(&before, &own), &query[span.clone()])
                        }
                    });
                }
            }
            if !is_kin {
                answer = self.normed_heads(&answer);
            }
            outputs.push(self.linear(&self.name("time_mix_output"), &times(&answer, &gate), WIDTH, false));
        }
        outputs
    }
}
