//! The parts that architectures share.

mod ahead;
mod attention;
mod experts;
mod feed_forward;
mod latent;
mod recurrent;
mod rwkv;

pub use ahead::attention_ahead;
pub use attention::{attend, attention, norm_heads, project_qkv, rotate};
pub use experts::{
    chosen_experts, expert_output, experts, gated_shared_experts, join_experts, route, shared_experts, shared_output,
    weighed_experts,
};
pub use feed_forward::{FeedForward, Form, feed_forward};
pub use latent::{Latent, latent_attention};
pub use recurrent::{
    DeltaNet, copy_runs, delta_net, first_stream, mamba, mamba2, multiply, normalise_keys, put_stream, short_conv,
    subtract, take_columns,
};
pub use rwkv::{channel_mix, time_mix_6, time_mix_7};
