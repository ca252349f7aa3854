//! The project's tasks: `cargo xtask setup | build | check | test | demo | bench`.
//!
//! Each task sets up what it needs first, so any of them can be the first command on a new machine,
//! and each skips what is up to date, so any of them can be repeated.

mod bench;
mod build;
mod check;
mod command;
mod demo;
mod setup;
mod stamp;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests and shows wasm-chord")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building and testing need and this machine lacks
    Setup,
    /// Makes pkg/, the publishable npm package
    Build(build::Options),
    /// Checks format, lints, documentation and licences
    Check,
    /// Runs every test: native, types, and the package in a headless browser
    Test(test::Options),
    /// Builds and serves the demo page
    Demo(demo::Options),
    /// Runs a measurement of tests/bench/ in a headless browser
    Bench(bench::Options),
}

fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let workspace = Workspace::locate()?;
    match arguments.task {
        Task::Setup => setup::run(&workspace, setup::Needs::Everything).map(drop),
        Task::Build(options) => {
            let tools = setup::run(&workspace, setup::Needs::Build)?;
            build::run(&workspace, &tools, &options)
        }
        Task::Check => {
            let tools = setup::run(&workspace, setup::Needs::Build)?;
            check::run(&workspace, &tools).map(|checked| command::say("check", checked))
        }
        Task::Test(options) => test::run(&workspace, &options),
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::Bench(options) => bench::run(&workspace, &options),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
