//! What can be said of the sources without running them: format, promises of the documents, lints, licences.

mod licences;
mod tidy;

use std::process::Command;

use anyhow::Result;

use crate::build::variant::{CONSTRAIN, GPU, RELAXED, VARIANTS, Variant};
use crate::command::{clean, run as run_program};
use crate::setup::Tools;
use crate::workspace::Workspace;

/// Everything of the workspace that this machine compiles: libraries, tests, examples and the tools.
const NATIVE: [&str; 6] =
    ["--workspace", "--all-targets", "--locked", "--quiet", "--features", "wasm-chord/gpu,wasm-chord/selftest"];

/// One thing that must hold, and how it is seen.
type Check = (&'static str, fn(&Workspace, &Tools) -> Result<()>);

/// All checks, the quick ones first; last come those that wait for a native compilation that is under way.
const CHECKS: [Check; 7] = [
    ("format", format),
    ("promises", promises),
    ("licences", licences),
    ("scripts", scripts),
    ("lints of the wasm builds", wasm_lints),
    ("lints", native_lints),
    ("documentation", documentation),
];

/// Runs every check; the first that fails ends it. Returns what was checked, in words.
pub fn run(workspace: &Workspace, tools: &Tools) -> Result<String> {
    for (_, check) in CHECKS {
        check(workspace, tools)?;
    }
    Ok(CHECKS.map(|(name, _)| name).join(", "))
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    clean(&mut command).args(arguments).current_dir(&workspace.root);
    command
}

fn format(workspace: &Workspace, _: &Tools) -> Result<()> {
    run_program("check", "cargo fmt", &mut cargo(workspace, &["fmt", "--all", "--", "--check"])).map(drop)
}

fn promises(workspace: &Workspace, _: &Tools) -> Result<()> {
    tidy::check(&workspace.root)
}

fn licences(workspace: &Workspace, _: &Tools) -> Result<()> {
    let metadata = cargo(workspace, &["metadata", "--format-version=1", "--locked", "--all-features"]).output()?;
    licences::check_crates(&metadata.stdout)?;
    licences::check_npm(&std::fs::read(workspace.root.join("package-lock.json"))?)
}

fn native_lints(workspace: &Workspace, _: &Tools) -> Result<()> {
    let mut command = cargo(workspace, &["clippy"]);
    command.args(NATIVE).args(["--", "--deny", "warnings"]);
    run_program("check", "cargo clippy", &mut command).map(drop)
}

fn documentation(workspace: &Workspace, _: &Tools) -> Result<()> {
    let mut command = cargo(workspace, &["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command.args(["--locked", "--quiet", "--features", "wasm-chord/gpu"]).env("RUSTDOCFLAGS", "--deny warnings");
    run_program("check", "cargo doc", &mut command).map(drop)
}

/// Two builds have the sources of all of the engine's: the one with relaxed SIMD, and the one with WebGPU, which has
/// SIMD128 too.
fn wasm_lints(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let is_linted = |variant: &&Variant| [RELAXED, GPU, CONSTRAIN].contains(&variant.name);
    VARIANTS.iter().filter(is_linted).try_for_each(|variant| wasm_lint(workspace, tools, variant))
}

/// Clippy over one wasm build, with the compiler and the flags that build it.
fn wasm_lint(workspace: &Workspace, tools: &Tools, variant: &Variant) -> Result<()> {
    let flags = [format!("-Ctarget-feature={}", variant.target_features)];
    let mut command = tools.toolchain(variant.target).clippy(&flags);
    command.args(["--package", variant.package, "--lib", "--locked", "--quiet", "--features"]);
    let selftest = variant.is_engine().then_some("selftest");
    command.arg(variant.features.iter().copied().chain(selftest).collect::<Vec<_>>().join(","));
    command.arg("--target-dir").arg(workspace.target.join("wasm-lints")).current_dir(&workspace.root);
    run_program("check", &format!("clippy for {}", variant.name), &mut command).map(drop)
}

/// Lints that TypeScript's own checks lack. Types are checked where the package is built.
fn scripts(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let mut command = Command::new(&tools.node);
    command.arg(workspace.npm_program("oxlint/bin/oxlint")).args(["--deny-warnings", "www", "tests"]);
    run_program("check", "oxlint", command.current_dir(&workspace.root)).map(drop)
}
