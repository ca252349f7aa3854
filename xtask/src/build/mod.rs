//! Making pkg/, the publishable npm package, and the builds that only tests load.

mod manifest;
mod scripts;
pub mod size;
pub mod variant;
mod wasm;

use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::say;
use crate::setup::Tools;
use crate::workspace::Workspace;

use variant::{VARIANTS, Variant};

/// Which exports a wasm build has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// What is published.
    Package,
    /// The same with the `selftest` feature: kernel comparisons and logits.
    Selftest,
}

#[derive(Args)]
pub struct Options {
    /// Only the wasm builds whose names contain this; the others stay as they are
    #[arg(long)]
    only: Option<String>,
    /// The builds that the tests look into, too
    #[arg(long)]
    selftest: bool,
}

/// Makes what the options ask for.
pub fn run(workspace: &Workspace, tools: &Tools, options: &Options) -> Result<()> {
    let flavours: &[Flavour] =
        if options.selftest { &[Flavour::Package, Flavour::Selftest] } else { &[Flavour::Package] };
    build(workspace, tools, flavours, options.only.as_deref().unwrap_or_default())
}

/// Makes pkg/ and reports its size.
pub fn package(workspace: &Workspace, tools: &Tools) -> Result<()> {
    build(workspace, tools, &[Flavour::Package], "")
}

/// Makes pkg/ and the builds that the tests look into.
pub fn package_and_selftest(workspace: &Workspace, tools: &Tools) -> Result<()> {
    build(workspace, tools, &[Flavour::Package, Flavour::Selftest], "")
}

fn build(workspace: &Workspace, tools: &Tools, flavours: &[Flavour], only: &str) -> Result<()> {
    let named: Vec<&'static Variant> = VARIANTS.iter().filter(|variant| variant.name.contains(only)).collect();
    ensure!(!named.is_empty(), "no wasm build has a name with {only:?} in it");
    let mut folders: Vec<&str> = named.iter().map(|variant| variant.cargo_folder).collect();
    folders.sort_unstable();
    folders.dedup();
    let fill = |folder: &str| -> Result<()> {
        let variants = named.iter().filter(|variant| variant.cargo_folder == folder);
        variants
            .flat_map(|variant| flavours.iter().map(move |flavour| (variant, *flavour)))
            .filter(|(variant, flavour)| variant.is_engine() || *flavour == Flavour::Package)
            .try_for_each(|(variant, flavour)| wasm::build(workspace, tools, variant, flavour))
    };
    // Link-time optimisation runs on one core, so the folders are filled beside each other.
    thread::scope(|scope| {
        let fill = &fill;
        let lanes: Vec<_> = folders.into_iter().map(|folder| scope.spawn(move || fill(folder))).collect();
        scripts::package(workspace, tools)?;
        manifest::write(workspace)?;
        lanes.into_iter().try_for_each(|lane| lane.join().expect("a build thread does not panic"))
    })?;
    let is_there =
        |variant: &&Variant| workspace.package().join("wasm").join(format!("{}.wasm", variant.name)).exists();
    let missing: Vec<&str> = VARIANTS.iter().filter(|variant| !is_there(variant)).map(|variant| variant.name).collect();
    if !missing.is_empty() {
        say("build", format!("pkg/ lacks {}: `cargo xtask build` makes them", missing.join(", ")));
        return Ok(());
    }
    let size = size::measure(workspace).context("cannot measure the package")?;
    say("build", format!("pkg/ is ready. {size}"));
    Ok(())
}

/// Bundles the demo page's scripts into `folder`.
pub use scripts::bundle_demo;
