//! Llama 2 and 3.x, Mistral, SmolLM2, TinyLlama and Mixtral, and those that differ from them only in
//! tensors or numbers: Qwen 2 (biases), Qwen 3 (norms over heads), Phi 3 (fused projections).

use super::blocks::{Slots, attend, experts, feed_forward, norm_heads, project_qkv};
use super::builder::Builder;
use super::config::Architecture;
use crate::error::Result;
use crate::program::{Activation, RESIDUAL, RopeId};

pub fn layer(b: &mut Builder, s: &Slots, layer: usize, rope: RopeId) -> Result<()> {
    let p = &format!("blk.{layer}.");
    let width = b.config.embedding;
    b.norm(&format!("{p}attn_norm"), RESIDUAL, s.normed, width)?;
    project_qkv(b, s, p)?;
    if b.config.architecture == Architecture::Qwen3 {
        norm_heads(b, s, p)?;
    }
    attend(b, s, layer, rope);
    b.linear_add(&format!("{p}attn_output"), s.attended, RESIDUAL)?;

    b.norm(&format!("{p}ffn_norm"), RESIDUAL, s.normed, width)?;
    if let Some(e) = &s.experts {
        return experts(b, s, e, p);
    }
    let scaled = matches!(b.config.architecture, Architecture::Llama | Architecture::Qwen3);
    feed_forward(b, s, p, Activation::Silu, scaled, RESIDUAL, true)
}
