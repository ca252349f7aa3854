//! What a page downloads.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::variant::{CONSTRAIN, GPU, VARIANTS};
use crate::stamp::files_below;
use crate::workspace::Workspace;

/// More than this is a failed test.
pub const DOWNLOAD_BYTES_MAX: usize = 900_000;

/// Modules of the package that a page imports beside the main one, or does not.
const OPTIONAL: [&str; 3] = ["openai.js", "prompt-api.js", "react.js"];

/// Bytes after gzip.
pub struct Size {
    /// The public module, every worker, and the JavaScript sides of the wasm builds for the CPU.
    pub scripts: usize,
    /// The largest of those builds.
    pub wasm: usize,
    /// What a page downloads besides that asks for answers of a grammar.
    pub grammars: usize,
}

impl Size {
    /// What a page that computes on the CPU downloads, at most.
    pub fn download(&self) -> usize {
        self.scripts + self.wasm
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kilobytes = |bytes: usize| bytes as f64 / 1000.0;
        write!(
            formatter,
            "A page downloads {:.1} KB gzipped: wasm {:.1}, scripts {:.1} (limit {:.0}); grammars take {:.1} KB more",
            kilobytes(self.download()),
            kilobytes(self.wasm),
            kilobytes(self.scripts),
            kilobytes(DOWNLOAD_BYTES_MAX),
            kilobytes(self.grammars)
        )
    }
}

/// Compresses the files of pkg/ as a server would.
pub fn measure(workspace: &Workspace) -> Result<Size> {
    let package = workspace.package();
    let mut scripts = 0;
    for file in files_below(&package)? {
        let is_optional = OPTIONAL.iter().any(|name| file.ends_with(name));
        if !is_optional && file.extension().is_some_and(|extension| extension == "js") {
            scripts += gzip_bytes(&file)?;
        }
    }
    let module_bytes = |name: &str| gzip_bytes(&package.join("wasm").join(name).with_extension("wasm"));
    let mut wasm = 0;
    for variant in VARIANTS.iter().filter(|variant| variant.is_engine() && variant.name != GPU) {
        wasm = wasm.max(module_bytes(variant.name)?);
    }
    Ok(Size { scripts, wasm, grammars: module_bytes(CONSTRAIN)? })
}

fn gzip_bytes(file: &Path) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&fs::read(file)?)?;
    Ok(encoder.finish()?.len())
}
