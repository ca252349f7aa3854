//! Rust to wasm: compiler, wasm-bindgen, wasm-opt.
//!
//! wasm-bindgen is linked in as a library of the version that Cargo.lock gives the crate: both depend on
//! one exact version of wasm-bindgen-shared, so they cannot drift apart, and nothing is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

use super::Flavour;
use super::variant::Variant;
use crate::command::{run, say};
use crate::setup::Tools;
use crate::stamp::{Inputs, Stamp};
use crate::workspace::Workspace;

/// What every browser with SIMD has, and what Rust's wasm targets assume. The compiler has optimised
/// already: higher levels than 1 take minutes, and the module is no smaller and no faster for them.
const WASM_OPT_BASELINE: [&str; 9] = [
    "-O1",
    "--strip-debug",
    "--strip-producers",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Functions that are larger than this, in LLVM's count of instructions, are called rather than copied to where they are
/// used. What the engine spends its time in is marked to be inlined always; of the rest the default makes a fifth more code.
const INLINE_THRESHOLD: &str = "-Cllvm-args=-inline-threshold=40";

/// Brings one wasm build up to date.
pub fn build(workspace: &Workspace, tools: &Tools, variant: &Variant, flavour: Flavour) -> Result<()> {
    let (step, folder) = match flavour {
        Flavour::Package => (variant.name.to_owned(), workspace.package().join("wasm")),
        Flavour::Selftest => (format!("{}-selftest", variant.name), workspace.selftest()),
    };
    let compiled = compile(workspace, tools, variant, flavour, &step)?;
    let wasm = folder.join(format!("{}.wasm", variant.name));
    let glue = folder.join(format!("{}.js", variant.name));
    let flags: Vec<&str> = WASM_OPT_BASELINE.iter().chain(variant.wasm_opt).copied().collect();
    let inputs = Inputs::default().path(&compiled)?.path(&workspace.npm_program("binaryen/package.json"))?.word(&flags);
    let stamp = Stamp::new(workspace, &step, inputs);
    let made = if variant.is_engine() { vec![wasm.clone(), glue.clone()] } else { vec![wasm.clone()] };
    if stamp.is_fresh(&made) {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    let bound = workspace.state().join(format!("{step}.bound.wasm"));
    if variant.is_engine() {
        fs::write(&bound, bind(&compiled, variant.name, &glue)?)?;
    } else {
        fs::copy(&compiled, &bound)?;
    }
    let ready = match flavour {
        Flavour::Package => {
            let optimised = workspace.state().join(format!("{step}.optimised.wasm"));
            optimise(tools, workspace, &step, &flags, &bound, &optimised)?;
            fs::remove_file(bound)?;
            optimised
        }
        // Nobody downloads it, and the compiler has optimised what its tests compare.
        Flavour::Selftest => bound,
    };
    // Copied when it is whole: an interrupted run must not leave half a module in the package.
    fs::copy(&ready, &wasm)?;
    fs::remove_file(ready)?;
    stamp.write()
}

/// Runs cargo, unless nothing changed. Returns the module it left.
fn compile(workspace: &Workspace, tools: &Tools, variant: &Variant, flavour: Flavour, step: &str) -> Result<PathBuf> {
    let toolchain = tools.toolchain(variant.target);
    let target_folder = workspace.target.join("wasm").join(variant.cargo_folder);
    let mut flags = vec![format!("-Ctarget-feature={}", variant.target_features), INLINE_THRESHOLD.to_owned()];
    flags.extend(anonymous_paths(workspace));
    let mut command = toolchain.cargo("rustc", &flags);
    command.args(["--package", variant.package, "--lib", "--crate-type", "cdylib", "--release", "--locked"]);
    command.arg("--target-dir").arg(&target_folder).current_dir(&workspace.root);
    let mut features = variant.features.to_vec();
    if flavour == Flavour::Selftest {
        features.push("selftest");
    }
    command.arg("--features").arg(features.join(","));
    // Builds that share cargo's folder overwrite each other's module there, so that cargo would compile each again
    // after the other.
    let kept = workspace.state().join(format!("{step}.cargo.wasm"));
    let mut inputs = Inputs::default().word(&flags).word(&features).word(toolchain.version());
    let sources: &[&str] = if variant.is_engine() { &["kernels", "shaders", "src"] } else { &["constrain"] };
    for source in ["Cargo.lock", "Cargo.toml"].iter().chain(sources) {
        inputs = inputs.path(&workspace.root.join(source))?;
    }
    let stamp = Stamp::new(workspace, &format!("{step}.cargo"), inputs);
    if stamp.is_fresh(std::slice::from_ref(&kept)) {
        return Ok(kept);
    }
    run(step, "cargo", &mut command)?;
    let built = target_folder
        .join(variant.target)
        .join("release")
        .join(variant.package.replace('-', "_"))
        .with_extension("wasm");
    fs::create_dir_all(workspace.state())?;
    fs::copy(&built, &kept).with_context(|| format!("cargo left no {}", built.display()))?;
    stamp.write()?;
    Ok(kept)
}

/// Flags that keep the folders of this machine out of the module, so that builds can be compared.
fn anonymous_paths(workspace: &Workspace) -> Vec<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=.", workspace.root.display())];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    flags
}

/// Writes the JavaScript side of the exports and returns the module that belongs to it.
fn bind(compiled: &Path, name: &str, glue: &Path) -> Result<Vec<u8>> {
    let mut bindgen = Bindgen::new();
    // The engine worker names the module's address itself, in a form that bundlers recognise.
    bindgen.input_path(compiled).out_name(name).typescript(false).omit_default_module_path(true);
    bindgen.remove_name_section(true).remove_producers_section(true).web(true)?;
    let mut output = bindgen.generate_output().context("wasm-bindgen failed")?;
    fs::write(glue, output.js())?;
    Ok(output.wasm_mut().emit_wasm())
}

fn optimise(tools: &Tools, workspace: &Workspace, step: &str, flags: &[&str], from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new(&tools.node);
    command.arg(workspace.npm_program("binaryen/bin/wasm-opt")).args(flags).arg(from).arg("-o").arg(to);
    run(step, "wasm-opt", &mut command)?;
    let kilobytes = |path: &Path| fs::metadata(path).map(|file| file.len() / 1000);
    say(step, format!("{} KB, before wasm-opt {} KB", kilobytes(to)?, kilobytes(from)?));
    Ok(())
}
