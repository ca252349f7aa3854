//! Writes a [`Program`]: finds tensors by name, checks their shapes, assigns them to groups and
//! appends ops. The architectures' files read as a page of calls to it.

use crate::error::{ChordError, Result};
use crate::gguf::{Header, TensorInfo};
use crate::program::*;
use crate::quant::Dtype;
use std::collections::HashMap;
use std::ops::Range;

use super::config::{Config, WIDTH_MAX};
use super::shape::{Experts, LayerShape};

/// A program under construction.
pub struct Builder<'a> {
    pub config: &'a Config,
    tensors: HashMap<&'a str, &'a TensorInfo>,
    ids: HashMap<String, WeightId>,
    scratch: HashMap<(&'static str, usize), Slot>,
    /// The caches of layers that others may attend to.
    pub caches: HashMap<usize, StateId>,
    program: Program,
    group: usize,
}

impl<'a> Builder<'a> {
    /// An empty program for `config.layers` layers.
    pub fn new(header: &'a Header, config: &'a Config) -> Self {
        Builder {
            config,
            tensors: header.tensors.iter().map(|t| (t.name.as_str(), t)).collect(),
            ids: HashMap::new(),
            scratch: HashMap::new(),
            caches: HashMap::new(),
            program: Program::empty(config.streams * config.embedding, config.vocabulary, config.layers.len()),
            group: 0,
        }
    }

    /// Ops and tensors that follow belong to this group.
    pub fn enter(&mut self, group: usize) {
        self.group = group;
    }

    /// A slot of `width` values a token for what `name` says; layers of one shape share it.
    pub fn slot(&mut self, name: &'static str, width: usize) -> Slot {
        let program = &mut self.program;
        *self.scratch.entry((name, width)).or_insert_with(|| program.push_slot(width))
    }

