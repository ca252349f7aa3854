//! Ling: DeepSeek 1 with experts in every layer.

use crate::error::Result;
use crate::model::config::Config;
use crate::model::keys::Keys;

pub fn configure(c: &mut Config, keys: &Keys) -> Result<()> {
    c.share_by_count(keys)?;
    let normalise = keys.flag("expert_weights_norm", false)?;
    c.experts().for_each(|experts| experts.normalise = normalise);
    Ok(())
}
