//! Licences and sources of everything that is built in or built with.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

/// What may be part of a package under MIT or Apache-2.0.
const ALLOWED: [&str; 8] = ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "0BSD"];
/// What npm packages may be under besides: all of them are tools that build and test, and nothing of them is shipped.
const ALLOWED_TOOLS: [&str; 3] = ["BlueOak-1.0.0", "CC-BY-4.0", "MPL-2.0"];
/// The registry that crates come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks what `cargo metadata` prints: each crate from the registry or of this workspace, under an allowed licence.
pub fn check_crates(metadata: &[u8]) -> Result<()> {
    let metadata: Value = serde_json::from_slice(metadata).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        // Without a source it lies in this repository; `publish = false` leaves the licence to the repository's.
        let Some(source) = package["source"].as_str() else { continue };
        ensure!(source == CRATES_IO, "the crate {name} comes from {source}, not from the registry");
        check(name, package["license"].as_str(), &[])?;
    }
    Ok(())
}

/// Checks npm's lockfile: each package from the registry, by digest, under an allowed licence. That none runs a script
/// while it is installed is seen to by `--ignore-scripts`.
pub fn check_npm(lockfile: &[u8]) -> Result<()> {
    let lockfile: Value = serde_json::from_slice(lockfile).context("package-lock.json is not JSON")?;
    let packages = lockfile["packages"].as_object().context("package-lock.json names no packages")?;
    for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
        let name = path.trim_start_matches("node_modules/");
        ensure!(package["integrity"].is_string(), "the npm package {name} is locked without a digest");
        let is_tool = ["dev", "devOptional", "optional"].iter().any(|kind| package[kind] == true);
        check(name, package["license"].as_str(), if is_tool { &ALLOWED_TOOLS } else { &[] })?;
    }
    Ok(())
}

fn check(name: &str, licence: Option<&str>, besides: &[&str]) -> Result<()> {
    let Some(licence) = licence else { bail!("{name} names no licence") };
    let expression = Expression::parse_mode(licence, ParseMode::LAX)
        .map_err(|error| anyhow::anyhow!("{name} has a licence that cannot be read, {licence:?}: {}", error.reason))?;
    let is_allowed = |required: &LicenseReq| {
        required.license.id().is_some_and(|id| ALLOWED.contains(&id.name) || besides.contains(&id.name))
            && required.addition.is_none()
    };
    ensure!(expression.evaluate(is_allowed), "{name} is under {licence}, which cannot be shipped with this package");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_licences_needs_one_that_is_allowed() {
        assert!(check("a", Some("GPL-3.0-only OR MIT"), &[]).is_ok());
        assert!(check("b", Some("MIT/Apache-2.0"), &[]).is_ok());
        assert!(check("c", Some("(MIT OR Apache-2.0) AND Unicode-3.0"), &[]).is_ok());
        assert!(check("d", Some("GPL-3.0-only AND MIT"), &[]).is_err());
        assert!(check("e", Some("whatever"), &[]).is_err());
        assert!(check("f", None, &[]).is_err());
    }

    #[test]
    fn crates_from_elsewhere_are_refused() {
        let metadata = |source: &str| format!(r#"{{"packages":[{{"name":"x","license":"MIT","source":{source}}}]}}"#);
        assert!(check_crates(metadata("null").as_bytes()).is_ok());
        assert!(check_crates(metadata(&format!("\"{CRATES_IO}\"")).as_bytes()).is_ok());
        assert!(check_crates(metadata("\"git+https://example.org/x\"").as_bytes()).is_err());
    }

    #[test]
    fn npm_packages_are_locked_by_digest() {
        let lockfile = |entry: &str| format!(r#"{{"packages":{{"":{{}},"node_modules/x":{{{entry}}}}}}}"#);
        assert!(check_npm(lockfile(r#""license":"MIT","integrity":"sha512-…""#).as_bytes()).is_ok());
        assert!(check_npm(lockfile(r#""license":"MIT""#).as_bytes()).is_err());
        assert!(check_npm(lockfile(r#""license":"MPL-2.0","integrity":"sha512-…""#).as_bytes()).is_err());
        assert!(check_npm(lockfile(r#""license":"MPL-2.0","integrity":"sha512-…","dev":true"#).as_bytes()).is_ok());
        assert!(check_npm(lockfile(r#""license":"SSPL-1.0","integrity":"sha512-…""#).as_bytes()).is_err());
    }
}
