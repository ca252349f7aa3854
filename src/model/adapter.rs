//! LoRA adapters, <https://arxiv.org/abs/2106.09685>: for each product with a matrix W that an adapter changes, the ops that
//! add (scale · factor) · B·(A·x) to it. A and B are weights of the same group, so that they come, go and are divided as W
//! is, and W stays as it is.
//!
//! The files are those of llama.cpp's converter: `<name of W>.lora_a` and `<name of W>.lora_b`, of as many values as W has
//! columns times the rank, and the rank times W's rows. The factor is alpha by the rank. Of the embedding's table A has a
//! row for each token.

use crate::error::{ChordError, Result};
use crate::gguf::{self, Header, TensorInfo};
use crate::program::*;
use std::collections::HashMap;

/// What stands behind the name of a tensor that an adapter changes.
const SUFFIXES: [&str; 2] = [".lora_a", ".lora_b"];

/// Adapters at most: as many as have numbers of their own among the parts of a model.
const ADAPTERS_MAX: usize = 64;

/// Both factors of one tensor's change, and how many values are between them.
struct Pair<'a> {
    a: &'a TensorInfo,
    b: &'a TensorInfo,
    rank: usize,
    is_used: bool,
}

/// What the first factor is multiplied with.
enum Input {
    Of(Slot),
    /// The tokens themselves, of each of which it has a row.
    Tokens {
        scale: f32,
    },
}

/// An adapter on its way into a program.
struct Adapter<'a> {
    id: AdapterId,
    /// As a part of the source.
    part: u16,
    alpha: f32,
    /// By the name of what they change.
    pairs: HashMap<&'a str, Pair<'a>>,
    /// The weights of a pair, by the weight that it changes and the group that multiplies with that.
    weights: HashMap<(WeightId, usize), [WeightId; 2]>,
}

/// Adds what the adapters of these headers change in the model of `header`, and says what of them is passed over. In the
/// source they are the parts from number `part` on; the names are the caller's.
pub fn adapt(program: &mut Program, header: &Header, part: usize, adapters: &[(&str, &Header)]) -> Result<Vec<String>> {
    if adapters.len() > ADAPTERS_MAX {
        let text = format!("{} adapters are more than the {ADAPTERS_MAX} that are supported", adapters.len());
        return Err(ChordError::parameter("adapters", text));
    }
    let tensors = header.tensors_by_name();
    program.adapters = adapters.len();
    let mut warnings = Vec::new();
    let mut slots = HashMap::new();
    for (number, (name, file)) in adapters.iter().enumerate() {
        let named = |error: ChordError| {
            let message = format!("adapter '{name}': {}", error.message);
            ChordError { message, ..error }.with("adapter", *name)
        };
        let id = AdapterId(number as u16);
        let (mut adapter, passed_over) =
            Adapter::read(id, (part + number) as u16, header, file, &tensors).map_err(named)?;
        if passed_over > 0 {
            warnings.push(format!("adapter '{name}': {passed_over} tensors of norms are passed over"));
        }
        for group in 0..program.groups.len() {
            adapter.join(program, group, &tensors, &mut slots).map_err(named)?;
        }
        if let Some(pair) = adapter.pairs.values().filter(|pair| !pair.is_used).min_by_key(|pair| &pair.a.name) {
            let text = format!("'{}' changes a tensor that is not multiplied with as a whole matrix", pair.a.name);
            return Err(named(of_tensor(text, &pair.a.name)));
        }
    }
    Ok(warnings)
}

fn of_tensor(text: String, tensor: &str) -> ChordError {
    ChordError::model(text).with("tensor", tensor)
}

/// Columns and rows of a matrix.
fn matrix(info: &TensorInfo) -> Result<[u64; 2]> {
    match *info.dimensions {
        [columns] => Ok([columns, 1]),
        [columns, rows, ref more @ ..] if more.iter().all(|count| *count == 1) => Ok([columns, rows]),
        _ => {
            let text = format!("'{}' has shape {:?}; a matrix is needed", info.name, info.dimensions);
            Err(of_tensor(text, &info.name))
        }
    }
}

