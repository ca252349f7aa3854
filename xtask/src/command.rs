//! Running other programs, with output that can be followed while several run at once.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Lines that the error of a failed program repeats from the start of its output.
const ERROR_HEAD_LINES_MAX: usize = 40;
/// The same from the end.
const ERROR_TAIL_LINES_MAX: usize = 80;

/// Serialises whole lines from the threads that print.
static SCREEN: Mutex<()> = Mutex::new(());

/// Prints one line of progress, marked with the step it belongs to.
pub fn say(step: &str, text: impl AsRef<str>) {
    let _screen = SCREEN.lock();
    // A closed pipe must not stop a build.
    let _ = writeln!(std::io::stdout(), "[{step}] {}", text.as_ref());
}

/// Runs a program with its output kept back, says so at the start and the end, and returns the output.
///
/// The output is shown in the error when the program fails.
pub fn run(step: &str, title: &str, command: &mut Command) -> Result<String> {
    let ended = follow(step, title, command, |_| false)?;
    if !ended.success {
        bail!("[{step}] {title} failed:\n{}", excerpt(&ended.text, ERROR_HEAD_LINES_MAX, ERROR_TAIL_LINES_MAX));
    }
    Ok(ended.text)
}

/// How a program ended.
pub struct Ended {
    pub success: bool,
    /// All that it printed.
    pub text: String,
}

/// Runs a program, prints those lines of its output that `show` picks as they come, and returns all of it.
pub fn follow(step: &str, title: &str, command: &mut Command, show: fn(&str) -> bool) -> Result<Ended> {
    say(step, format!("{title} …"));
    let start = Instant::now();
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    // The command holds the writing ends of the pipe, which would keep the reader waiting for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let text = copy_lines(reader, |line| {
        if show(line) {
            say(step, line);
        }
    })?;
    let status = child.wait()?;
    let verdict = if status.success() { String::new() } else { format!(", {status}") };
    say(step, format!("{title}: {:.1} s{verdict}", start.elapsed().as_secs_f64()));
    Ok(Ended { success: status.success(), text })
}

/// Collects what comes through the pipe; bytes that are not UTF-8 are replaced.
fn copy_lines(reader: impl Read, mut each: impl FnMut(&str)) -> Result<String> {
    let mut text = String::new();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let decoded = String::from_utf8_lossy(&line);
        each(decoded.trim_end());
        text.push_str(&decoded);
        line.clear();
    }
    Ok(text)
}

/// The first and the last lines of a text: programs put the reason at either end.
fn excerpt(text: &str, head_max: usize, tail_max: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= head_max + tail_max {
        return lines.join("\n");
    }
    let left_out = format!("… {} lines …", lines.len() - head_max - tail_max);
    let (head, tail) = (&lines[..head_max], &lines[lines.len() - tail_max..]);
    format!("{}\n{left_out}\n{}", head.join("\n"), tail.join("\n"))
}

/// Runs a program that talks to the person directly, such as a server or a test runner.
pub fn attach(command: &mut Command) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        command.stdin(Stdio::null());
    }
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}

/// The standard output of a short program, or nothing if it fails or is missing.
pub fn ask(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program.as_ref());
    clean(&mut command);
    let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Removes the library folders that `cargo run` adds and that would mislead another toolchain.
pub fn clean(command: &mut Command) -> &mut Command {
    command.env_remove("LD_LIBRARY_PATH").env_remove("DYLD_FALLBACK_LIBRARY_PATH")
}

/// Finds a program on the search path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether a path names a file that may be executed.
pub fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    {
        fs::metadata(path).is_ok_and(|file| file.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_the_output() {
        let error = run("test", "failing", Command::new("sh").args(["-c", "echo before; echo why >&2; exit 3"]));
        let text = format!("{:#}", error.err().unwrap());
        assert!(text.contains("before\nwhy"), "{text}");
    }

    #[test]
    fn a_long_output_keeps_both_ends() {
        assert_eq!(excerpt("a\nb\nc\nd\n", 1, 2), "a\n… 1 lines …\nc\nd");
        assert_eq!(excerpt("a\nb\nc\n", 1, 2), "a\nb\nc");
    }
}
