//! Model architectures: configuration from metadata, and the program of ops for each.
//!
//! An architecture is one file that writes a layer as a list of named steps. To add one, name it in
//! [`Architecture`], write its `layer`, and route it in [`compile`].

mod blocks;
mod builder;
mod config;
mod gemma3;
mod llama;

pub use config::{Architecture, CONTEXT_DEFAULT, Config};

use crate::error::Result;
use crate::gguf::Header;
use crate::program::{Epilogue, Op, Outputs, Program, RESIDUAL, RopeId};
use blocks::Slots;
use builder::Builder;

/// Writes the program of the model in `header`.
pub fn compile(header: &Header, config: &Config) -> Result<Program> {
    let mut builder = Builder::new(header, config);
    let b = &mut builder;
    let table = b.matrix("token_embd.weight", config.vocabulary, config.embedding, 1)?;
    let scale = match config.architecture {
        Architecture::Gemma3 => (config.embedding as f32).sqrt(),
        _ => 1.0,
    };
    b.push(Op::Embed { table: table.weight, dst: RESIDUAL, scale });
    let slots = Slots::new(b);
    let (rope, sliding) = ropes(b)?;
    for layer in 0..config.layers {
        b.enter(layer + 1);
        let rope = if config.sliding[layer] { sliding } else { rope };
        match config.architecture {
            Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Phi3 => {
                llama::layer(b, &slots, layer, rope)?
            }
            Architecture::Gemma3 => gemma3::layer(b, &slots, layer, rope)?,
        }
    }
    b.enter(config.layers + 1);
    b.norm("output_norm", RESIDUAL, slots.normed, config.embedding)?;
    let logits = b.slot(config.vocabulary);
    if b.has("output.weight") {
        b.linear("output", slots.normed, logits)?;
    } else {
        b.push(Op::MatMul { view: table, src: slots.normed, dst: logits, epilogue: Epilogue::default() });
    }
    if let Some(cap) = config.final_softcap {
        b.push(Op::Softcap { slot: logits, cap });
    }
    Ok(builder.finish(Outputs { hidden: slots.normed, logits }))
}

/// Registers the rotations of full and of sliding layers, with the frequency factors of the file.
fn ropes(b: &mut Builder) -> Result<(RopeId, RopeId)> {
    let config = b.config;
    let mut rope = config.rope.clone();
    let half = rope.dims / 2;
    let by_length = if config.context as f32 > rope.original_context {
        "rope_factors_long.weight"
    } else {
        "rope_factors_short.weight"
    };
    rope.factors = match b.optional("rope_freqs.weight", half)? {
        Some(factors) => Some(factors),
        None => b.optional(by_length, half)?,
    };
    let mut sliding = config.rope_sliding.clone();
    sliding.factors = rope.factors;
    Ok((b.rope(rope), b.rope(sliding)))
}
