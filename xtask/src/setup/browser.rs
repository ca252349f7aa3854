//! The browser that tests and benches drive.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::apt;
use crate::command::{find_program, is_program};

const PROGRAMS: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
const APPLICATIONS: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/// Finds Chromium or Chrome, `CHROME_PATH` first, or installs Debian's.
pub fn ensure() -> Result<PathBuf> {
    if let Some(path) = find()? {
        return Ok(path);
    }
    if !apt::is_here() {
        bail!("no Chromium or Chrome found: install one, or name it in CHROME_PATH");
    }
    apt::ensure(&["chromium"])?;
    match find()? {
        Some(path) => Ok(path),
        None => bail!("the package chromium brought no program of that name"),
    }
}

fn find() -> Result<Option<PathBuf>> {
    if let Some(path) = env::var_os("CHROME_PATH").map(PathBuf::from) {
        if !is_program(&path) {
            bail!("CHROME_PATH names {}, which is not a program", path.display());
        }
        return Ok(Some(path));
    }
    let application = || APPLICATIONS.iter().map(PathBuf::from).find(|path| is_program(path));
    Ok(PROGRAMS.iter().find_map(|name| find_program(name)).or_else(application))
}
