//! The forward pass of a transformer in f64, token by token, written for reading. It asks for weights by the names
//! that files have for them.

#[path = "altup.rs"]
mod altup;
#[path = "mixers.rs"]
mod mixers;
#[path = "rwkv.rs"]
mod rwkv;

use crate::styles::*;
use crate::weights::Weights;
use half::f16;

/// A row of values.
type Row = Vec<f64>;

const EPSILON: f64 = 1e-5;

/// What a text comes to.
pub fn answer(weights: &mut Weights, style: &Style, tokens: &[u32]) -> Row {
    let mut rows: Vec<Row> =
        tokens.iter().enumerate().map(|(position, token)| embedding(weights, style, *token, position)).collect();
    let mut caches = Vec::new();
    if style.has_streams() {
        let pass = &mut Pass { weights: &mut *weights, style, layer: 0, caches: Vec::new() };
        rows.iter_mut().for_each(|row| *row = pass.spread(row));
    }
    for layer in 0..LAYERS {
        let pass = &mut Pass { weights: &mut *weights, style, layer, caches: std::mem::take(&mut caches) };
        match style.has_streams() {
            true => pass.altup_layer(&mut rows, tokens),
            false => pass.layer(&mut rows),
        }
        if style.own_inputs > 0 && !style.has_streams() {
            pass.own_inputs(&mut rows, tokens);
        }
        caches = std::mem::take(&mut pass.caches);
    }
    let pass = &mut Pass { weights, style, layer: 0, caches };
    if style.has_streams() {
        rows.iter_mut().for_each(|row| *row = pass.merged(row));
    }
    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    match style.output {
        Output::Logits => rows.iter().flat_map(|row| pass.head(row)).collect(),
        Output::Mean => {
            let rows: Vec<Row> = rows.iter().map(|row| pass.hidden(row)).collect();
            of_length_one(&rows.iter().skip(1).fold(rows[0].clone(), |all, row| sum(&all, row)))
        }
        Output::First => of_length_one(&pass.hidden(first)),
        Output::Last => of_length_one(&pass.hidden(last)),
        Output::Score { inner } => {
            let hidden = pass.hidden(first);
            let hidden = match inner {
                true => pass.linear("cls", &hidden, 20, true).iter().map(|v| v.tanh()).collect(),
                false => hidden,
            };
            pass.linear("cls.output", &hidden, 1, true)
        }
        Output::Share => {
            let hidden = pass.hidden(last);
            let classes = pass.linear("cls.output", &hidden, 2, false);
            vec![classes[0].exp() / classes.iter().map(|v| v.exp()).sum::<f64>()]
        }
    }
}

fn of_length_one(row: &Row) -> Row {
    scaled(row, 1.0 / dot(row, row).sqrt())
}

fn embedding(weights: &mut Weights, style: &Style, token: u32, position: usize) -> Row {
    let table = weights.get("token_embd.weight", &[WIDTH, VOCABULARY], 0.0);
    let mut row = scaled(&table[token as usize * WIDTH..][..WIDTH], style.embedding_scale);
    if style.positions == Positions::Table {
        let table = weights.get("position_embd.weight", &[WIDTH, CONTEXT], 0.0);
        row = sum(&row, &table[position * WIDTH..][..WIDTH]);
    }
    if style.types {
        // Every text is of the first of two types.
        row = sum(&row, &weights.get("token_types.weight", &[WIDTH, 2], 0.0)[..WIDTH]);
    }
    match style.embedding_norm {
        true => Pass { weights, style, layer: 0, caches: Vec::new() }.norm("token_embd_norm", &row),
        false => row,
    }
}

/// A layer at work.
struct Pass<'a> {
    weights: &'a mut Weights,
    style: &'a Style,
    layer: usize,
    /// Keys and values of the layers before.
    caches: Vec<[Vec<Row>; 2]>,
}

