//! Installing what a machine lacks. Where everything is there, this only looks.

mod apt;
mod browser;
mod node;
mod rust;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::command::say;
use crate::workspace::Workspace;

pub use rust::RustToolchain;

/// Mesa's Vulkan driver for the CPU, on which the native GPU tests run.
const VULKAN_PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];

/// How much of the set-up a task needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Compilers and npm packages.
    Build,
    /// These, the browsers to test in, and a Vulkan driver.
    Everything,
}

/// What the set-up found or installed.
pub struct Tools {
    /// Compiles for `wasm32-unknown-unknown`.
    pub wasm32: RustToolchain,
    /// Compiles for `wasm64-unknown-unknown`.
    pub wasm64: RustToolchain,
    /// Runs the npm packages.
    pub node: PathBuf,
    /// Where they were asked for.
    pub browsers: Option<Browsers>,
}

/// The browsers to test in.
pub struct Browsers {
    /// Or Chrome.
    pub chromium: PathBuf,
    /// Where specs that need no window run, if there is one.
    pub headless_shell: Option<PathBuf>,
    pub firefox: PathBuf,
}

/// Makes sure that everything `needs` names is there, and says where it is.
pub fn run(workspace: &Workspace, needs: Needs) -> Result<Tools> {
    let start = Instant::now();
    let node = node::ensure(workspace)?;
    let browsers = match needs {
        Needs::Build => None,
        Needs::Everything => {
            if apt::is_here() {
                apt::ensure(&VULKAN_PACKAGES)?;
            }
            Some(Browsers {
                chromium: browser::chromium()?,
                headless_shell: browser::headless_shell()?,
                firefox: browser::firefox()?,
            })
        }
    };
    let wasm32 = rust::ensure(workspace, "wasm32-unknown-unknown")?;
    let wasm64 = rust::ensure(workspace, "wasm64-unknown-unknown")?;
    for toolchain in [&wasm32, &wasm64] {
        say("setup", format!("{} for {}", toolchain.description(), toolchain.target()));
    }
    say("setup", format!("ready after {:.1} s", start.elapsed().as_secs_f64()));
    Ok(Tools { wasm32, wasm64, node, browsers })
}

impl Tools {
    /// The toolchain of a target triple.
    pub fn toolchain(&self, target: &str) -> &RustToolchain {
        [&self.wasm32, &self.wasm64]
            .into_iter()
            .find(|toolchain| toolchain.target() == target)
            .expect("the table of builds names a target that is set up")
    }
}
