//! Model architectures: configuration from metadata, and the program of ops for each.