impl Pass<'_> {
    fn name(&self, tensor: &str) -> String {
        format!("blk.{}.{tensor}", self.layer)
    }

    /// All tokens through the layer.
    fn layer(&mut self, rows: &mut [Row]) {
        if self.style.order == Order::Joined {
            return self.joined_layer(rows);
        }
        if let Some(form) = self.style.rwkv {
            return self.rwkv_layer(rows, form);
        }
        let style = self.style;
        let [before_attention, before_feed] = style.names.map(|name| self.name(name));
        let (is_before, is_after) = match style.order {
            Order::Before | Order::Parallel | Order::ParallelApart => (true, false),
            Order::After => (false, true),
            Order::Around => (true, true),
            Order::Joined => unreachable!("a layer of its own"),
        };
        let mixers = (style.mixers)(self.layer);
        // A layer that is nothing but a feed-forward has one norm, in some architectures under the other's name.
        let is_before = is_before && !(mixers.is_empty() && style.name == "deci");
        let inputs: Vec<Row> =
            rows.iter().map(|row| if is_before { self.norm(&before_attention, row) } else { row.clone() }).collect();
        let mut mixed = vec![vec![0.0; WIDTH]; rows.len()];
        for mixer in mixers {
            let made = self.mix(*mixer, &inputs);
            mixed = mixed.iter().zip(&made).map(|(mixed, made)| sum(mixed, made)).collect();
        }
        for ((row, input), mixed) in rows.iter_mut().zip(&inputs).zip(mixed) {
            let mixed = match is_after {
                true => self.norm(&self.name(style.names_after[0]), &mixed),
                false => mixed,
            };
            let joined = sum(row, &scaled(&mixed, style.residual_scale));
            if !(style.feeds)(self.layer) {
                *row = joined;
                continue;
            }
            let input = match style.order {
                _ if mixers.is_empty() && style.name != "deci" => input.clone(),
                Order::Before | Order::Around => self.norm(&before_feed, &joined),
                Order::After => joined.clone(),
                Order::Parallel => input.clone(),
                Order::ParallelApart => self.norm(&before_feed, row),
                Order::Joined => unreachable!("a layer of its own"),
            };
            let fed = match style.has_experts(self.layer) {
                Some(mixture) if mixture.apart => {
                    let seen = self.norm(&self.name("ffn_norm_exps"), row);
                    sum(&self.feed_forward(&input), &self.experts(&mixture, &seen, &seen))
                }
                Some(mixture) if mixture.halves => {
                    let made = self.experts(&mixture, &input, &input);
                    scaled(&sum(&made, &self.feed_forward(&input)), 0.5f64.sqrt())
                }
                Some(mixture) => self.experts(&mixture, if mixture.early { row } else { &input }, &input),
                None => self.feed_forward(&input),
            };
            let fed = if is_after { self.norm(&self.name(style.names_after[1]), &fed) } else { fed };
            *row = sum(&joined, &scaled(&fed, style.residual_scale));
        }
    }

    /// The layer of encoders: what comes of a block and the residual stream is normalised together.
    fn joined_layer(&mut self, rows: &mut [Row]) {
        let [after_attention, after_feed] = self.style.names.map(|name| self.name(name));
        let mixed = self.attention(rows);
        for (row, mixed) in rows.iter_mut().zip(mixed) {
            let mut joined = self.norm(&after_attention, &sum(row, &mixed));
            if self.style.joins_twice {
                joined = self.norm(&self.name("attn_norm_2"), &sum(row, &joined));
            }
            let fed = match self.style.has_experts(self.layer) {
                Some(mixture) => self.experts(&mixture, &joined, &joined),
                None => self.feed_forward(&joined),
            };
            *row = self.norm(&after_feed, &sum(&joined, &fed));
        }
    }

    /// A row that a token has in the layer alone.
    fn own_input(&mut self, token: u32) -> Row {
        let width = self.style.own_inputs;
        let table = self.weights.get("per_layer_token_embd.weight", &[LAYERS * width, VOCABULARY], 0.0);
        let embeddings = self.weights.get("token_embd.weight", &[WIDTH, VOCABULARY], 0.0);
        let embedded = scaled(&embeddings[token as usize * WIDTH..][..WIDTH], self.style.embedding_scale);
        let projected = self.linear("per_layer_model_proj", &embedded, LAYERS * width, false);
        let projected = scaled(&projected[self.layer * width..][..width], 1.0 / (WIDTH as f64).sqrt());
        let projected = self.norm("per_layer_proj_norm", &projected);
        let own = &table[(token as usize * LAYERS + self.layer) * width..][..width];
        scaled(&sum(&projected, &scaled(own, (width as f64).sqrt())), 0.5f64.sqrt())
    }

    /// What a layer adds of such a row, and a factor of all.
    fn own_inputs(&mut self, rows: &mut [Row], tokens: &[u32]) {
        let width = self.style.own_inputs;
        let factor = self.weights.get(&self.name("layer_output_scale.weight"), &[1], 1.0)[0];
        for (row, token) in rows.iter_mut().zip(tokens) {
            let own = self.own_input(*token);
            let gate = self.linear(&self.name("inp_gate"), row, width, false);
            let made = self.linear(&self.name("proj"), &gated(Unit::Gelu, &gate, &own), WIDTH, false);
            *row = scaled(&sum(row, &self.norm(&self.name("post_norm"), &made)), factor);
        }
    }

    /// What attention gives for each of all tokens.
    fn attention(&mut self, inputs: &[Row]) -> Vec<Row> {
        let style = self.style;
        let mut queries = Vec::new();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (position, input) in inputs.iter().enumerate() {
            let [query, key, value] = self.projections(input).map(|row| self.clamped(row));
            let [query, key] = [("attn_q_norm", query), ("attn_k_norm", key)].map(|(name, row)| {
                let row = self.head_norm(name, row, false);
                let row = self.rotated(row, position);
                self.head_norm(name, row, true)
            });
            queries.push(query);
            // The cache has keys and values as f16.
            keys.push(halved(&key));
            let value = match style.value_norm {
                true => value.chunks(HEAD).flat_map(|head| normalised(head, Norm::Rms)).collect(),
                false => value,
            };
            values.push(halved(&value));
        }
        if let Some(other) = (style.shares)(self.layer) {
            [keys, values] = self.caches[other].clone();
        }
        self.caches.push([keys.clone(), values.clone()]);
        let sinks = style.sinks.then(|| self.weights.get(&self.name("attn_sinks.weight"), &[HEADS], 0.0));
        let outputs = queries.iter().enumerate().map(|(position, query)| {
            let mut output = Vec::new();
            for head in 0..HEADS {
                let of = |row: &Row| row[head / (HEADS / KV_HEADS) * HEAD..][..HEAD].to_vec();
                let query = &query[head * HEAD..][..HEAD];
                let seen: Vec<usize> = (0..queries.len()).filter(|at| self.sees(position, *at)).collect();
                let scores: Row =
                    seen.iter().map(|at| self.score(query, &of(&keys[*at]), position.abs_diff(*at), head)).collect();
                let sink = sinks.as_ref().map_or(0.0, |sinks| sinks[head].exp());
                let total: f64 = scores.iter().map(|score| score.exp()).sum::<f64>() + sink;
                let mut mixed = vec![0.0; HEAD];
                for (at, score) in seen.iter().zip(&scores) {
                    mixed = sum(&mixed, &scaled(&of(&values[*at]), score.exp() / total));
                }
                output.extend(mixed);
            }
            output
        });
        let outputs: Vec<Row> = outputs.collect();
        let outputs = match style.query_gate {
            true => outputs.iter().zip(inputs).map(|(output, input)| self.gated_by_query(output, input)).collect(),
            false => outputs,
        };
        let name = self.name("attn_output");
        let outputs = outputs.iter().zip(inputs).map(|(row, input)| {
            let row = match style.gate {
                true => {
                    let gate = self.linear(&self.name("attn_gate"), input, HEADS * HEAD, false);
                    row.iter().zip(&gate).map(|(v, gate)| v / (1.0 + (-gate).exp())).collect()
                }
                false => self.sub_norm("attn_sub_norm", row.clone()),
            };
            scaled(&self.linear(&name, &row, WIDTH, style.bias || style.output_bias), style.mixed_scale)
        });
        outputs.collect()
    }

    fn sub_norm(&mut self, name: &str, row: Row) -> Row {
        match self.style.sub_norms {
            true => self.norm(&self.name(name), &row),
            false => row,
        }
    }

    fn sees(&self, position: usize, at: usize) -> bool {
        let slides = (self.style.slides)(self.layer);
        match self.style.looks_ahead {
            true => !slides || position.abs_diff(at) <= WINDOW / 2,
            false => at <= position && (!slides || position - at < WINDOW),
        }
    }

    fn score(&self, query: &[f64], key: &[f64], distance: usize, head: usize) -> f64 {
        let mut score = dot(query, key) * self.style.score_scale.unwrap_or(1.0 / (HEAD as f64).sqrt());
        if let Some(cap) = self.style.score_cap {
            score = cap * (score / cap).tanh();
        }
        match self.style.positions {
            // Of as many heads as a power of two, head h falls off by 2^(−most·(h + 1)/heads).
            Positions::Alibi(most) => score - (-most * (head + 1) as f64 / HEADS as f64).exp2() * distance as f64,
            _ => score,
        }
    }

    fn projections(&mut self, input: &Row) -> [Row; 3] {
        let [queries, keys] = [HEADS * HEAD, KV_HEADS * HEAD];
        if self.style.fused {
            let all = self.linear(&self.name("attn_qkv"), input, queries + 2 * keys, self.style.qkv_bias);
            let (query, rest) = all.split_at(queries);
            return [query.to_vec(), rest[..keys].to_vec(), rest[keys..].to_vec()];
        }
        if self.style.query_gate {
            let query = self.half_of_query(input, 0);
            let [key, value] =
                ["attn_k", "attn_v"].map(|name| self.linear(&self.name(name), input, keys, self.style.qkv_bias));
            return [query, key, value];
        }
        [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)]
            .map(|(name, width)| self.linear(&self.name(name), input, width, self.style.qkv_bias))
    }

    /// What a projection of queries has for each head: a query, or behind it a gate of the output.
    fn half_of_query(&mut self, input: &Row, first: usize) -> Row {
        let all = self.linear(&self.name("attn_q"), input, 2 * HEADS * HEAD, self.style.qkv_bias);
        all.chunks(2 * HEAD).flat_map(|head| head[first..][..HEAD].to_vec()).collect()
    }

    fn gated_by_query(&mut self, output: &Row, input: &Row) -> Row {
        let gate = self.half_of_query(input, HEAD);
        output.iter().zip(&gate).map(|(v, gate)| v / (1.0 + (-gate).exp())).collect()
    }

    fn clamped(&self, row: Row) -> Row {
        match self.style.clamp {
            Some(limit) => row.into_iter().map(|v| v.clamp(-limit, limit)).collect(),
            None => row,
        }
    }

    fn head_norm(&mut self, name: &str, row: Row, is_rotated: bool) -> Row {
        if self.style.head_norm == HeadNorm::Bare && is_rotated && (self.style.rotates)(self.layer) {
            return row.chunks(HEAD).flat_map(|run| normalised(run, self.style.norm)).collect();
        }
        let name = format!("{}.weight", self.name(name));
        let heads = row.len() / HEAD;
        let (shape, width) = match self.style.head_norm {
            HeadNorm::Heads if !is_rotated => (vec![HEAD], HEAD),
            HeadNorm::AfterRotation if is_rotated => (vec![HEAD], HEAD),
            HeadNorm::EachHead if !is_rotated => (vec![HEAD, heads], HEAD),
            HeadNorm::Whole if !is_rotated => (vec![row.len()], row.len()),
            _ => return row,
        };
        let weight = self.weights.get(&name, &shape, 1.0);
        let normed = row.chunks(width).flat_map(|run| normalised(run, self.style.norm));
        normed.enumerate().map(|(i, v)| v * weight[i % weight.len()]).collect()
    }

    fn rotated(&self, mut row: Row, position: usize) -> Row {
        let (dims, is_halves) = match self.style.positions {
            Positions::Neighbours(dims) => (dims, false),
            Positions::Halves(dims) => (dims, true),
            Positions::Alibi(_) | Positions::Table | Positions::None => return row,
        };
        if !(self.style.rotates)(self.layer) {
            return row;
        }
        row.chunks_mut(HEAD).for_each(|head| turned(head, dims, is_halves, position));
        row
    }

    fn feed_forward(&mut self, input: &Row) -> Row {
        let (style, bias) = (self.style, self.style.bias);
        // Beside experts that stand apart it is as wide as the model.
        let width = if style.mixture.is_some_and(|mixture| mixture.apart) { WIDTH } else { INNER };
        let [gate, up, down] = ["ffn_gate", "ffn_up", "ffn_down"].map(|name| self.name(name));
        let inner = match (style.gated, style.fused_up) {
            (true, true) => {
                let both = self.linear(&up, input, 2 * width, bias);
                gated(style.unit, &both[..width], &both[width..])
            }
            (true, false) => {
                let gate = self.linear(&gate, input, width, bias);
                gated(style.unit, &gate, &self.linear(&up, input, width, bias))
            }
            (false, _) if style.unit == Unit::Xielu => {
                let factors = crate::further::xielu_factors(self.layer);
                self.linear(&up, input, width, bias).iter().map(|v| xielu(factors, *v)).collect()
            }
            (false, _) => self.linear(&up, input, width, bias).iter().map(|v| activated(style.unit, *v)).collect(),
        };
        let inner = self.sub_norm("ffn_sub_norm", inner);
        self.linear(&down, &inner, WIDTH, bias)
    }

    fn experts(&mut self, mixture: &Mixture, routed: &Row, input: &Row) -> Row {
        let logits = self.linear(&self.name("ffn_gate_inp"), routed, EXPERTS, mixture.biases);
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let score = |logit: f64| match mixture.scores {
            Scores::Softmax => logit.exp() / total,
            Scores::OfChosen => logit.exp(),
            Scores::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
        };
        let scores: Row = logits.iter().map(|logit| score(*logit)).collect();
        let bias = match mixture.choice_bias {
            true => self.weights.get(&self.name("exp_probs_b.bias"), &[EXPERTS], 0.0),
            false => vec![0.0; EXPERTS],
        };
        let mut order: Vec<usize> = (0..EXPERTS).collect();
        order.sort_by(|a, b| (scores[*b] + bias[*b]).total_cmp(&(scores[*a] + bias[*a])));
        let chosen = &order[..USED];
        let sum_of_chosen: f64 = chosen.iter().map(|expert| scores[*expert]).sum();
        let divisor = if mixture.normalise || mixture.scores == Scores::OfChosen { sum_of_chosen } else { 1.0 };
        let mut output = vec![0.0; WIDTH];
        for expert in chosen {
            let weight = scores[*expert] / divisor;
            let made = match mixture.weighed {
                true => self.expert(mixture, &scaled(input, weight), *expert),
                false => scaled(&self.expert(mixture, input, *expert), weight),
            };
            output = sum(&output, &made);
        }
        match mixture.shared {
            0 => output,
            width => {
                let shared = self.shared(input, width);
                let weight = match mixture.shared_gate {
                    true => {
                        let row = self.weights.get(&self.name("ffn_gate_inp_shexp.weight"), &[WIDTH], 0.0);
                        1.0 / (1.0 + (-dot(&row, input)).exp())
                    }
                    false => 1.0,
                };
                let both = sum(&output, &scaled(&shared, weight));
                if mixture.shared_mean { scaled(&both, 0.5) } else { both }
            }
        }
    }

    fn expert(&mut self, mixture: &Mixture, input: &Row, expert: usize) -> Row {
        let Style { unit, gated: is_gated, .. } = *self.style;
        let mut product = |name: &str, input: &Row, rows: usize| {
            let name = self.name(&format!("ffn_{name}_exps"));
            let all = self.weights.get(&format!("{name}.weight"), &[input.len(), rows, EXPERTS], 0.0);
            let product = multiplied(&all[expert * rows * input.len()..][..rows * input.len()], input);
            if !mixture.biases {
                return product;
            }
            let bias = self.weights.get(&format!("{name}.bias"), &[rows, EXPERTS], 0.0);
            sum(&product, &bias[expert * rows..][..rows])
        };
        let inner = match (is_gated, mixture.fused) {
            (true, true) => {
                let both = product("gate_up", input, 2 * EXPERT_INNER);
                gated(unit, &both[..EXPERT_INNER], &both[EXPERT_INNER..])
            }
            (true, false) => {
                let gate = product("gate", input, EXPERT_INNER);
                gated(unit, &gate, &product("up", input, EXPERT_INNER))
            }
            (false, _) => product("up", input, EXPERT_INNER).iter().map(|v| activated(unit, *v)).collect(),
        };
        product("down", &inner, WIDTH)
    }

    fn shared(&mut self, input: &Row, width: usize) -> Row {
        let [gate, up, down] = ["ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"].map(|name| self.name(name));
        let up = self.linear(&up, input, width, false);
        let inner = match self.style.gated {
            true => gated(self.style.unit, &self.linear(&gate, input, width, false), &up),
            false => up.iter().map(|v| activated(self.style.unit, *v)).collect(),
        };
        self.linear(&down, &inner, WIDTH, false)
    }

    fn hidden(&mut self, row: &Row) -> Row {
        let row = match self.style.output_norm {
            "" => row.clone(),
            name => self.norm(name, row),
        };
        match self.style.dense {
            true => {
                let inner = self.linear("dense_2", &row, 2 * WIDTH, false);
                self.linear("dense_3", &inner, WIDTH, false)
            }
            false => row,
        }
    }

    fn head(&mut self, row: &Row) -> Row {
        let normed = self.hidden(row);
        let logits = match self.style.tied {
            true => multiplied(&self.weights.get("token_embd.weight", &[WIDTH, VOCABULARY], 0.0), &normed),
            false => self.linear("output", &normed, VOCABULARY, false),
        };
        let logits = scaled(&logits, self.style.logit_factor);
        match self.style.softcap {
            Some(cap) => logits.iter().map(|v| cap * (v / cap).tanh()).collect(),
            None => logits,
        }
    }

    fn norm(&mut self, name: &str, row: &Row) -> Row {
        if self.style.norm == Norm::Bare {
            return normalised(row, Norm::Bare);
        }
        let weight = self.weights.get(&format!("{name}.weight"), &[row.len()], 1.0);
        let normed: Row = normalised(row, self.style.norm).iter().zip(&weight).map(|(v, w)| v * w).collect();
        match self.style.norm {
            Norm::Layer { bias: true } => sum(&normed, &self.weights.get(&format!("{name}.bias"), &[row.len()], 0.0)),
            Norm::Layer { bias: false } | Norm::Rms | Norm::Bare => normed,
        }
    }

    fn linear(&mut self, name: &str, input: &Row, rows: usize, has_bias: bool) -> Row {
        let product = multiplied(&self.weights.get(&format!("{name}.weight"), &[input.len(), rows], 0.0), input);
        match has_bias {
            true => sum(&product, &self.weights.get(&format!("{name}.bias"), &[rows], 0.0)),
            false => product,
        }
    }
}

