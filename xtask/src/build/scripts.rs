//! TypeScript to modules and declarations.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::run;
use crate::setup::Tools;
use crate::stamp::{Inputs, Stamp, files_below};
use crate::workspace::Workspace;

/// The oldest browsers with relaxed SIMD or without it run this without polyfills.
const LANGUAGE: &str = "--target=es2022";

/// Bundles the public module and each worker into pkg/, and writes their declarations.
pub fn package(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let sources = workspace.root.join("www/src");
    let entries = entries(&sources)?;
    ensure!(!entries.is_empty(), "no modules in {}", sources.display());
    let package = workspace.package();
    let inputs = Inputs::default()
        .path(&sources)?
        .path(&workspace.root.join("www/tsconfig.json"))?
        .path(&workspace.root.join("package-lock.json"))?
        .word(LANGUAGE);
    let stamp = Stamp::new(workspace, "scripts", inputs);
    let mut outputs = vec![package.join("types/index.d.ts")];
    outputs.extend(
        entries.iter().filter_map(|entry| entry.file_stem()).map(|stem| package.join(stem).with_extension("js")),
    );
    if stamp.is_fresh(&outputs) {
        return Ok(());
    }
    remove_scripts(&package)?;
    // The addresses of workers and wasm files, `new URL('…', import.meta.url)`, pass through unchanged,
    // so that the bundler of a page that uses the package finds them.
    let mut command = esbuild(workspace, tools);
    command.args(&entries).args(["--external:./wasm/*", "--external:./index.js", "--external:react"]);
    command.arg(format!("--outdir={}", package.display())).arg(format!("--outbase={}", sources.display()));
    run("scripts", "esbuild", &mut command)?;
    declarations(workspace, tools, &package.join("types"))?;
    stamp.write()
}

/// Bundles the demo page into a folder, beside its HTML and CSS.
pub fn bundle_demo(workspace: &Workspace, tools: &Tools, folder: &Path) -> Result<()> {
    let sources = workspace.root.join("www/demo");
    fs::create_dir_all(folder)?;
    let mut command = esbuild(workspace, tools);
    command.arg(sources.join("main.ts")).arg("--external:/pkg/*").arg(format!("--outdir={}", folder.display()));
    run("demo", "esbuild", &mut command)?;
    for file in files_below(&sources)? {
        if file.extension().is_some_and(|extension| extension != "ts" && extension != "json") {
            let target = folder.join(file.strip_prefix(&sources)?);
            fs::create_dir_all(target.parent().unwrap_or(folder))?;
            fs::copy(&file, target)?;
        }
    }
    Ok(())
}

/// The modules of the package, each bundled by itself: those that a page imports, and the workers.
fn entries(sources: &Path) -> Result<Vec<PathBuf>> {
    let is_entry = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path.parent() == Some(sources) && name.ends_with(".ts")
    };
    Ok(files_below(sources)?.into_iter().filter(is_entry).collect())
}

fn esbuild(workspace: &Workspace, tools: &Tools) -> Command {
    let mut command = Command::new(&tools.node);
    command.arg(workspace.npm_program("esbuild/bin/esbuild")).current_dir(&workspace.root);
    command.args(["--bundle", "--format=esm", "--minify", "--legal-comments=none", "--log-level=warning", LANGUAGE]);
    command
}

fn declarations(workspace: &Workspace, tools: &Tools, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut command = Command::new(&tools.node);
    command.arg(workspace.npm_program("typescript/bin/tsc")).current_dir(&workspace.root);
    command.args(["--project", "www", "--emitDeclarationOnly", "--outDir"]).arg(folder);
    run("scripts", "tsc", &mut command).map(drop)
}

/// Removes scripts of an earlier build, some of which may have no source any more.
fn remove_scripts(package: &Path) -> Result<()> {
    fs::create_dir_all(package)?;
    for entry in fs::read_dir(package)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
