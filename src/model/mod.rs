//! Model architectures: configuration from metadata, and the program of ops for each.
//!
//! An architecture is a page in `arch/`, which reads as a list of named steps from `blocks/`, and a row in the
//! registry. Nothing else knows it.

mod adapter;
mod arch;
mod blocks;
mod builder;
mod config;
mod keys;
mod registry;
mod shape;

pub use adapter::adapt;
pub use config::{CONTEXT_DEFAULT, Config};
pub use registry::{Architecture, REGISTRY};
pub use shape::{Experts, LayerShape, Mixer, Recurrence};

use crate::error::{ChordError, Result};
use crate::gguf::Header;
use crate::program::{Epilogue, Op, Outputs, Program, RESIDUAL, RowView, Runs};
use blocks::{copy_runs, first_stream};
use builder::{Builder, Layer, Slots};

/// Writes the program of the model in `header`.
pub fn compile(header: &Header, config: &Config) -> Result<Program> {
    let mut builder = Builder::new(header, config);
    let b = &mut builder;
    let table = embed(b)?;
    for (index, shape) in config.layers.iter().enumerate() {
        let slots = Slots::new(b, shape);
        b.enter(index + 1);
        (config.architecture.layer)(b, &Layer { index, shape, slots })?;
    }
    b.enter(config.layers.len() + 1);
    let outputs = head(b, table)?;
    Ok(builder.finish(outputs))
}

/// The embedding, with what some files have beside its table.
fn embed(b: &mut Builder) -> Result<RowView> {
    let config = b.config;
    let dst = if config.streams > 1 { b.slot("embedded", config.embedding) } else { RESIDUAL };
    let table = b.matrix("token_embd.weight", config.vocabulary, config.embedding, 1)?;
    b.push(Op::Embed { table: table.weight, dst, scale: config.embedding_scale });
    if b.has("token_types.weight") {
        // A text is of the first of the types.
        let types = b.matrix("token_types.weight", b.rows("token_types.weight")?, config.embedding, 1)?;
        b.push(Op::EmbedRow { table: types.weight, row: 0, dst });
    }
    if b.has(config::POSITIONS) {
        let positions = b.matrix(config::POSITIONS, config.context_length, config.embedding, 1)?;
        b.push(Op::EmbedPosition { table: positions.weight, dst });
    }
    if config.output_norm != "token_embd_norm" && b.has("token_embd_norm.weight") {
        b.norm("token_embd_norm", dst, dst)?;
    }
    if dst != RESIDUAL {
        // Every stream begins with it.
        let to = Runs { first: 0, step: config.embedding };
        copy_runs(b, dst, Runs { first: 0, step: 0 }, RESIDUAL, to, config.embedding, config.streams);
    }
    Ok(table)
}

/// The hidden states of a model that makes no logits, and where it ranks texts, their scores.
fn hidden_states(b: &mut Builder) -> Result<Outputs> {
    let config = b.config;
    let hidden = match b.has(&format!("{}.weight", config.output_norm)) {
        true => b.slot("normed", config.embedding),
        false => RESIDUAL,
    };
    if hidden != RESIDUAL {
        b.norm(config.output_norm, RESIDUAL, hidden)?;
    }
    // Whatever a file has behind the norm is linear: the mean of what it makes is what it makes of the mean.
    let mut hidden = hidden;
    for name in ["dense_2", "dense_3"] {
        let matrix = format!("{name}.weight");
        if b.has(&matrix) {
            let inner = std::mem::replace(&mut hidden, b.slot(name, b.rows(&matrix)?));
            b.linear(name, inner, hidden)?;
        }
    }
    if b.width(hidden) != config.embedding {
        return Err(ChordError::model(format!("an embedding of {} values is not supported", b.width(hidden))));
    }
    if !config.ranks {
        return Ok(Outputs { hidden, logits: b.slot("scores", 0) });
    }
    let mut scores = hidden;
    if b.has("cls.weight") {
        scores = b.slot("classified", b.rows("cls.weight")?);
        b.linear("cls", hidden, scores)?;
        // The hyperbolic tangent.
        b.push(Op::Softcap { slot: scores, cap: 1.0 });
    }
    if b.has("cls.output.weight") {
        let inner = std::mem::replace(&mut scores, b.slot("scores", b.rows("cls.output.weight")?));
        b.linear("cls.output", inner, scores)?;
    }
    Ok(Outputs { hidden, logits: scores })
}

/// The last norm and the logits, by a matrix of its own or the embedding's table.
fn head(b: &mut Builder, table: RowView) -> Result<Outputs> {
    let config = b.config;
    if config.looks_ahead && !config.fills_in || config.ranks {
        return hidden_states(b);
    }
    let hidden = b.slot("normed", config.embedding);
    let last = first_stream(b);
    b.norm(config.output_norm, last, hidden)?;
    let logits = b.slot("logits", config.vocabulary);
    if b.has("output.weight") {
        let epilogue = b.epilogue("output", config.vocabulary)?;
        let bias = epilogue.bias.filter(|_| config.has_output_bias);
        b.project("output", hidden, logits, Epilogue { bias, ..epilogue })?;
    } else {
        b.push(Op::MatMul { view: table, src: hidden, dst: logits, epilogue: Epilogue::default() });
    }
    if config.logit_scale != 1.0 {
        b.push(Op::Scale { slot: logits, factor: config.logit_scale });
    }
    if let Some(cap) = config.final_softcap {
        b.push(Op::Softcap { slot: logits, cap });
    }
    Ok(Outputs { hidden, logits })
}