fn normalised(row: &[f64], norm: Norm) -> Row {
    let mean = match norm {
        Norm::Rms => 0.0,
        Norm::Layer { .. } | Norm::Bare => row.iter().sum::<f64>() / row.len() as f64,
    };
    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
    row.iter().map(|v| (v - mean) / (variance + EPSILON).sqrt()).collect()
}

/// Rotates the first `dims` values of a head.
fn turned(head: &mut [f64], dims: usize, is_halves: bool, position: usize) {
    for i in 0..dims / 2 {
        let angle = position as f64 * 10_000f64.powf(-2.0 * i as f64 / dims as f64);
        let (a, b) = if is_halves { (i, i + dims / 2) } else { (2 * i, 2 * i + 1) };
        (head[a], head[b]) =
            (head[a] * angle.cos() - head[b] * angle.sin(), head[a] * angle.sin() + head[b] * angle.cos());
    }
}

fn activated(unit: Unit, x: f64) -> f64 {
    match unit {
        Unit::Silu => x / (1.0 + (-x).exp()),
        Unit::Gelu => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        Unit::Relu => x.max(0.0),
        Unit::ReluSquared => x.max(0.0).powi(2),
        Unit::Limited => x.min(7.0) / (1.0 + (-1.702 * x.min(7.0)).exp()),
        Unit::Xielu => unreachable!("it has factors"),
    }
}

/// A parabola above zero, an exponential below, of one slope at zero.
fn xielu([above, below, linear]: [f64; 3], x: f64) -> f64 {
    let softplus = |x: f64| x.exp().ln_1p();
    match x > 0.0 {
        true => softplus(above) * x * x + linear * x,
        false => (x.exp_m1() - x) * (linear + softplus(below)) + linear * x,
    }
}

fn gated(unit: Unit, gate: &[f64], up: &[f64]) -> Row {
    let factor = |up: f64| if unit == Unit::Limited { up.clamp(-7.0, 7.0) + 1.0 } else { up };
    gate.iter().zip(up).map(|(gate, up)| activated(unit, *gate) * factor(*up)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sum(a: &[f64], b: &[f64]) -> Row {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn scaled(row: &[f64], factor: f64) -> Row {
    row.iter().map(|v| v * factor).collect()
}

fn halved(row: &Row) -> Row {
    row.iter().map(|v| f64::from(f16::from_f32(*v as f32))).collect()
}

/// A matrix, row after row, times a row of values.
fn multiplied(matrix: &[f64], row: &[f64]) -> Row {
    matrix.chunks(row.len()).map(|weights| dot(weights, row)).collect()
}
