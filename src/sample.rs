//! Sampling: logits to token.
