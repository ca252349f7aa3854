//! Where things lie.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of this checkout that the tasks read and write.
pub struct Workspace {
    /// The root of the repository.
    pub root: PathBuf,
    /// Cargo's target folder, which `CARGO_TARGET_DIR` may have moved.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this program was built from.
    pub fn locate() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask lies in a folder of the repository")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(path) => env::current_dir()?.join(path),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The publishable npm package.
    pub fn package(&self) -> PathBuf {
        self.root.join("pkg")
    }

    /// The wasm builds with the `selftest` feature, which only the tests load.
    pub fn selftest(&self) -> PathBuf {
        self.target.join("selftest")
    }

    /// The assembled demo page.
    pub fn demo(&self) -> PathBuf {
        self.target.join("demo")
    }

    /// A program that npm installed, to be run by node.
    pub fn npm_program(&self, path: &str) -> PathBuf {
        self.root.join("node_modules").join(path)
    }

    /// Stamps and logs of the tasks themselves.
    pub fn state(&self) -> PathBuf {
        self.target.join("xtask-state")
    }
}
