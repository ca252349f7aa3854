//! Seeded fuzzing of everything that reads what strangers wrote.
//!
//! `cargo fuzzing gguf --inputs 10000000 --seed 1 --threads 2` makes the inputs from the seed and
//! their number alone, so a failure is found again with `--only NUMBER`. It fails on a panic, on
//! memory beyond a target's bound, and on an input that takes too long.

mod allocation;
mod gguf;
mod model;
mod mutate;
mod runner;
mod template;
mod tokenizer;

use runner::{Options, Target};
use std::process::ExitCode;

/// The target with this name.
fn target(name: &str) -> Option<Box<dyn Target>> {
    Some(match name {
        "gguf" => Box::new(gguf::Gguf::new()),
        "model" => Box::new(model::Model::new()),
        "template" => Box::new(template::Template::new()),
        "tokenizer" => Box::new(tokenizer::Tokenizers::new()),
        "whole-tokens" => Box::new(tokenizer::Tokenizers::of_whole_tokens()),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    match (target(&name), options(arguments)) {
        (Some(target), Ok(options)) => runner::run(&name, target.as_ref(), &options),
        (None, _) => usage("no such target"),
        (_, Err(message)) => usage(&message),
    }
}

/// Reads the options after the target.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { inputs: 1_000_000, seed: 1, threads: 1, first: 0, only: None };
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--inputs" => options.inputs = value,
            "--seed" => options.seed = value,
            "--threads" => options.threads = value.clamp(1, 64) as usize,
            "--first" => options.first = value,
            "--only" => options.only = Some(value),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// Says how to call the program.
fn usage(message: &str) -> ExitCode {
    eprintln!("{message}");
    let targets = "gguf|model|template|tokenizer|whole-tokens";
    eprintln!("usage: fuzz {targets} [--inputs N] [--seed N] [--threads N] [--first N] [--only N]");
    ExitCode::from(2)
}
