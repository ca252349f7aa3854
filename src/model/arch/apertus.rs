//! Apertus: Qwen 3's attention, and a feed-forward without a gate by xIELU, <https://arxiv.org/abs/2411.13010>.

use crate::error::{ChordError, Result};
use crate::model::blocks::take_columns;
use crate::model::builder::{Builder, Layer};
use crate::model::config::Config;
use crate::model::keys::Keys;
use crate::program::{Activation, Op, RESIDUAL};

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    let layers = c.layers.len();
    let values = |name: &str| {
        let key = format!("xielu.{name}");
        let values = keys.metadata.opt_f32_or_array(&key, layers)?;
        let values = values.filter(|values| values.iter().all(|value| value.is_finite()));
        values.ok_or_else(|| ChordError::model(format!("'{key}' has no number for each layer")).with("key", key))
    };
    let softplus = |x: f32| if x > 20.0 { x } else { x.exp().ln_1p() };
    let (above, below, linear) = (values("alpha_p")?, values("alpha_n")?, values("beta")?);
    for (layer, shape) in c.layers.iter_mut().enumerate() {
        shape.xielu = [softplus(above[layer]), linear[layer] + softplus(below[layer]), linear[layer]];
    }
    Ok(())
}

pub fn layer(b: &mut Builder, l: &Layer) -> Result<()> {
    super::qwen3::attention_block(b, l)?;
    let s = l.slots;
    b.norm(&l.name("ffn_norm"), RESIDUAL, s.normed)?;
    b.linear(&l.name("ffn_up"), s.normed, s.up)?;
    // a·max(x, 0)² + b·(e^min(x, 0) − 1 − min(x, 0)) + c·x
    let [above, below, linear] = l.shape.xielu;
    let bent = b.slot("bent", l.shape.feed_forward);
    take_columns(b, s.up, 0, s.gate);
    take_columns(b, s.up, 0, bent);
    for (slot, activation, factor) in [
        (s.gate, Activation::ReluSquared, above),
        (bent, Activation::ExpBelow, below),
        (s.up, Activation::Identity, linear),
    ] {
        if activation != Activation::Identity {
            b.push(Op::Activate { slot, activation });
        }
        b.push(Op::Scale { slot, factor });
    }
    b.push(Op::Add { src: bent, dst: s.gate });
    b.push(Op::Add { src: s.up, dst: s.gate });
    b.linear_add(&l.name("ffn_down"), s.gate, RESIDUAL)
}