    /// What `write` adds belongs to the first group, which every layer may read.
    pub fn in_first_group<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let group = std::mem::replace(&mut self.group, 0);
        let written = write(self);
        self.group = group;
        written
    }

    /// What `write` adds belongs to the end of the group before, through which all of a text goes before this one.
    pub fn in_group_before<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.group -= 1;
        let written = write(self);
        self.group += 1;
        written
    }

    /// Width of a slot.
    pub fn width(&self, slot: Slot) -> usize {
        self.program[slot]
    }

    /// Appends an op to the current group.
    pub fn push(&mut self, op: Op) {
        self.program.ops[self.group].push(op);
    }

    /// Whether the file has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Declares a state.
    pub fn state(&mut self, state: State) -> StateId {
        self.program.push_state(state)
    }

    /// Whether a state is like this one.
    pub fn is_state(&self, id: StateId, like: State) -> bool {
        self.program[id] == like
    }

    /// Registers a rotation, with the frequency factors of the file if it `has_factors`.
    pub fn rope(&mut self, rope: &Rope, has_factors: bool) -> Result<RopeId> {
        let half = rope.dims / 2;
        if !has_factors {
            return Ok(self.program.push_rope(rope.clone()));
        }
        let by_length = match self.config.context as f32 > rope.original_context {
            true => "rope_factors_long.weight",
            false => "rope_factors_short.weight",
        };
        let factors = self.in_first_group(|b| match b.optional("rope_freqs.weight", half)? {
            Some(factors) => Ok(Some(factors)),
            None => b.optional(by_length, half),
        })?;
        Ok(self.program.push_rope(Rope { factors, ..rope.clone() }))
    }

    /// A vector of `length` F32 values.
    pub fn vector(&mut self, name: &str, length: usize) -> Result<WeightId> {
        let info = self.find(name)?;
        let values: u64 = info.dimensions.iter().product();
        if info.dtype != Dtype::F32 || values != length as u64 {
            let text = format!(
                "tensor '{name}' is {} {:?}; {length} F32 values are needed",
                info.dtype.name(),
                info.dimensions
            );
            return Err(ChordError::model(text).with("tensor", name));
        }
        Ok(self.weight(name, name, info, 1, length, false))
    }

    /// The same, where the file has it.
    pub fn optional(&mut self, name: &str, length: usize) -> Result<Option<WeightId>> {
        if self.has(name) { self.vector(name, length).map(Some) } else { Ok(None) }
    }

    /// A matrix of `rows` × `columns`; with experts, `experts` of them in one tensor.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize, experts: usize) -> Result<RowView> {
        let info = self.find(name)?;
        let mut expected = vec![columns as u64, rows as u64];
        if experts > 1 {
            expected.push(experts as u64);
        }
        let mut dimensions = info.dimensions.clone();
        while dimensions.len() > expected.len() && dimensions.last() == Some(&1) {
            dimensions.pop();
        }
        if rows == 1 && dimensions.len() == 1 {
            dimensions.push(1);
        }
        if dimensions != expected {
            let text = format!("tensor '{name}' has shape {:?}; {expected:?} is needed", info.dimensions);
            return Err(ChordError::model(text).with("tensor", name));
        }
        let weight = self.weight(name, name, info, rows * experts.max(1), columns, true);
        Ok(RowView { weight, first_row: 0, rows })
    }

    /// dst = W·src with so many rows of the named tensor of `all` rows, and their part of its optional bias. They are a
    /// weight of this group: the other rows may be another's.
    pub fn linear_part(&mut self, name: &str, rows: Range<usize>, all: usize, src: Slot, dst: Slot) -> Result<()> {
        let columns = self.width(src);
        let [matrix, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let info = self.find(&matrix)?;
        if info.dimensions != [columns as u64, all as u64] {
            let text = format!("tensor '{matrix}' has shape {:?}; [{columns}, {all}] is needed", info.dimensions);
            return Err(ChordError::model(text).with("tensor", matrix));
        }
        let weight = self.part(&matrix, &rows, all, rows.len(), columns, true)?;
        let bias = match self.values(&bias) {
            Some(values) if values == all as u64 && self.find(&bias)?.dtype == Dtype::F32 => {
                Some(self.part(&bias, &rows, all, 1, rows.len(), false)?)
            }
            Some(_) => return self.vector(&bias, all).map(|_| ()),
            None => None,
        };
        let view = RowView { weight, first_row: 0, rows: rows.len() };
        self.push(Op::MatMul { view, src, dst, epilogue: Epilogue { bias, ..Epilogue::default() } });
        Ok(())
    }

    /// The bytes of a tensor for `part` of its `all` rows or values, as a weight.
    fn part(
        &mut self,
        name: &str,
        part: &Range<usize>,
        all: usize,
        rows: usize,
        columns: usize,
        is_matrix: bool,
    ) -> Result<WeightId> {
        let info = self.find(name)?;
        let each = info.bytes / all as u64;
        let (offset, bytes) = (info.offset + part.start as u64 * each, part.len() as u64 * each);
        let info = TensorInfo { offset, bytes, ..info.clone() };
        Ok(self.weight(&format!("{name} from {}", part.start), name, &info, rows, columns, is_matrix))
    }

    /// How many rows a matrix of the file has, within what is plausible. One of a single row may be written as a vector.
    pub fn rows(&self, name: &str) -> Result<usize> {
        let info = self.find(name)?;
        let rows = usize::try_from(info.dimensions.get(1).copied().unwrap_or(1)).ok();
        rows.filter(|rows| (1..=WIDTH_MAX).contains(rows)).ok_or_else(|| {
            ChordError::model(format!("tensor '{name}' has shape {:?}", info.dimensions)).with("tensor", name)
        })
    }

    /// How many values a tensor has, if the file has it.
    pub fn values(&self, name: &str) -> Option<u64> {
        self.tensors.get(name).map(|info| info.dimensions.iter().product())
    }

    fn find(&self, name: &str) -> Result<&'a TensorInfo> {
        let info = self.tensors.get(name).copied();
        info.ok_or_else(|| ChordError::model(format!("tensor '{name}' is missing")).with("tensor", name))
    }

    /// Adds a tensor, or the part of it that `key` tells from others, to the current group, once.
    fn weight(
        &mut self,
        key: &str,
        name: &str,
        info: &TensorInfo,
        rows: usize,
        columns: usize,
        is_matrix: bool,
    ) -> WeightId {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        // The file's bounds were checked in 64 bits; what does not fit usize fails at allocation.
        let bytes = usize::try_from(info.bytes).unwrap_or(usize::MAX / 4);
        let id = self.program.push_weight(Weight {
            name: name.into(),
            dtype: info.dtype,
            rows,
            columns,
            group: self.group,
            index: 0,
            group_offset: 0,
            bytes,
            part: info.part,
            file_offset: info.offset,
            is_matrix,
            adapter: None,
        });
        self.ids.insert(key.into(), id);
        id
    }

    /// dst = norm(src) with the named weight and its optional bias.
    pub fn norm(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let width = self.width(src);
        self.norm_runs(name, src, dst, width)
    }

    /// The same for every `width` values of a row. The weight may have a part for each run of the row.
    pub fn norm_runs(&mut self, name: &str, src: Slot, dst: Slot, width: usize) -> Result<()> {
        let (kind, epsilon) = (self.config.norm, self.config.epsilon);
        if self.config.bare_norms {
            self.push(Op::Norm { kind, src, weight: None, bias: None, dst, width, epsilon });
            return Ok(());
        }
        let name_of = |part: &str| format!("{name}.{part}");
        // Some files have the weight under the norm's bare name.
        let is_bare = self.has(name) && !self.has(&name_of("weight"));
        let weight = if is_bare { name.to_string() } else { name_of("weight") };
        let length = match self.values(&weight) {
            Some(values) if values == self.width(src) as u64 => self.width(src),
            _ => width,
        };
        let weight = Some(self.vector(&weight, length)?);
        let bias = self.optional(&name_of("bias"), length)?;
        self.push(Op::Norm { kind, src, weight, bias, dst, width, epsilon });
        Ok(())
    }

    /// dst = norm(src) with a weight and an optional bias that every layer may read.
    pub fn norm_of_first_group(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let (kind, epsilon, width) = (self.config.norm, self.config.epsilon, self.width(src));
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        let weight = Some(self.in_first_group(|b| b.vector(&weight, width))?);
        let bias = self.in_first_group(|b| b.optional(&bias, width))?;
        self.push(Op::Norm { kind, src, weight, bias, dst, width, epsilon });
        Ok(())
    }

    /// dst = src by the root of its mean square, without a weight, for every `width` values.
    pub fn norm_bare(&mut self, slot: Slot, width: usize, epsilon: f32) {
        self.push(Op::Norm { kind: Norm::Rms, src: slot, weight: None, bias: None, dst: slot, width, epsilon });
    }

    /// dst = W·src with the named tensor and its optional bias, without a scale.
    pub fn linear_unscaled(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let epilogue = self.epilogue(name, self.width(dst))?;
        self.project(name, src, dst, Epilogue { scale: None, ..epilogue })
    }

    /// The residual stream grows by `slot`, scaled as the model says.
    pub fn join(&mut self, slot: Slot) {
        let factor = self.config.residual_scale;
        if factor != 1.0 {
            self.push(Op::Scale { slot, factor });
        }
        self.push(Op::Add { src: slot, dst: RESIDUAL });
    }

    /// dst = W·src with the named tensor, its optional `.scale` and its optional `.bias`.
    pub fn linear(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let epilogue = self.epilogue(name, self.width(dst))?;
        self.project(name, src, dst, epilogue)
    }

    /// dst += W·src, likewise.
    pub fn linear_add(&mut self, name: &str, src: Slot, dst: Slot) -> Result<()> {
        let epilogue = self.epilogue(name, self.width(dst))?;
        self.project(name, src, dst, Epilogue { accumulate: true, ..epilogue })
    }

    /// The optional `.scale` and `.bias` of the named tensor of `rows` rows.
    pub fn epilogue(&mut self, name: &str, rows: usize) -> Result<Epilogue> {
        let scale = self.optional(&format!("{name}.scale"), 1)?;
        let bias = self.optional(&format!("{name}.bias"), rows)?;
        Ok(Epilogue { scale, bias, ..Epilogue::default() })
    }

    /// dst = epilogue(W·src) with the named tensor.
    pub fn project(&mut self, name: &str, src: Slot, dst: Slot, epilogue: Epilogue) -> Result<()> {
        let view = self.matrix(&format!("{name}.weight"), self.width(dst), self.width(src), 1)?;
        self.push(Op::MatMul { view, src, dst, epilogue });
        Ok(())
    }

    /// Several projections fused in one tensor, their rows in the order of `dsts`. Its scale is used
    /// where `is_scaled` says so.
    pub fn fused(&mut self, name: &str, src: Slot, dsts: &[Slot], is_scaled: bool) -> Result<()> {
        let rows = dsts.iter().map(|d| self.width(*d)).sum();
        let columns = self.width(src);
        let whole = self.matrix(&format!("{name}.weight"), rows, columns, 1)?;
        let Epilogue { scale, bias, .. } = self.epilogue(name, rows)?;
        let epilogue = Epilogue { scale: scale.filter(|_| is_scaled), bias, ..Epilogue::default() };
        let mut first_row = 0;
        for &dst in dsts {
            let view = RowView { weight: whole.weight, first_row, rows: self.width(dst) };
            self.push(Op::MatMul { view, src, dst, epilogue });
            first_row += view.rows;
        }
        Ok(())
    }

    /// The finished program.
    pub fn finish(mut self, outputs: Outputs) -> Program {
        self.program.outputs = outputs;
        self.program
    }
}

