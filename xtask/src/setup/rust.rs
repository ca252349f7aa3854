//! A Rust toolchain that compiles for WebAssembly.
//!
//! The toolchain on the search path serves if it has the target's standard library, or if rustup can
//! add it. Where rustup reaches no server, Debian's toolchain serves: it has no standard library for
//! wasm either, but its source, which is compiled once and kept.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::apt;
use crate::command::{ask, clean, find_program, run, say};
use crate::stamp::{Inputs, Stamp};
use crate::workspace::Workspace;

/// Debian's Rust compiler, cargo, clippy, the sources of its standard library, and the linker for wasm.
const DEBIAN_PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-clippy", "rust-web-src", "lld-22"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-22";

/// A download of some 20 MB; a server that cannot be reached fails much sooner.
const RUSTUP_SECONDS_MAX: u64 = 300;

/// Bitcode lets the package's fat LTO reach into the standard library, as rustup's builds do.
const STD_FLAGS: [&str; 1] = ["-Cembed-bitcode=yes"];

/// The target whose vector instructions are unstable in Rust, and which rustup has no standard library for.
const UNSTABLE_TARGET: &str = "wasm64-unknown-unknown";

/// The compiler for it where rustup reaches a server: pinned, since unstable features change.
const NIGHTLY: &str = "nightly-2026-05-20";

/// A compiler with a standard library for one wasm target.
pub struct RustToolchain {
    target: &'static str,
    origin: Origin,
}

/// Where a compiler comes from.
enum Origin {
    /// The search path, with the target's standard library.
    SearchPath,
    /// rustup's [`NIGHTLY`], which compiles the standard library with each crate.
    Nightly,
    /// Debian, with a standard library that was compiled from its sources into this folder.
    Debian { sysroot: PathBuf },
}

impl RustToolchain {
    /// What compiles, in words.
    pub fn description(&self) -> &'static str {
        match self.origin {
            Origin::SearchPath => "Rust from the search path",
            Origin::Nightly => "Rust's nightly",
            Origin::Debian { .. } => "Debian's Rust",
        }
    }

    /// The target triple.
    pub fn target(&self) -> &'static str {
        self.target
    }

    /// The version of the compiler.
    pub fn version(&self) -> Option<String> {
        match self.origin {
            Origin::SearchPath => ask("rustc", &["--version", "--verbose"]),
            Origin::Nightly => ask("rustc", &[&format!("+{NIGHTLY}"), "--version", "--verbose"]),
            Origin::Debian { .. } => ask(DEBIAN_RUSTC, &["--version", "--verbose"]),
        }
    }

    /// A cargo command for the target; `flags` go to the compiler for everything but build scripts.
    pub fn cargo(&self, subcommand: &str, flags: &[String]) -> Command {
        let mut flags = flags.to_vec();
        let mut command = match &self.origin {
            Origin::SearchPath => Command::new("cargo"),
            Origin::Nightly => {
                let mut command = Command::new("cargo");
                command.arg(format!("+{NIGHTLY}"));
                command
            }
            Origin::Debian { sysroot } => {
                flags.push(format!("--sysroot={}", sysroot.display()));
                debian_cargo(self.target)
            }
        };
        clean(&mut command).arg(subcommand).args(["--target", self.target]);
        if let Origin::Nightly = self.origin {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        if self.target == UNSTABLE_TARGET {
            // Allows unstable features to this crate alone: dependencies would try out others.
            command.env("RUSTC_BOOTSTRAP", "wasm_chord");
        }
        // Unlike RUSTFLAGS this carries paths with spaces.
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        command
    }

    /// A clippy command for the target that takes warnings for errors; `flags` as for [`Self::cargo`].
    pub fn clippy(&self, flags: &[String]) -> Command {
        let flags: Vec<String> = flags.iter().cloned().chain(["-Dwarnings".to_owned()]).collect();
        if !matches!(self.origin, Origin::Debian { .. }) {
            return self.cargo("clippy", &flags);
        }
        // Debian's cargo would find rustup's clippy on the search path, which belongs to another compiler.
        let mut command = self.cargo("check", &flags);
        command.env("RUSTC_WORKSPACE_WRAPPER", DEBIAN_CLIPPY);
        command
    }
}

/// Finds or makes a toolchain for the target. `CHORD_RUST=rustup` or `=debian` takes the choice away.
pub fn ensure(workspace: &Workspace, target: &'static str) -> Result<RustToolchain> {
    let wish = env::var("CHORD_RUST").unwrap_or_default();
    if wish != "debian" {
        // A std that was compiled before settles it: asking rustup each time would be slow.
        let is_settled = wish.is_empty() && apt::is_here() && debian_std(workspace, target)?.is_fresh();
        if let Some(origin) = from_rustup(target, is_settled) {
            return Ok(RustToolchain { target, origin });
        }
        if wish == "rustup" {
            bail!("rustup could not add what {target} needs");
        }
    }
    if !apt::is_here() {
        let remedy = match target {
            UNSTABLE_TARGET => format!("rustup toolchain install {NIGHTLY} --component rust-src"),
            _ => format!("rustup target add {target}"),
        };
        bail!("no standard library for {target}: run `{remedy}` and try again");
    }
    apt::ensure(&DEBIAN_PACKAGES)?;
    let library = debian_std(workspace, target)?;
    if !library.is_fresh() {
        library.compile()?;
    }
    Ok(RustToolchain { target, origin: Origin::Debian { sysroot: library.sysroot } })
}

