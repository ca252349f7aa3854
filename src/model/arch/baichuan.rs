//! Baichuan: Llama in the smaller model; the larger one, of 40 layers, has ALiBi in place of rotation.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, _: &Keys) -> Result<()> {
    let layers = c.layers.len();
    for shape in c.layers.iter_mut().filter(|_| layers != 32) {
        (shape.rope, shape.alibi) = (None, (layers == 40).then_some(8.0));
    }
    Ok(())
}

pub use super::qwen2::layer;
