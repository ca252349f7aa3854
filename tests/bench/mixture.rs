//! Writes the models of `cargo xtask bench mixture`, unless they are there: mixtures of 128 experts with random weights, of
//! which a token uses 8, in `FOLDER/skewed.gguf` and `FOLDER/uniform.gguf`. Of the first some experts are favoured, by a
//! bias of their choice, as those of trained models are.

#[allow(dead_code)] // Tests use the rest.
#[path = "../support/random_mixture.rs"]
mod random_mixture;
#[allow(dead_code)] // Tests use the rest.
#[path = "../support/random_model.rs"]
mod random_model;

use random_mixture::Mixture;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use wasm_chord::quant::Dtype;

/// How much the bias favours an expert over the next, like the logarithm in Zipf's law: 87 of 100 uses are then of the fifth
/// of the experts that is used most.
const SKEW: f32 = 0.16;

/// Attention has about a third of the bytes that a token uses.
const MIXTURE: Mixture = Mixture {
    architecture: "minimax-m2",
    layers: 12,
    embedding: 1024,
    heads: 64,
    kv_heads: 8,
    experts: 128,
    used: 8,
    inner: 384,
    context: 2048,
    dtype: Dtype::Q4_0,
    skew: 0.0,
    embedded: Some(64.0),
};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/mixtures".into());
    std::fs::create_dir_all(&folder)?;
    for (name, skew) in [("skewed", SKEW), ("uniform", 0.0)] {
        let path = Path::new(&folder).join(name).with_extension("gguf");
        if path.exists() {
            continue;
        }
        println!("writing {}", path.display());
        let begun = path.with_extension("part");
        Mixture { skew, ..MIXTURE }.write(&mut BufWriter::new(File::create(&begun)?))?;
        std::fs::rename(begun, path)?;
    }
    Ok(())
}
