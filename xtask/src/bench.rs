//! Measurements in a headless browser, each a script of tests/bench/; and `gpu`, natively on any adapter.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build;
use crate::command::{attach, clean};
use crate::setup::{self, Needs};
use crate::workspace::Workspace;

#[derive(Args)]
pub struct Options {
    /// The measurement: gpu, or a file tests/bench/NAME.mjs
    name: String,
    /// What the measurement itself takes, such as --model PATH
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Brings the package up to date and runs one measurement on it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.name == "gpu" {
        return attach(example(workspace, "bench-gpu", &["--profile", "bench"]).args(&options.arguments));
    }
    if options.name == "mixture" {
        // Its models are generated.
        attach(example(workspace, "bench-mixture", &[]).arg(workspace.root.join("target/mixtures")))?;
    }
    let folder = workspace.root.join("tests/bench");
    let script = folder.join(&options.name).with_extension("mjs");
    if !script.is_file() {
        let mut names: Vec<String> = fs::read_dir(&folder)
            .context("no folder tests/bench")?
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".mjs")?.to_owned()))
            .collect();
        names.sort();
        bail!("there is no measurement {:?}, only {}", options.name, names.join(", "));
    }
    let tools = setup::run(workspace, Needs::Everything)?;
    build::package(workspace, &tools)?;
    let mut command = Command::new(&tools.node);
    command.arg(script).args(&options.arguments);
    if let Some(browsers) = &tools.browsers {
        command.env("CHROME_PATH", &browsers.chromium).env("FIREFOX_PATH", &browsers.firefox);
    }
    attach(&mut command)
}

/// Runs an example of the crate, natively.
fn example(workspace: &Workspace, name: &str, profile: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    clean(&mut command).current_dir(&workspace.root);
    command.arg("run").args(profile).args(["--features", "gpu", "--example", name, "--"]);
    command
}
