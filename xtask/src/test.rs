//! Running every test and saying what happened.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::build::{self, size};
use crate::check;
use crate::command::{self, clean, follow, say};
use crate::setup::{self, Needs, Tools};
use crate::stamp::files_below;
use crate::workspace::Workspace;

/// A spec file that hangs is stopped after this: no deadline for one that runs on a loaded machine.
const SPEC_SECONDS_MAX: u32 = 1_800;

/// Spec files that run at a time beside one for each core: they wait much of the time, for the network, for timers and
/// for what other tabs do.
const SPECS_MORE: usize = 1;

/// The specs that `cargo xtask test` runs in Firefox too, by name: those of how workers start and end. The
/// others come with `--browser firefox`.
const FIREFOX_SPECS: [&str; 4] = ["elsewhere", "lifecycle", "package", "starts"];

/// Lines of cargo's output that the summary repeats when tests fail.
const FAILURE_LINES_MAX: usize = 100;
/// What a caller writes against the published declarations.
const CONSUMER: &str = "tests/types";
/// The compilers that callers may have, beside the newest, which is ours.
const OTHER_COMPILERS: [&str; 3] = ["typescript-5.5", "typescript-5.9", "typescript-6"];
/// Where node repeats what failed.
const NODE_FAILURES: &str = "✖ failing tests:";

#[derive(Args)]
pub struct Options {
    /// Parts to run; all of them if none is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Only browser specs whose file name contains this
    #[arg(long)]
    spec: Option<String>,
    /// Only this browser, and every spec in it; otherwise Chromium, and Firefox for the specs where it matters
    #[arg(long, value_enum)]
    browser: Option<Browser>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Browser {
    Chromium,
    Firefox,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Rust's tests, compiled for this machine
    Native,
    /// The package: types, size, and the browser specs
    Web,
    /// What `cargo xtask check` says of the sources
    Check,
}

/// The end of one step, for the summary.
struct Verdict {
    name: &'static str,
    elapsed: Duration,
    outcome: Result<String>,
    /// Tests that did not run, each with its reason.
    skipped: Vec<String>,
}

/// Runs the tests: Rust's and the wasm builds beside each other, then those in browsers. The checks of the sources go
/// beside all of it: specs of browsers wait for the network and for timers much of the time, which is when they compute.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tools = setup::run(workspace, Needs::Everything)?;
    let has = |part| options.parts.is_empty() || options.parts.contains(&part);
    let ended = |lane: thread::ScopedJoinHandle<'_, Vec<Verdict>>| lane.join().expect("no lane panics");
    let verdicts = thread::scope(|scope| {
        let check = has(Part::Check).then(|| scope.spawn(|| vec![check(workspace, &tools)]));
        let native = has(Part::Native).then(|| scope.spawn(|| native(workspace)));
        let mut web = if has(Part::Web) { web(workspace, &tools) } else { Vec::new() };
        let mut verdicts = native.map_or_else(Vec::new, ended);
        let is_built = web.iter().all(|verdict| verdict.outcome.is_ok() || verdict.name != "package");
        verdicts.append(&mut web);
        if has(Part::Web) && is_built {
            verdicts.extend(browsers(workspace, &tools, options));
        }
        verdicts.extend(check.map_or_else(Vec::new, ended));
        verdicts
    });
    summarise(&verdicts)
}

fn check(workspace: &Workspace, tools: &Tools) -> Verdict {
    step("check", || Ok((check::run(workspace, tools)?, Vec::new())))
}

fn native(workspace: &Workspace) -> Vec<Verdict> {
    let test = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        clean(&mut command).arg("test").args(arguments).args(["--locked", "--no-fail-fast", "--", "--show-output"]);
        command.current_dir(&workspace.root);
        let is_news = |line: &str| {
            line.trim_start().starts_with("Running ")
                || line.starts_with("test result:")
                || line.ends_with(" ... FAILED")
        };
        let ended = follow("native", &format!("cargo test {}", arguments.join(" ")), &mut command, is_news)?;
        if !ended.success {
            bail!("{}", failures(&ended.text));
        }
        let passed = count(&ended.text, " passed;");
        ensure!(passed > 0, "no test ran");
        Ok((format!("{passed} tests passed"), skip_lines(&ended.text)))
    };
    vec![
        step("native", || test(&["--workspace", "--exclude", "xtask", "--features", "wasm-chord/gpu"])),
        step("xtask", || test(&["--package", "xtask", "--profile", "xtask"])),
    ]
}

