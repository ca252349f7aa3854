//! OLMo 1: Llama with layer norms that have no weights.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.bare_norms = true;
    super::dbrx::configure(c, keys)
}
