//! BitNet b1.58: Llama with a norm of what comes before the last product of each block, and a gate by SiLU or by squares.

use crate::error::{ChordError, ErrorCode, Result};
use crate::model::blocks::attention;
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.uses_silu = match keys.metadata.opt_str(&keys.key("hidden_activation"))? {
        None | Some("silu") => true,
        Some("relu2") => false,
        Some(other) => {
            let text = format!("bitnet with the activation '{other}' is not supported");
            return Err(ChordError::new(ErrorCode::UnsupportedArchitecture, text));
        }
    };
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.norm(&l.name("attn_sub_norm"), s.attended, s.attended)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    b.linear(&l.name("ffn_gate"), s.normed, s.gate)?;
    b.linear(&l.name("ffn_up"), s.normed, s.up)?;
    let activation = if b.config.uses_silu { Activation::Silu } else { Activation::ReluSquared };
    b.push(Op::Gate { gate: s.gate, up: s.up, activation });
    b.norm(&l.name("ffn_sub_norm"), s.gate, s.gate)?;
    b.linear_add(&l.name("ffn_down"), s.gate, RESIDUAL)
}