fn web(workspace: &Workspace, tools: &Tools) -> Vec<Verdict> {
    let package = step("package", || {
        build::package_and_selftest(workspace, tools)?;
        let size = size::measure(workspace)?;
        ensure!(size.download() <= size::DOWNLOAD_BYTES_MAX, "too large. {size}");
        Ok((size.to_string(), Vec::new()))
    });
    let types = step("types", || {
        let compile = |compiler: &str, project: &str| {
            let mut tsc = Command::new(&tools.node);
            let program = workspace.npm_program(&format!("{compiler}/bin/tsc"));
            tsc.arg(program).args(["--noEmit", "--project", project]).current_dir(&workspace.root);
            command::run("types", &format!("{compiler} {project}"), &mut tsc)
        };
        let projects = ["www", "www/demo", CONSUMER];
        for project in projects {
            compile("typescript", project)?;
        }
        for compiler in OTHER_COMPILERS {
            compile(compiler, CONSUMER)?;
        }
        Ok((format!("{} are sound", projects.join(", ")), Vec::new()))
    });
    vec![package, types]
}

/// Runs the specs that were asked for in the browsers that were asked for, one browser after the other.
fn browsers(workspace: &Workspace, tools: &Tools, options: &Options) -> Vec<Verdict> {
    let named = match spec_files(workspace, options.spec.as_deref().unwrap_or_default()) {
        Ok(named) => named,
        Err(error) => return vec![step("browser", || Err(error))],
    };
    let is_for_firefox = |path: &&PathBuf| FIREFOX_SPECS.iter().any(|part| path.ends_with(format!("{part}.spec.mjs")));
    let in_both: Vec<PathBuf> = named.iter().filter(is_for_firefox).cloned().collect();
    let run = |name, specs: &[PathBuf]| step(name, || run_specs(workspace, tools, name, specs));
    match options.browser {
        Some(Browser::Chromium) => vec![run("chromium", &named)],
        Some(Browser::Firefox) => vec![run("firefox", &named)],
        None if in_both.is_empty() => vec![run("chromium", &named)],
        None => vec![run("chromium", &named), run("firefox", &in_both)],
    }
}

/// The browser specs whose file names contain `part`.
fn spec_files(workspace: &Workspace, part: &str) -> Result<Vec<PathBuf>> {
    let is_spec = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".spec.mjs") && name.contains(part)
    };
    let specs: Vec<PathBuf> = files_below(&workspace.root.join("tests"))?.into_iter().filter(is_spec).collect();
    ensure!(!specs.is_empty(), "no browser spec has that name");
    Ok(specs)
}

/// Runs specs in the browser of that name.
fn run_specs(
    workspace: &Workspace,
    tools: &Tools,
    name: &'static str,
    specs: &[PathBuf],
) -> Result<(String, Vec<String>)> {
    let mut command = Command::new(&tools.node);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    command.args(["--test", "--test-reporter=spec"]);
    command.arg(format!("--test-concurrency={}", cores + SPECS_MORE));
    command.arg(format!("--test-timeout={}", SPEC_SECONDS_MAX * 1000)).args(specs);
    command.env("CHORD_SELFTEST", workspace.selftest()).current_dir(&workspace.root);
    command.env("CHORD_BROWSER", name);
    if let Some(browsers) = &tools.browsers {
        command.env("CHROME_PATH", &browsers.chromium).env("FIREFOX_PATH", &browsers.firefox);
        command.envs(browsers.headless_shell.iter().map(|path| ("CHROME_SHELL_PATH", path)));
    }
    let ended = follow(name, &format!("{} spec files", specs.len()), &mut command, |_| true)?;
    if !ended.success {
        let failed: Vec<&str> =
            ended.text.lines().take_while(|line| *line != NODE_FAILURES).filter(|line| line.starts_with('✖')).collect();
        bail!("{}", failed.join("\n"));
    }
    let passed = count_after(&ended.text, "ℹ pass ").context("node reported no count")?;
    ensure!(passed > 0, "no test ran");
    Ok((format!("{passed} tests passed"), skip_lines(&ended.text)))
}

