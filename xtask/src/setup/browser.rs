//! The browsers that tests and benches drive.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::apt;
use crate::command::{find_program, is_program};

/// A browser, and how to find or install it.
struct Browser {
    title: &'static str,
    /// The variable that names another program.
    variable: &'static str,
    programs: &'static [&'static str],
    applications: &'static [&'static str],
    /// Debian's.
    package: &'static str,
}

const CHROMIUM: Browser = Browser {
    title: "Chromium or Chrome",
    variable: "CHROME_PATH",
    programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"],
    applications: &[
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ],
    package: "chromium",
};

const HEADLESS_SHELL: Browser = Browser {
    title: "Chromium's headless shell",
    variable: "CHROME_SHELL_PATH",
    programs: &["chromium-headless-shell", "chrome-headless-shell"],
    applications: &[],
    package: "chromium-headless-shell",
};

const FIREFOX: Browser = Browser {
    title: "Firefox",
    variable: "FIREFOX_PATH",
    programs: &["firefox-esr", "firefox"],
    applications: &["/Applications/Firefox.app/Contents/MacOS/firefox"],
    package: "firefox-esr",
};

/// Finds Chromium or Chrome, `CHROME_PATH` first, or installs Debian's.
pub fn chromium() -> Result<PathBuf> {
    CHROMIUM.ensure()
}

/// Chromium without any window, which Debian packages by itself: the same engine for less than three quarters of the
/// processor time that tests of the other take, most of whose pages live for a second. None where the browser was named
/// by the person, since all tests shall run in that one then, and where there is no such package.
pub fn headless_shell() -> Result<Option<PathBuf>> {
    if env::var_os(CHROMIUM.variable).is_some() {
        return Ok(None);
    }
    if HEADLESS_SHELL.find()?.is_none() && !apt::is_here() {
        return Ok(None);
    }
    HEADLESS_SHELL.ensure().map(Some)
}

/// The same for Firefox, `FIREFOX_PATH` first.
pub fn firefox() -> Result<PathBuf> {
    FIREFOX.ensure()
}

impl Browser {
    fn ensure(&self) -> Result<PathBuf> {
        if let Some(path) = self.find()? {
            return Ok(path);
        }
        if !apt::is_here() {
            bail!("no {} found: install it, or name it in {}", self.title, self.variable);
        }
        apt::ensure(&[self.package])?;
        match self.find()? {
            Some(path) => Ok(path),
            None => bail!("the package {} brought no program of that name", self.package),
        }
    }

    fn find(&self) -> Result<Option<PathBuf>> {
        if let Some(path) = env::var_os(self.variable).map(PathBuf::from) {
            if !is_program(&path) {
                bail!("{} names {}, which is not a program", self.variable, path.display());
            }
            return Ok(Some(path));
        }
        let application = || self.applications.iter().map(PathBuf::from).find(|path| is_program(path));
        Ok(self.programs.iter().find_map(|name| find_program(name)).or_else(application))
    }
}