impl<'a> Adapter<'a> {
    /// Reads an adapter's header, and how many of its tensors are passed over.
    fn read(
        id: AdapterId,
        part: u16,
        model: &Header,
        file: &'a Header,
        tensors: &HashMap<&str, &TensorInfo>,
    ) -> Result<(Adapter<'a>, usize)> {
        let metadata = &file.metadata;
        for (key, wanted) in [("general.type", "adapter"), ("adapter.type", "lora")] {
            let found = metadata.opt_str(key)?.unwrap_or_default();
            if found != wanted {
                let text = format!("{key} is '{}'; '{wanted}' is needed", gguf::shown(found));
                return Err(ChordError::model(text).with("key", key));
            }
        }
        let [wanted, found] = [model, file].map(|header| header.metadata.str("general.architecture"));
        let (wanted, found) = (wanted?, found?);
        if wanted != found {
            let text = format!("it is for the architecture '{}', and the model is '{wanted}'", gguf::shown(found));
            return Err(ChordError::model(text).with("architecture", found));
        }
        let invocation = "adapter.alora.invocation_tokens";
        if metadata.contains(invocation) {
            let text = format!("it begins with the tokens of {invocation} only, which is not supported");
            return Err(ChordError::model(text).with("key", invocation));
        }
        if gguf::part_count(file)? != 1 {
            return Err(ChordError::model("it is split, which is not supported").with("key", "split.count"));
        }
        let key = "adapter.lora.alpha";
        let alpha = metadata.opt_f32(key)?.unwrap_or(0.0);
        if !alpha.is_finite() {
            return Err(ChordError::model(format!("{key} is {alpha}")).with("key", key));
        }
        let of_file = file.tensors_by_name();
        let (mut pairs, mut passed_over) = (HashMap::new(), 0);
        for tensor in &file.tensors {
            let name = tensor.name.as_str();
            let Some(base) = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)) else {
                // llama.cpp computes without them, too.
                if name.ends_with("_norm.weight") {
                    passed_over += 1;
                    continue;
                }
                return Err(of_tensor(format!("'{name}' is no part of a LoRA adapter"), name));
            };
            let factor = |suffix| of_file.get(format!("{base}{suffix}").as_str()).copied();
            let [Some(a), Some(b)] = SUFFIXES.map(factor) else {
                return Err(of_tensor(format!("'{name}' is there without the other factor"), name));
            };
            if pairs.contains_key(base) {
                continue;
            }
            let Some(changed) = tensors.get(base) else {
                return Err(of_tensor(format!("'{name}' changes a tensor that the model does not have"), name));
            };
            let shape = matrix(changed).map_err(|_| {
                let text = format!("'{name}' changes the experts of a mixture, which is not supported");
                of_tensor(text, name)
            })?;
            pairs.insert(base, Pair::new(a, b, shape, is_table(base))?);
        }
        Ok((Adapter { id, part, alpha, pairs, weights: HashMap::new() }, passed_over))
    }

    /// Puts the adapter's ops behind those that they change. `slots` are those between factors: by their rank, by how many
    /// there are before them at a time, and apart for the head, which has fewer rows.
    fn join(
        &mut self,
        program: &mut Program,
        group: usize,
        tensors: &HashMap<&str, &TensorInfo>,
        slots: &mut HashMap<(usize, usize, bool), Slot>,
    ) -> Result<()> {
        let ops = std::mem::take(&mut program.ops[group]);
        let mut at = 0;
        while at < ops.len() {
            // Neighbours stay neighbours, since backends compute them together.
            let run = &ops[at..at + products_of_one_input(program, &ops[at..])];
            program.ops[group].extend_from_slice(run);
            let mut firsts: Vec<(WeightId, Slot)> = Vec::new();
            let (mut made, mut last) = (Vec::new(), Vec::new());
            for op in run {
                let (view, input, dst, epilogue) = if let Op::MatMul { view, src, dst, epilogue } = *op {
                    (view, Input::Of(src), dst, epilogue)
                } else if let Op::Embed { table, dst, scale } = *op {
                    let view = RowView { weight: table, first_row: 0, rows: program[dst] };
                    (view, Input::Tokens { scale }, dst, Epilogue::default())
                } else {
                    continue;
                };
                let changed = view.weight;
                let Weight { name, file_offset, adapter: None, .. } = program[changed].clone() else { continue };
                // With a table that both embed and multiply, an adapter changes the embedding.
                if is_table(&name) != matches!(input, Input::Tokens { .. }) {
                    continue;
                }
                let Some(pair) = self.pairs.get_mut(name.as_str()) else { continue };
                pair.is_used = true;
                let rank = pair.rank;
                let factor = if self.alpha == 0.0 { 1.0 } else { self.alpha / rank as f32 };
                let [a, b] = *self
                    .weights
                    .entry((changed, group))
                    .or_insert_with(|| [pair.a, pair.b].map(|info| weight(program, group, info, self.part, self.id)));
                let known = firsts.iter().find(|(of, _)| *of == changed).map(|(_, slot)| *slot);
                let slot = known.unwrap_or_else(|| {
                    let key = (rank, firsts.len(), program.is_head(group));
                    *slots.entry(key).or_insert_with(|| program.push_slot(rank))
                });
                if known.is_none() {
                    firsts.push((changed, slot));
                    program.ops[group].push(match input {
                        Input::Tokens { scale } => Op::Embed { table: a, dst: slot, scale },
                        Input::Of(src) => {
                            let view = RowView { weight: a, first_row: 0, rows: rank };
                            Op::MatMul { view, src, dst: slot, epilogue: Epilogue::default() }
                        }
                    });
                    made.push(Op::Adapt { slot, adapter: self.id, factor });
                }
                // A weight may have some of the rows of its tensor only.
                let info = tensors[name.as_str()];
                let row_bytes = (info.bytes / matrix(info)?[1]).max(1);
                let before = ((file_offset - info.offset) / row_bytes) as usize;
                let view = RowView { weight: b, first_row: before + view.first_row, rows: view.rows };
                // What scales sum and bias together scales this, too; what scales the sum belongs to the matrix alone.
                let scale = epilogue.scale.filter(|_| epilogue.bias_first);
                let epilogue = Epilogue { scale, accumulate: true, ..Epilogue::default() };
                last.push(Op::MatMul { view, src: slot, dst, epilogue });
            }
            program.ops[group].extend(made.into_iter().chain(last));
            at += run.len();
        }
        Ok(())
    }
}

