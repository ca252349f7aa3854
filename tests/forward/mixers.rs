//! What stands beside attention or in its place, written from the papers: short convolutions, selective scans, and the
//! gated delta rule.

use super::{EPSILON, Pass, Row, dot, halved, multiplied, normalised, scaled, sum, turned};
use crate::styles::*;

/// A matrix, row after row.
type Matrix = Vec<Row>;

impl Pass<'_> {
    /// What a mixer gives for each of all tokens.
    pub fn mix(&mut self, mixer: Mixer, inputs: &[Row]) -> Vec<Row> {
        match mixer {
            Mixer::Attention => self.attention(inputs),
            Mixer::ShortConv => self.gated_convolution(inputs),
            Mixer::Mamba { norms } => self.mamba(inputs, norms),
            Mixer::Mamba2 { norm } => self.mamba2(inputs, norm),
            Mixer::Plamo => self.plamo(inputs),
            Mixer::Latent { absorbed, narrow_query } => self.latent(inputs, absorbed, narrow_query),
            Mixer::Kda => self.kda(inputs),
            Mixer::DeltaNet(form) => self.delta_net(inputs, form),
            Mixer::Product => {
                let name = self.name("attn_output");
                inputs.iter().map(|input| self.linear(&name, input, WIDTH, false)).collect()
            }
        }
    }

    /// Each channel's values convolved with those of the tokens before.
    fn convolved(&mut self, name: &str, inputs: &[Row], has_bias: bool) -> Vec<Row> {
        let width = inputs[0].len();
        let name = self.name(name);
        let kernel = self.weights.get(&format!("{name}.weight"), &[KERNEL, width], 0.0);
        let bias = if has_bias { self.weights.get(&format!("{name}.bias"), &[width], 0.0) } else { vec![0.0; width] };
        let output = |(token, _): (usize, &Row)| -> Row {
            let taps =
                |channel: usize| (0..KERNEL.min(token + 1)).map(move |back| (KERNEL - 1 - back, token - back, channel));
            let value = |channel: usize| -> f64 {
                taps(channel).map(|(tap, at, channel)| kernel[channel * KERNEL + tap] * inputs[at][channel]).sum()
            };
            (0..width).map(|channel| value(channel) + bias[channel]).collect()
        };
        inputs.iter().enumerate().map(output).collect()
    }

    fn gated_convolution(&mut self, inputs: &[Row]) -> Vec<Row> {
        let name = self.name("shortconv.in_proj");
        let parts: Vec<Row> = inputs.iter().map(|input| self.linear(&name, input, 3 * WIDTH, false)).collect();
        let gated: Vec<Row> = parts.iter().map(|row| product(&row[..WIDTH], &row[2 * WIDTH..])).collect();
        let convolved = self.convolved("shortconv.conv", &gated, false);
        let name = self.name("shortconv.out_proj");
        let outputs = convolved.iter().zip(&parts);
        outputs.map(|(row, parts)| self.linear(&name, &product(row, &parts[WIDTH..2 * WIDTH]), WIDTH, false)).collect()
    }

    fn mamba(&mut self, inputs: &[Row], norms: MambaNorms) -> Vec<Row> {
        let name = self.name("ssm_in");
        let both: Vec<Row> = inputs.iter().map(|input| self.linear(&name, input, 2 * SSM_INNER, false)).collect();
        let xs: Vec<Row> = both.iter().map(|row| row[..SSM_INNER].to_vec()).collect();
        let xs: Vec<Row> = self.convolved("ssm_conv1d", &xs, true).into_iter().map(|row| silu(&row)).collect();
        let rate = self.weights.get(&self.name("ssm_a"), &[SSM_STATE, SSM_INNER], -1.5);
        let skip = self.weights.get(&self.name("ssm_d"), &[SSM_INNER], 1.0);
        let mut states: Vec<Row> = vec![vec![0.0; SSM_STATE]; SSM_INNER];
        let mut outputs = Vec::new();
        for (x, both) in xs.iter().zip(&both) {
            let all = self.linear(&self.name("ssm_x"), x, SSM_HEADS + 2 * SSM_STATE, false);
            let (step, rest) = all.split_at(SSM_HEADS);
            let (key, query) = rest.split_at(SSM_STATE);
            let [step, key, query] = [("dt", step), ("b", key), ("c", query)].map(|(name, row)| {
                let normed = normalised(row, Norm::Rms);
                match norms {
                    MambaNorms::None => row.to_vec(),
                    MambaNorms::Bare => normed,
                    MambaNorms::Weighted => {
                        let weight =
                            self.weights.get(&self.name(&format!("ssm_{name}_norm.weight")), &[row.len()], 1.0);
                        product(&normed, &weight)
                    }
                }
            });
            let steps = self.linear(&self.name("ssm_dt"), &step, SSM_INNER, true);
            let mut output = Row::new();
            for (channel, state) in states.iter_mut().enumerate() {
                let step = softplus(steps[channel]);
                for (i, s) in state.iter_mut().enumerate() {
                    *s = *s * (step * rate[channel * SSM_STATE + i]).exp() + step * x[channel] * key[i];
                }
                output.push(dot(state, &query) + skip[channel] * x[channel]);
            }
            let gated = product(&output, &silu(&both[SSM_INNER..]));
            outputs.push(self.linear(&self.name("ssm_out"), &gated, WIDTH, false));
        }
        outputs
    }

    fn mamba2(&mut self, inputs: &[Row], has_norm: bool) -> Vec<Row> {
        let shared = SSM_GROUPS * SSM_STATE;
        let mixed = SSM_INNER + 2 * shared;
        let name = self.name("ssm_in");
        let all: Vec<Row> =
            inputs.iter().map(|input| self.linear(&name, input, SSM_INNER + mixed + SSM_HEADS, false)).collect();
        let before: Vec<Row> = all.iter().map(|row| row[SSM_INNER..][..mixed].to_vec()).collect();
        let convolved = self.convolved("ssm_conv1d", &before, true);
        let bias = self.weights.get(&self.name("ssm_dt.bias"), &[SSM_HEADS], 0.0);
        let rate = self.weights.get(&self.name("ssm_a"), &[SSM_HEADS], -1.0);
        let skip = self.weights.get(&self.name("ssm_d"), &[SSM_HEADS], 1.0);
        let dim = SSM_INNER / SSM_HEADS;
        let mut states: Vec<Matrix> = vec![vec![vec![0.0; SSM_STATE]; dim]; SSM_HEADS];
        let mut outputs = Vec::new();
        for (row, all) in convolved.iter().zip(&all) {
            let row = silu(row);
            let mut output = Row::new();
            for (head, state) in states.iter_mut().enumerate() {
                let group = head / (SSM_HEADS / SSM_GROUPS);
                let key = &row[SSM_INNER + group * SSM_STATE..][..SSM_STATE];
                let query = &row[SSM_INNER + shared + group * SSM_STATE..][..SSM_STATE];
                let step = softplus(all[SSM_INNER + mixed + head] + bias[head]);
                for (state, x) in state.iter_mut().zip(&row[head * dim..][..dim]) {
                    *state = sum(&scaled(state, (step * rate[head]).exp()), &scaled(key, step * x));
                    output.push(dot(state, query) + skip[head] * x);
                }
            }
            let mut gated = product(&output, &silu(&all[..SSM_INNER]));
            if has_norm {
                let run = SSM_INNER / SSM_GROUPS;
                let weight = self.weights.get(&self.name("ssm_norm.weight"), &[run, SSM_GROUPS], 1.0);
                let normed: Row = gated.chunks(run).flat_map(|run| normalised(run, Norm::Rms)).collect();
                gated = product(&normed, &weight);
            }
            outputs.push(self.linear(&self.name("ssm_out"), &gated, WIDTH, false));
        }
        outputs
    }

    fn plamo(&mut self, inputs: &[Row]) -> Vec<Row> {
        let (dim, rank) = (SSM_INNER / SSM_HEADS, 64);
        let name = self.name("ssm_in");
        let both: Vec<Row> = inputs.iter().map(|input| self.linear(&name, input, 2 * SSM_INNER, false)).collect();
        let half = |row: &Row, first: usize| -> Row {
            row.chunks(2 * dim).flat_map(|head| head[first..][..dim].to_vec()).collect()
        };
        let xs: Vec<Row> = both.iter().map(|row| half(row, dim)).collect();
        let xs = self.convolved("ssm_conv1d", &xs, false);
        let rate = self.weights.get(&self.name("ssm_a"), &[SSM_HEADS], -1.0);
        let skip = self.weights.get(&self.name("ssm_d"), &[SSM_HEADS], 1.0);
        let mut states: Vec<Matrix> = vec![vec![vec![0.0; SSM_STATE]; dim]; SSM_HEADS];
        let mut outputs = Vec::new();
        for (x, both) in xs.iter().zip(&both) {
            let x = silu(x);
            let all = self.linear(&self.name("ssm_x"), &x, 2 * SSM_STATE + rank, false);
            let mut normed = |name: &str, row: &[f64]| {
                let weight = self.weights.get(&self.name(&format!("ssm_{name}_norm")), &[row.len()], 1.0);
                product(&normalised(row, Norm::Rms), &weight)
            };
            let key = normed("b", &all[..SSM_STATE]);
            let query = normed("c", &all[SSM_STATE..][..SSM_STATE]);
            let step = normed("dt", &all[2 * SSM_STATE..]);
            let steps = self.linear(&self.name("ssm_dt"), &step, SSM_HEADS, true);
            let mut output = Row::new();
            for (head, state) in states.iter_mut().enumerate() {
                let step = softplus(steps[head]);
                for (state, x) in state.iter_mut().zip(&x[head * dim..][..dim]) {
                    *state = sum(&scaled(state, (step * rate[head]).exp()), &scaled(&key, step * x));
                    output.push(dot(state, &query) + skip[head] * x);
                }
            }
            let gated = product(&output, &silu(&half(both, 0)));
            outputs.push(self.linear(&self.name("ssm_out"), &gated, WIDTH, false));
        }
        outputs
    }

    /// A head's matrix, of those in one tensor, times a row.
    fn of_head(&mut self, name: &str, head: usize, row: &[f64], rows: usize) -> Row {
        let all = self.weights.get(&self.name(name), &[row.len(), rows, HEADS], 0.0);
        multiplied(&all[head * rows * row.len()..][..rows * row.len()], row)
    }

    fn latent(&mut self, inputs: &[Row], absorbed: bool, narrow_query: bool) -> Vec<Row> {
        let plain = LATENT_KEY - LATENT_ROTATED;
        let turn = |row: &mut [f64], position: usize| match self.style.positions {
            Positions::Neighbours(dims) => turned(row, dims, false, position),
            Positions::Halves(dims) => turned(row, dims, true, position),
            _ => {}
        };
        let mut queries: Vec<Row> = Vec::new();
        let (mut narrow, mut rotated, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (position, input) in inputs.iter().enumerate() {
            let mut query = match narrow_query {
                true => {
                    let row = self.linear(&self.name("attn_q_a"), input, QUERY_RANK, false);
                    let row = self.norm(&self.name("attn_q_a_norm"), &row);
                    self.linear(&self.name("attn_q_b"), &row, HEADS * LATENT_KEY, false)
                }
                false => self.linear(&self.name("attn_q"), input, HEADS * LATENT_KEY, false),
            };
            query.chunks_mut(LATENT_KEY).for_each(|head| turn(&mut head[plain..], position));
            queries.push(query);
            let both = self.linear(&self.name("attn_kv_a_mqa"), input, RANK + LATENT_ROTATED, false);
            let latent = self.norm(&self.name("attn_kv_a_norm"), &both[..RANK].to_vec());
            let mut end = both[RANK..].to_vec();
            turn(&mut end, position);
            rotated.push(halved(&end));
            if !absorbed {
                let all = self.linear(&self.name("attn_kv_b"), &latent, HEADS * (plain + LATENT_VALUE), false);
                let heads = all.chunks(plain + LATENT_VALUE);
                keys.push(heads.clone().map(|head| halved(&head[..plain].to_vec())).collect::<Vec<Row>>());
                values.push(heads.map(|head| halved(&head[plain..].to_vec())).collect::<Vec<Row>>());
            }
            narrow.push(halved(&latent));
        }
        let mut outputs = Vec::new();
        for (position, query) in queries.iter().enumerate() {
            let mut output = Row::new();
            for (head, query) in query.chunks(LATENT_KEY).enumerate() {
                let inner = match absorbed {
                    true => self.of_head("attn_k_b.weight", head, &query[..plain], RANK),
                    false => query[..plain].to_vec(),
                };
                let score = |at: usize| {
                    let key = if absorbed { &narrow[at] } else { &keys[at][head] };
                    (dot(&inner, key) + dot(&query[plain..], &rotated[at])) / (LATENT_KEY as f64).sqrt()
                };
                let weights: Row = (0..=position).map(|at| score(at).exp()).collect();
                let total: f64 = weights.iter().sum();
                let mut mixed = vec![0.0; if absorbed { RANK } else { LATENT_VALUE }];
                for (at, weight) in weights.iter().enumerate() {
                    let value = if absorbed { &narrow[at] } else { &values[at][head] };
                    mixed = sum(&mixed, &scaled(value, weight / total));
                }
                match absorbed {
                    true => output.extend(self.of_head("attn_v_b.weight", head, &mixed, LATENT_VALUE)),
                    false => output.extend(mixed),
                }
            }
            outputs.push(self.linear(&self.name("attn_output"), &output, WIDTH, false));
        }
        outputs
    }

    fn kda(&mut self, inputs: &[Row]) -> Vec<Row> {
        let width = HEADS * SSM_STATE;
        let [queries, keys, values] = ["q", "k", "v"].map(|part| {
            let name = self.name(&format!("attn_{part}"));
            let rows: Vec<Row> = inputs.iter().map(|input| self.linear(&name, input, width, false)).collect();
            let convolved = self.convolved(&format!("ssm_conv1d_{part}"), &rows, false);
            convolved.iter().map(|row| silu(row)).collect::<Vec<Row>>()
        });
        let bias = self.weights.get(&self.name("ssm_dt.bias"), &[width], 0.0);
        let rate = self.weights.get(&self.name("ssm_a"), &[HEADS], -1.0);
        let norm = self.weights.get(&self.name("ssm_norm.weight"), &[SSM_STATE], 1.0);
        let mut states: Vec<Matrix> = vec![vec![vec![0.0; SSM_STATE]; SSM_STATE]; HEADS];
        let mut outputs = Vec::new();
        for (token, input) in inputs.iter().enumerate() {
            let [decays, gates] = ["ssm_f", "ssm_g"].map(|name| {
                let narrow = self.linear(&self.name(&format!("{name}_a")), input, SSM_STATE, false);
                self.linear(&self.name(&format!("{name}_b")), &narrow, width, false)
            });
            let betas = self.linear(&self.name("ssm_beta"), input, HEADS, false);
            let mut output = Row::new();
            for (head, state) in states.iter_mut().enumerate() {
                let of = |row: &Row| row[head * SSM_STATE..][..SSM_STATE].to_vec();
                let unit = |row: Row| scaled(&row, 1.0 / (dot(&row, &row) + EPSILON).sqrt());
                let query = scaled(&unit(of(&queries[token])), 1.0 / (SSM_STATE as f64).sqrt());
                let key = unit(of(&keys[token]));
                let kept: Row =
                    sum(&of(&decays), &of(&bias)).iter().map(|x| (softplus(*x) * rate[head]).exp()).collect();
                let beta = 1.0 / (1.0 + (-betas[head]).exp());
                let mut answer = Row::new();
                for (state, value) in state.iter_mut().zip(of(&values[token])) {
                    *state = product(state, &kept);
                    let missing = beta * (value - dot(state, &key));
                    *state = sum(state, &scaled(&key, missing));
                    answer.push(dot(state, &query));
                }
                output.extend(product(&normalised(&answer, Norm::Rms), &norm));
            }
            let gated: Row = output.iter().zip(&gates).map(|(v, gate)| v / (1.0 + (-gate).exp())).collect();
            outputs.push(self.linear(&self.name("attn_output"), &gated, WIDTH, false));
        }
        outputs
    }

    fn delta_net(&mut self, inputs: &[Row], form: DeltaForm) -> Vec<Row> {
        let (keys, values, share) = (SSM_GROUPS * SSM_STATE, SSM_HEADS * SSM_STATE, SSM_HEADS / SSM_GROUPS);
        let [mut mixed, mut gates, mut betas, mut decays] = [(); 4].map(|()| Vec::<Row>::new());
        for input in inputs {
            let mut project = |name: &str, rows: usize| self.linear(&self.name(name), input, rows, false);
            let (all, gate) = match form {
                DeltaForm::OfGroups { fused: true } => {
                    // Query, key, values and gates of each group side by side.
                    let all = project("ssm_in", 2 * (keys + values));
                    let [k, v] = [SSM_STATE, share * SSM_STATE];
                    let part = |first: usize, run: usize| -> Row {
                        all.chunks(2 * (k + v)).flat_map(|group| group[first..][..run].to_vec()).collect()
                    };
                    ([part(0, k), part(k, k), part(2 * k, v)].concat(), part(2 * k + v, v))
                }
                _ => (project("attn_qkv", 2 * keys + values), project("attn_gate", values)),
            };
            let (beta, decay) = match form {
                DeltaForm::Interleaved => (project("ssm_beta", SSM_HEADS), project("ssm_alpha", SSM_HEADS)),
                DeltaForm::OfGroups { .. } => {
                    let both = project("ssm_ba", 2 * SSM_HEADS);
                    let half = |first: usize| -> Row {
                        both.chunks(2 * share).flat_map(|group| group[first..][..share].to_vec()).collect()
                    };
                    (half(0), half(share))
                }
            };
            mixed.push(all);
            gates.push(gate);
            betas.push(beta);
            decays.push(decay);
        }
        let convolved = self.convolved("ssm_conv1d", &mixed, false);
        let bias = self.weights.get(&self.name("ssm_dt.bias"), &[SSM_HEADS], 0.0);
        let rate = self.weights.get(&self.name("ssm_a"), &[SSM_HEADS], -1.0);
        let norm = self.weights.get(&self.name("ssm_norm.weight"), &[SSM_STATE], 1.0);
        let mut states: Vec<Matrix> = vec![vec![vec![0.0; SSM_STATE]; SSM_STATE]; SSM_HEADS];
        let mut outputs = Vec::new();
        for (token, row) in convolved.iter().enumerate() {
            let row = silu(row);
            let unit = |row: &[f64]| scaled(row, 1.0 / (dot(row, row) + EPSILON).sqrt());
            let mut output = Row::new();
            for (head, state) in states.iter_mut().enumerate() {
                let group = match form {
                    DeltaForm::Interleaved => head % SSM_GROUPS,
                    DeltaForm::OfGroups { .. } => head / share,
                };
                let query = unit(&row[group * SSM_STATE..][..SSM_STATE]);
                let query = scaled(&query, 1.0 / (SSM_STATE as f64).sqrt());
                let key = unit(&row[keys + group * SSM_STATE..][..SSM_STATE]);
                let value = &row[2 * keys + head * SSM_STATE..][..SSM_STATE];
                let kept = (softplus(decays[token][head] + bias[head]) * rate[head]).exp();
                let beta = 1.0 / (1.0 + (-betas[token][head]).exp());
                let mut answer = Row::new();
                for (state, value) in state.iter_mut().zip(value) {
                    *state = scaled(state, kept);
                    let missing = beta * (value - dot(state, &key));
                    *state = sum(state, &scaled(&key, missing));
                    answer.push(dot(state, &query));
                }
                output.extend(product(&normalised(&answer, Norm::Rms), &norm));
            }
            let gated = product(&output, &silu(&gates[token]));
            outputs.push(self.linear(&self.name("ssm_out"), &gated, WIDTH, false));
        }
        outputs
    }
}

fn product(a: &[f64], b: &[f64]) -> Row {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

fn silu(row: &[f64]) -> Row {
    row.iter().map(|x| x / (1.0 + (-x).exp())).collect()
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}
