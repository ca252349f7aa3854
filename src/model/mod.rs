//! Model architectures: configuration from metadata, and the program of ops for each.
//!
//! An architecture is a page in `arch/`, which reads as a list of named steps from `blocks/`, and a row in the
//! registry. Nothing else knows it.

mod arch;
mod blocks;
mod builder;
mod config;
mod keys;
mod registry;
mod shape;

pub use config::{CONTEXT_DEFAULT, Config};
pub use registry::{Architecture, REGISTRY};
pub use shape::{Experts, LayerShape, Mixer, Recurrence};

use crate::error::Result;
use crate::gguf::Header;
use crate::program::{Epilogue, Op, Outputs, Program, RESIDUAL, RowView};
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
    let table = b.matrix("token_embd.weight", config.vocabulary, config.embedding, 1)?;
    b.push(Op::Embed { table: table.weight, dst: RESIDUAL, scale: config.embedding_scale });
    if b.has("position_embd.weight") {
        let positions = b.matrix("position_embd.weight", config.context_length, config.embedding, 1)?;
        b.push(Op::EmbedPosition { table: positions.weight, dst: RESIDUAL });
    }
    if config.output_norm != "token_embd_norm" && b.has("token_embd_norm.weight") {
        b.norm("token_embd_norm", RESIDUAL, RESIDUAL)?;
    }
    Ok(table)
}

/// The last norm and the logits, by a matrix of its own or the embedding's table.
fn head(b: &mut Builder, table: RowView) -> Result<Outputs> {
    let config = b.config;
    let hidden = b.slot("normed", config.embedding);
    b.norm(config.output_norm, RESIDUAL, hidden)?;
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
