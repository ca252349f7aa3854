//! Making pkg/, the publishable npm package, and the builds that only tests load.

mod manifest;
mod scripts;
pub mod size;
pub mod variant;
mod wasm;

use std::thread;

use anyhow::{Context, Result};

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

/// Makes pkg/ and reports its size.
pub fn package(workspace: &Workspace, tools: &Tools) -> Result<()> {
    build(workspace, tools, &[Flavour::Package])
}

/// Makes pkg/ and the builds that the tests look into.
pub fn package_and_selftest(workspace: &Workspace, tools: &Tools) -> Result<()> {
    build(workspace, tools, &[Flavour::Package, Flavour::Selftest])
}

fn build(workspace: &Workspace, tools: &Tools, flavours: &[Flavour]) -> Result<()> {
    // Link-time optimisation runs on one core, so the variants are compiled beside each other.
    thread::scope(|scope| {
        let compile = |variant: &'static Variant| -> Result<()> {
            flavours.iter().try_for_each(|flavour| wasm::build(workspace, tools, variant, *flavour))
        };
        let variants: Vec<_> = VARIANTS.iter().map(|variant| scope.spawn(move || compile(variant))).collect();
        scripts::package(workspace, tools)?;
        manifest::write(workspace)?;
        variants.into_iter().try_for_each(|variant| variant.join().expect("a build thread does not panic"))
    })?;
    let size = size::measure(workspace).context("cannot measure the package")?;
    say("build", format!("pkg/ is ready. {size}"));
    Ok(())
}

/// Bundles the demo page's scripts into `folder`.
pub use scripts::bundle_demo;