/// A layer under construction.
pub struct Layer<'a> {
    pub index: usize,
    pub shape: &'a LayerShape,
    pub slots: Slots,
}

impl<'a> Layer<'a> {
    /// The same for a dense feed-forward, where only some layers have experts and the file's tensors say which.
    pub fn dense(&self, b: &mut Builder) -> Layer<'a> {
        let width = self.shape.feed_forward;
        let slots = Slots { gate: b.slot("gate", width), up: b.slot("up", width), ..self.slots };
        Layer { slots, ..*self }
    }

    /// The name of one of its tensors, without what follows the last dot.
    pub fn name(&self, tensor: &str) -> String {
        format!("blk.{}.{tensor}", self.index)
    }
}

/// The activation slots of a layer.
#[derive(Clone, Copy)]
pub struct Slots {
    /// The normalised residual stream, input of the projections.
    pub normed: Slot,
    pub query: Slot,
    pub key: Slot,
    pub value: Slot,
    /// Attention's output, before its projection.
    pub attended: Slot,
    pub gate: Slot,
    pub up: Slot,
    /// A block's output where something happens to it before it joins the residual stream.
    pub output: Slot,
    pub experts: Option<ExpertSlots>,
}

/// Slots of a mixture of experts.
#[derive(Clone, Copy)]
pub struct ExpertSlots {
    pub logits: Slot,
    pub choice: Slot,
    /// Gates and inner values of the experts in use, and a row of the residual's width for each.
    pub gate: Slot,
    pub up: Slot,
    pub outputs: Slot,
}

