//! Skipping steps whose inputs have not changed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// A digest of everything a step depends on: the contents of files, and words such as flags.
#[derive(Default)]
pub struct Inputs(DefaultHasher);

impl Inputs {
    /// Adds a word: a flag, a version, a recipe's number.
    pub fn word(mut self, word: impl Hash) -> Self {
        word.hash(&mut self.0);
        self
    }

    /// Adds a file by content, or every file below a folder by name and content. What is absent counts as empty.
    pub fn path(mut self, path: &Path) -> Result<Self> {
        for file in files_below(path)? {
            file.strip_prefix(path).unwrap_or(&file).hash(&mut self.0);
            fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut self.0);
        }
        Ok(self)
    }
}

/// The note that a step was done, with the digest of its inputs.
pub struct Stamp {
    file: PathBuf,
    digest: String,
}

impl Stamp {
    pub fn new(workspace: &Workspace, step: &str, inputs: Inputs) -> Self {
        Self { file: workspace.state().join(format!("{step}.stamp")), digest: format!("{:016x}", inputs.0.finish()) }
    }

    /// Whether the step was done with the same inputs and its outputs are still there.
    pub fn is_fresh(&self, outputs: &[PathBuf]) -> bool {
        outputs.iter().all(|output| output.exists())
            && fs::read_to_string(&self.file).is_ok_and(|digest| digest == self.digest)
    }

    /// Notes that the step is done; call it last.
    pub fn write(&self) -> Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.file, &self.digest).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// The file itself, or all files below a folder in a stable order; nothing when the path does not exist.
pub fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![path.to_path_buf()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_fresh_until_an_input_or_output_changes() {
        let root = std::env::temp_dir().join(format!("chord-stamp-{}", std::process::id()));
        let workspace = Workspace { root: root.clone(), target: root.join("target") };
        let source = root.join("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("a"), "one").unwrap();
        let output = root.join("output");
        let stamp = || Stamp::new(&workspace, "step", Inputs::default().word("-O3").path(&source).unwrap());

        assert!(!stamp().is_fresh(&[]), "never done");
        stamp().write().unwrap();
        assert!(stamp().is_fresh(&[]));
        assert!(!stamp().is_fresh(std::slice::from_ref(&output)), "output is missing");
        fs::write(&output, "").unwrap();
        assert!(stamp().is_fresh(std::slice::from_ref(&output)));
        fs::write(source.join("a"), "two").unwrap();
        assert!(!stamp().is_fresh(&[output]), "input changed");

        fs::remove_dir_all(root).unwrap();
    }
}
