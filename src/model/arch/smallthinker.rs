//! SmallThinker: experts that are chosen before attention, and layers that slide over a window and rotate, but for
//! every fourth.

use crate::error::Result;
use crate::model::blocks::{FeedForward, attention, chosen_experts, route};
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, Mask, RESIDUAL};

/// The window, whatever a file that has one says.
const WINDOW: usize = 4096;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.read_routing(keys, 1)?;
    c.experts().for_each(|experts| experts.normalise = true);
    if keys.size("attention.sliding_window", 0, usize::MAX, Some(0))? == 0 {
        return Ok(());
    }
    c.slide_but_first(keys, 4, Mask::Window(WINDOW))?;
    let base = keys.float("rope.freq_base_swa", 0.0)?;
    for (layer, shape) in c.layers.iter_mut().enumerate() {
        if matches!(shape.mask, Mask::Window(_)) {
            shape.rope.iter_mut().filter(|_| base > 0.0).for_each(|rope| rope.base = base);
        }
        shape.rope.take_if(|_| layer % 4 == 0);
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    let s = l.slots;
    route(b, l, RESIDUAL)?;
    b.norm(&l.name("attn_norm"), RESIDUAL, s.normed)?;
    attention(b, l, s.normed)?;
    b.linear_add(&l.name("attn_output"), s.attended, RESIDUAL)?;

    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    let kind = FeedForward { activation: Activation::Relu, ..FeedForward::SWIGLU };
    chosen_experts(b, l, kind, s.normed)
}