/// What rustup has for the target, or can add unless the choice `is_settled`.
fn from_rustup(target: &str, is_settled: bool) -> Option<Origin> {
    if target == UNSTABLE_TARGET {
        let nightly = ["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"];
        let is_there = has_nightly_sources() || (!is_settled && rustup(&nightly) && has_nightly_sources());
        return is_there.then_some(Origin::Nightly);
    }
    let is_there = has_std(target) || (!is_settled && rustup(&["target", "add", target]) && has_std(target));
    is_there.then_some(Origin::SearchPath)
}

/// Whether rustup has a nightly compiler with the sources of the standard library.
fn has_nightly_sources() -> bool {
    let Some(sysroot) = ask("rustc", &[&format!("+{NIGHTLY}"), "--print", "sysroot"]) else { return false };
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std").is_dir()
}

/// Whether the compiler on the search path has the target's standard library.
fn has_std(target: &str) -> bool {
    let Some(folder) = ask("rustc", &["--print", "target-libdir", "--target", target]) else { return false };
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
    fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_std)))
}

/// Has rustup do this, for a bounded time.
fn rustup(arguments: &[&str]) -> bool {
    let Some(rustup) = find_program("rustup") else { return false };
    say("setup", format!("rustup {} …", arguments.join(" ")));
    let mut command = Command::new(rustup);
    clean(&mut command).args(arguments).env("RUSTUP_MAX_RETRIES", "0");
    let Ok(mut child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return false;
    };
    let deadline = Instant::now() + Duration::from_secs(RUSTUP_SECONDS_MAX);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return true,
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(50)),
            Ok(None) => {
                // It has ended by itself if this fails.
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            Ok(Some(_)) | Err(_) => break,
        }
    }
    say("setup", "rustup cannot do that here");
    false
}

/// Debian's cargo and compiler, whatever the search path says.
fn debian_cargo(target: &str) -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    command.env("RUSTC", DEBIAN_RUSTC).env(linker, DEBIAN_LINKER);
    command
}

/// A standard library to be compiled from Debian's sources.
struct DebianStd {
    target: &'static str,
    folder: PathBuf,
    sysroot: PathBuf,
    stamp: Stamp,
}

fn debian_std(workspace: &Workspace, target: &'static str) -> Result<DebianStd> {
    let folder = workspace.target.join("wasm-std").join(target);
    let version = ask(DEBIAN_RUSTC, &["--version", "--verbose"]).unwrap_or_default();
    let inputs = Inputs::default().word(version).word(STD_FLAGS).word(&folder);
    let stamp = Stamp::new(workspace, &format!("std-{target}"), inputs);
    Ok(DebianStd { target, sysroot: folder.join("sysroot"), folder, stamp })
}

impl DebianStd {
    fn is_fresh(&self) -> bool {
        self.stamp.is_fresh(&[self.libraries(), DEBIAN_LINKER.into(), DEBIAN_CARGO.into()])
    }

    /// Where the compiler looks for the target's libraries.
    fn libraries(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(self.target).join("lib")
    }

    /// Compiles the standard library as the dependency of an empty crate and keeps its libraries.
    fn compile(&self) -> Result<()> {
        let krate = self.folder.join("empty");
        fs::create_dir_all(krate.join("src"))?;
        fs::write(krate.join("src/lib.rs"), "#![no_std]\n")?;
        fs::write(krate.join("Cargo.toml"), EMPTY_MANIFEST)?;
        let sources = ask(DEBIAN_RUSTC, &["--print", "sysroot"]).context("Debian's rustc does not run")?;
        let remap = format!("--remap-path-prefix={sources}/lib/rustlib/src/rust=/rust");
        let mut command = debian_cargo(self.target);
        // The standard library is built with unstable features, which this allows to a stable compiler.
        clean(&mut command).env("RUSTC_BOOTSTRAP", "1");
        command.env("CARGO_ENCODED_RUSTFLAGS", format!("{}\x1f{remap}", STD_FLAGS.join("\x1f")));
        command.args(["build", "-Zbuild-std=std,panic_abort", "--release", "--target", self.target, "--target-dir"]);
        command.arg(krate.join("target")).current_dir(&krate);
        run("setup", &format!("compiling the standard library for {}", self.target), &mut command)?;
        self.keep(&krate.join("target").join(self.target).join("release/deps"))?;
        fs::remove_dir_all(&krate)?;
        self.stamp.write()
    }

    fn keep(&self, built: &Path) -> Result<()> {
        let libraries = self.libraries();
        if libraries.exists() {
            fs::remove_dir_all(&libraries)?;
        }
        fs::create_dir_all(&libraries)?;
        for entry in fs::read_dir(built)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".rlib") && !name.starts_with("libempty-") {
                fs::copy(&path, libraries.join(name))?;
            }
        }
        Ok(())
    }
}

const EMPTY_MANIFEST: &str = r#"[package]
name = "empty"
version = "0.0.0"
edition = "2021"

[profile.release]
opt-level = 3
codegen-units = 1
panic = "abort"

[workspace]
"#;