impl Slots {
    /// The slots of a layer of this shape.
    pub fn new(b: &mut Builder, shape: &LayerShape) -> Slots {
        let embedding = b.config.embedding;
        let experts = shape.experts.as_ref().map(|e| ExpertSlots {
            logits: b.slot("expert logits", e.count),
            choice: b.slot("expert choice", 2 * e.used),
            outputs: b.slot("expert outputs", e.used * embedding),
            gate: b.slot("expert gate", e.feed_forward * e.used),
            up: b.slot("expert up", e.feed_forward * e.used),
        });
        let (gate, up) = match (&shape.experts, &experts) {
            // Without experts that every token uses, there are no others.
            (Some(Experts { shared_feed_forward: 0, .. }), Some(slots)) => (slots.gate, slots.up),
            (Some(Experts { shared_feed_forward: inner, .. }), _) => (b.slot("gate", *inner), b.slot("up", *inner)),
            (None, _) => (b.slot("gate", shape.feed_forward), b.slot("up", shape.feed_forward)),
        };
        // A layer without attention uses none of its slots.
        let (heads, kv_heads) = (shape.heads, if shape.heads > 0 { shape.kv_heads } else { 0 });
        Slots {
            normed: b.slot("normed", embedding),
            query: b.slot("query", heads * shape.key_length),
            key: b.slot("key", kv_heads * shape.key_length),
            value: b.slot("value", kv_heads * shape.value_length),
            attended: b.slot("attended", heads * shape.value_length),
            gate,
            up,
            output: b.slot("output", embedding),
            experts,
        }
    }
}
