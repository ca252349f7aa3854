//! Serving the demo page.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::command::attach;
use crate::setup::{self, Needs};
use crate::workspace::Workspace;

#[derive(Args)]
pub struct Options {
    /// The port to serve on; the next free one is taken if it is in use
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// Builds what is missing and serves the page until interrupted.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tools = setup::run(workspace, Needs::Build)?;
    build::package(workspace, &tools)?;
    build::bundle_demo(workspace, &tools, &workspace.demo())?;
    let mut command = Command::new(&tools.node);
    command.arg(workspace.root.join("tests/support/serve.mjs")).arg("--port").arg(options.port.to_string());
    let mut serve = |path: &str, folder: &Path| {
        command.arg("--root").arg(format!("{path}={}", folder.display()));
    };
    serve("/", &workspace.demo());
    serve("/pkg/", &workspace.package());
    serve("/models/", &workspace.root.join("models"));
    attach(&mut command)
}
