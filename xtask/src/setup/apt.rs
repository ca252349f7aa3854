//! Debian's packages.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

use crate::command::{ask, find_program, run};

/// Set once the lists of packages are fresh; a machine may need several installations.
static UPDATED: OnceLock<()> = OnceLock::new();

/// Whether this machine has Debian's package manager.
pub fn is_here() -> bool {
    find_program("apt-get").is_some() && find_program("dpkg-query").is_some()
}

/// Installs those of the packages that are missing.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_here() {
        bail!("this machine has no apt-get to install {}", missing.join(", "));
    }
    if UPDATED.get().is_none() {
        run("setup", "apt-get update", as_root().args(["apt-get", "update", "--quiet"]))?;
        UPDATED.get_or_init(|| ());
    }
    run(
        "setup",
        &format!("apt-get install {}", missing.join(" ")),
        as_root().args(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]).args(&missing),
    )?;
    Ok(())
}

/// `env` as root, which takes the command as its arguments.
fn as_root() -> Command {
    let is_root = ask("id", &["-u"]).is_some_and(|id| id == "0");
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    if !is_root {
        command.arg("env");
    }
    command.arg("DEBIAN_FRONTEND=noninteractive");
    command
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    // dpkg-query fails when it does not know one of the names, but prints the others all the same.
    let listing = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    not_installed(packages, &listing)
}

fn not_installed<'a>(packages: &[&'a str], listing: &str) -> Vec<&'a str> {
    let installed = |name: &str| listing.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    packages.iter().copied().filter(|name| !installed(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::not_installed;

    #[test]
    fn removed_and_unknown_packages_are_missing() {
        let listing = "lld-22 installed\nchromium config-files\n";
        assert_eq!(not_installed(&["lld-22", "chromium", "rustc-web"], listing), ["chromium", "rustc-web"]);
    }
}
