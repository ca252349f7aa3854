//! Node and the npm packages of the lockfile.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{ask, find_program, run};
use crate::stamp::{Inputs, Stamp};
use crate::workspace::Workspace;

/// The oldest release that the npm packages in use accept.
const NODE_VERSION_MIN: (u32, u32) = (20, 19);

/// Checks Node and installs the npm packages if the lockfile changed. Returns Node's path.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let node = find_program("node").context("Node is missing: install Node 20 or newer (https://nodejs.org)")?;
    let version = ask(&node, &["--version"]).context("node --version fails")?;
    if parse(&version).is_none_or(|version| version < NODE_VERSION_MIN) {
        bail!("Node {version} is too old: {}.{} is the oldest that works", NODE_VERSION_MIN.0, NODE_VERSION_MIN.1);
    }
    let inputs = Inputs::default()
        .path(&workspace.root.join("package.json"))?
        .path(&workspace.root.join("package-lock.json"))?;
    let stamp = Stamp::new(workspace, "npm", inputs);
    if !stamp.is_fresh(&[workspace.root.join("node_modules/.package-lock.json")]) {
        // Packages get no chance to run code of their own while they are installed.
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&workspace.root);
        run("setup", "npm ci", &mut command)?;
        stamp.write()?;
    }
    Ok(node)
}

/// Major and minor of `v20.19.1`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_compare_by_number() {
        assert!(parse("v20.9.0") < parse("v20.19.0"));
        assert!(parse("v22.1.0") > parse("v20.19.0"));
        assert_eq!(parse("20"), None);
    }
}