impl<'a> Pair<'a> {
    /// The factors of a tensor of this shape.
    fn new(a: &'a TensorInfo, b: &'a TensorInfo, [columns, rows]: [u64; 2], is_table: bool) -> Result<Pair<'a>> {
        let ([a_columns, a_rows], [b_columns, b_rows]) = (matrix(a)?, matrix(b)?);
        let rank = if is_table { a_columns } else { a_rows };
        let wanted = if is_table { [rank, rows] } else { [columns, rank] };
        let outputs = if is_table { columns } else { rows };
        for (info, found, wanted) in [(a, [a_columns, a_rows], wanted), (b, [b_columns, b_rows], [rank, outputs])] {
            if found != wanted {
                let text = format!("'{}' has shape {:?}; {wanted:?} is needed", info.name, info.dimensions);
                return Err(of_tensor(text, &info.name));
            }
        }
        let rank = usize::try_from(rank).map_err(|_| of_tensor(format!("'{}' is too large", a.name), &a.name))?;
        Ok(Pair { a, b, rank, is_used: false })
    }
}

/// Whether a tensor is the embedding's table.
fn is_table(name: &str) -> bool {
    name == "token_embd.weight"
}

/// How many of the first ops are products of one input, each with a place of its own to go to; at least one op.
fn products_of_one_input(program: &Program, ops: &[Op]) -> usize {
    let mut places: Vec<Slot> = Vec::new();
    let mut input = None;
    for op in ops {
        let Op::MatMul { src, dst, view, .. } = *op else { break };
        let is_model_s = program[view.weight].adapter.is_none();
        if !is_model_s || input.is_some_and(|input| input != src) || places.contains(&dst) {
            break;
        }
        input = Some(src);
        places.push(dst);
    }
    places.len().max(1)
}

/// A factor as a weight.
fn weight(program: &mut Program, group: usize, info: &TensorInfo, part: u16, adapter: AdapterId) -> WeightId {
    // The file's bounds were checked in 64 bits; what does not fit usize fails at allocation.
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX / 4);
    let columns = size(info.dimensions[0]);
    program.push_weight(Weight {
        name: info.name.clone(),
        dtype: info.dtype,
        rows: size(info.dimensions.get(1).copied().unwrap_or(1)),
        columns,
        group,
        index: 0,
        group_offset: 0,
        bytes: size(info.bytes),
        part,
        file_offset: info.offset,
        is_matrix: true,
        adapter: Some(adapter),
    })
}
