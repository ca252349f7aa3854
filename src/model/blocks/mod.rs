//! The parts that architectures share.

mod attention;
mod experts;
mod feed_forward;

pub use attention::{attend, attention, norm_heads, project_qkv, rotate};
pub use experts::{experts, shared_experts};
pub use feed_forward::{FeedForward, feed_forward};
