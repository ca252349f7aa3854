//! The files of pkg/ that are not compiled.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::Workspace;

const COPIED: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Writes package.json from pkg.json, with the crate's version, and copies the texts.
pub fn write(workspace: &Workspace) -> Result<()> {
    let package = workspace.package();
    fs::create_dir_all(&package)?;
    let source = fs::read_to_string(workspace.root.join("pkg.json")).context("cannot read pkg.json")?;
    let cargo = fs::read_to_string(workspace.root.join("Cargo.toml"))?;
    let version = version(&cargo).context("Cargo.toml names no version")?;
    fs::write(package.join("package.json"), manifest(&source, version).context("pkg.json is not JSON")?)?;
    for name in COPIED {
        let from = workspace.root.join(name);
        fs::copy(&from, package.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// The manifest with its version. Keys keep their order: of conditional exports the first that fits is taken.
fn manifest(source: &str, version: &str) -> serde_json::Result<String> {
    let mut manifest: Value = serde_json::from_str(source)?;
    manifest["version"] = version.into();
    Ok(format!("{manifest:#}\n"))
}

/// The version in the `[package]` section.
fn version(cargo: &str) -> Option<&str> {
    let section = cargo.split("\n[").find(|section| section.trim_start_matches('[').starts_with("package]"))?;
    let line = section.lines().find(|line| line.starts_with("version"))?;
    line.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::{manifest, version};

    #[test]
    fn the_version_is_the_package_s() {
        let cargo = "[workspace]\nversion = \"9\"\n\n[package]\nname = \"x\"\nversion = \"1.2.3\"\n[dependencies]\n";
        assert_eq!(version(cargo), Some("1.2.3"));
    }

    #[test]
    fn exports_keep_their_order() {
        let written =
            manifest(r#"{"version": "0", "exports": {"types": "./t", "default": "./d"}}"#, "1.2.3").expect("JSON");
        assert!(written.find("types") < written.find("default") && written.contains("1.2.3"), "{written}");
    }
}