fn step(name: &'static str, body: impl FnOnce() -> Result<(String, Vec<String>)>) -> Verdict {
    let start = Instant::now();
    let (outcome, skipped) = match body() {
        Ok((text, skipped)) => (Ok(text), skipped),
        Err(error) => (Err(error), Vec::new()),
    };
    Verdict { name, elapsed: start.elapsed(), outcome, skipped }
}

fn summarise(verdicts: &[Verdict]) -> Result<()> {
    let mut text = String::from("\n");
    for verdict in verdicts {
        let seconds = verdict.elapsed.as_secs_f64();
        match &verdict.outcome {
            Ok(note) => writeln!(text, "ok      {:9}{seconds:7.1} s  {note}", verdict.name)?,
            Err(error) => writeln!(text, "FAILED  {:9}{seconds:7.1} s\n{error:#}\n", verdict.name)?,
        }
        for reason in &verdict.skipped {
            writeln!(text, "        {reason}")?;
        }
    }
    say("test", text);
    let failed = verdicts.iter().filter(|verdict| verdict.outcome.is_err()).count();
    if failed > 0 {
        bail!("{failed} of {} steps failed", verdicts.len());
    }
    Ok(())
}

/// What cargo says of failed tests: from the first list of failures on, or the end of a failed build.
fn failures(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let first = lines.iter().position(|line| *line == "failures:" || line.starts_with("error"));
    let start = first.unwrap_or(lines.len().saturating_sub(FAILURE_LINES_MAX));
    lines[start..].iter().take(FAILURE_LINES_MAX).copied().collect::<Vec<_>>().join("\n")
}

/// The sum of the numbers that stand before a word, as in `12 passed;`.
fn count(text: &str, word: &str) -> usize {
    let number_before = |(at, _): (usize, &str)| text[..at].rsplit(' ').next()?.parse::<usize>().ok();
    text.match_indices(word).filter_map(number_before).sum()
}

/// The number that follows a word.
fn count_after(text: &str, word: &str) -> Option<usize> {
    text.lines().rev().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

/// What tests say when they cannot run here, each message once: `skipped: …` natively, `# …` from node.
fn skip_lines(text: &str) -> Vec<String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for line in text.lines().map(str::trim) {
        let node = line.strip_prefix("﹣ ").and_then(|rest| rest.rsplit_once(" # ")).map(|(_, reason)| reason);
        let Some(reason) = line.strip_prefix("skipped: ").or(node) else { continue };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, times)) => *times += 1,
            None => reasons.push((reason.to_owned(), 1)),
        }
    }
    reasons.into_iter().map(|(reason, times)| format!("skipped {times} ×: {reason}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_runners() {
        let cargo = "test result: ok. 12 passed; 0 failed;\ntest result: ok. 3 passed; 0 failed;\n";
        assert_eq!(count(cargo, " passed;"), 15);
        assert_eq!(count_after("ℹ tests 9\nℹ pass 7\nℹ fail 0\n", "ℹ pass "), Some(7));
        assert_eq!(count_after("nothing", "ℹ pass "), None);
    }

    #[test]
    fn failures_begin_with_their_list() {
        assert_eq!(
            failures("test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhy\n"),
            "failures:\n\n---- a stdout ----\nwhy"
        );
        assert_eq!(failures("Compiling\nerror[E0308]: mismatched\n"), "error[E0308]: mismatched");
    }

    #[test]
    fn each_reason_to_skip_is_told_once() {
        let text = "skipped: no reference data\n﹣ parity (0.2ms) # no reference data\n  skipped: no GPU\n✔ fine\n";
        assert_eq!(skip_lines(text), ["skipped 2 ×: no reference data", "skipped 1 ×: no GPU"]);
    }
}
