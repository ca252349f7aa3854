//! The state machine that joins header, tokenizer, weights, backend and sampler: events in, actions out.
