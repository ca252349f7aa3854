//! What an engine tells its owner, as TypeScript has it.

#[cfg(test)]
mod typescript;
