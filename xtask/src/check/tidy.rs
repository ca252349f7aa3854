//! What the documents promise about the sources, read from the documents and held against the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::visit::Visit;

use crate::stamp::files_below;

/// Lines of a source file. Longer files stand below, each with its reason.
const LINES_MAX: usize = 500;

/// Files and folders whose files may be longer, up to a limit of their own.
const LONG_FILES: [(&str, usize, &str); 4] = [
    (GENERATED, 800, "written from the core's definitions, where it is read"),
    ("www/src/store/pages.ts", 600, "one journal and its pages; parts of it would share all of their state"),
    ("tests/", 900, "a suite is one story with one set-up"),
    ("src/template/tests", 1500, "a list of small cases"),
];

/// Folders of the crates whose imports go one way, and the blocks of ARCHITECTURE.md that say which.
const CRATES: [(&str, &str); 2] = [("src/", "layers"), ("kernels/src/", "kernels")];
/// Folders that hold sources of this project.
const FOLDERS: [&str; 11] =
    ["src", "kernels", "constrain", "shaders", "www", "tests", "xtask", "fuzz", "models", "examples", ".ci"];
/// The documents at the root.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// What the scripts have of the core, the stable codes of errors among it; a test of the crate writes it.
const GENERATED: &str = "www/src/wire/generated.ts";
/// The fields of requests and options.
const FIELDS: &str = "www/src/page/fields.ts";

/// The readers of optional reference data, which look beside the checkout and say so where there is none.
const LOOK_BESIDE: [&str; 1] = ["tests/support/"];

/// A file's name from the root, with forward slashes, and its text.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn is(&self, extensions: &[&str]) -> bool {
        self.name.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }

    /// The module of the crate, or the folder of the package, that the file below `folder` belongs to.
    fn module(&self, folder: &str) -> String {
        top(&self.name, folder)
    }
}

/// The first name of a path below a folder, without its extension.
fn top(path: &str, folder: &str) -> String {
    path.strip_prefix(folder).unwrap_or(path).split(['/', '.']).next().unwrap_or_default().to_owned()
}

/// Checks every promise; the error lists each place that breaks one.
pub fn check(root: &Path) -> Result<()> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        for file in files_below(&root.join(folder))? {
            let name = file.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            // What is not text is not a source.
            if let Ok(text) = fs::read_to_string(&file) {
                sources.push(Source { name, text });
            }
        }
    }
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).context("there is no ARCHITECTURE.md")?;
    let mut broken = Vec::new();
    for (folder, block) in CRATES {
        broken.extend(crate_imports(&sources, folder, &layers(&architecture, block)?)?);
    }
    broken.extend(package_imports(&sources, &layers(&architecture, "threads")?)?);
    for source in &sources {
        broken.extend(long_file(source));
        broken.extend(outside_places(source));
        if CRATES.iter().any(|(folder, _)| source.name.starts_with(folder)) && source.is(&["rs"]) {
            broken.extend(wildcard_arms(source)?);
        }
    }
    let readme = fs::read_to_string(root.join("README.md")).context("there is no README.md")?;
    broken.extend(unnamed_architectures(
        &fs::read_to_string(root.join("src/model/registry.rs")).context("there is no registry")?,
        &readme,
    ));
    let fields = fs::read_to_string(root.join(FIELDS)).with_context(|| format!("there is no {FIELDS}"))?;
    broken.extend(unnamed_fields(&fields, &readme)?);
    let generated = fs::read_to_string(root.join(GENERATED)).with_context(|| format!("there is no {GENERATED}"))?;
    let codes = error_codes(&generated);
    broken.extend(misnamed_codes(&codes, &readme));
    broken.extend(unthrown_codes(&codes, &sources));
    for name in DOCUMENTS {
        let text = fs::read_to_string(root.join(name)).with_context(|| format!("there is no {name}"))?;
        broken.extend(missing_files(name, &text, &|path| root.join(path).exists()));
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// Depths by name, from a fenced block of a document that lists layers, highest first. Names on one line share a
/// layer; a dash begins what is said of them.
fn layers(document: &str, block: &str) -> Result<BTreeMap<String, usize>> {
    let fence = format!("```{block}\n");
    let start = document.find(&fence).with_context(|| format!("ARCHITECTURE.md has no block of {block}"))?;
    let body = document[start + fence.len()..].split("```").next().unwrap_or_default();
    let mut depths = BTreeMap::new();
    for (depth, line) in body.lines().enumerate() {
        let names = line.split('—').next().unwrap_or_default();
        depths.extend(names.split_whitespace().map(|name| (name.to_owned(), depth)));
    }
    Ok(depths)
}

/// Says so if a file of module `from` may not import module `to`.
fn upward(layers: &BTreeMap<String, usize>, file: &str, from: &str, to: &str) -> Result<Option<String>> {
    let depth =
        |name: &str| layers.get(name).with_context(|| format!("ARCHITECTURE.md gives {name} no layer ({file})"));
    let is_upward = from != to && depth(to)? <= depth(from)?;
    Ok(is_upward.then(|| format!("{file} imports {to}, which does not stand below {from} in ARCHITECTURE.md")))
}

/// Imports of the crate in a folder that go up.
fn crate_imports(sources: &[Source], folder: &str, layers: &BTreeMap<String, usize>) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| source.name.starts_with(folder) && source.is(&["rs"])) {
        let from = source.module(folder);
        // Tests may hold a module against any other.
        if from == "lib" || source.name.contains("test") {
            continue;
        }
        let code = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            let to: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            // A type that is named from the root is one of the error module's.
            let to = if to.starts_with(|c: char| c.is_ascii_lowercase()) { to.as_str() } else { "error" };
            broken.extend(upward(layers, &source.name, &from, to)?);
        }
    }
    Ok(broken)
}

/// Imports of the package that go up, and files that import themselves through others.
fn package_imports(sources: &[Source], layers: &BTreeMap<String, usize>) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.name.starts_with("www/src/") && source.is(&["ts"])) {
        let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
        for line in source.text.lines().filter(|line| line.contains(" from '.")) {
            let target = line.rsplit(" from '").next().and_then(|rest| rest.split('\'').next()).unwrap_or_default();
            // Types are gone at run time: no code comes along with them.
            if ["import type", "export type"].iter().any(|start| line.trim_start().starts_with(start)) {
                continue;
            }
            let target = normal(&folder.join(target)).replace(".js", ".ts");
            broken.extend(upward(layers, &source.name, &source.module("www/src/"), &top(&target, "www/src/"))?);
            graph.entry(source.name.clone()).or_default().push(target);
        }
    }
    let is_circular = |file: &&String| reaches(&graph, file, file, &mut Vec::new());
    broken.extend(graph.keys().filter(is_circular).map(|file| format!("{file} imports itself through others")));
    Ok(broken)
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().filter_map(|part| part.to_str()) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn reaches(graph: &BTreeMap<String, Vec<String>>, from: &str, to: &str, seen: &mut Vec<String>) -> bool {
    let Some(next) = graph.get(from) else { return false };
    next.iter().any(|file| {
        if file == to {
            return true;
        }
        if seen.contains(file) {
            return false;
        }
        seen.push(file.clone());
        reaches(graph, file, to, seen)
    })
}

/// A `match` over ops with an arm that takes whatever is left hides a place that a new op needs.
fn wildcard_arms(source: &Source) -> Result<Vec<String>> {
    let file = syn::parse_file(&source.text).with_context(|| format!("{} does not parse", source.name))?;
    let mut wildcards = Wildcards::default();
    wildcards.visit_file(&file);
    let named = |_| format!("{}: a match over ops has an arm for whatever is left", source.name);
    Ok((0..wildcards.count).map(named).collect())
}

#[derive(Default)]
struct Wildcards {
    count: usize,
}

impl<'a> Visit<'a> for Wildcards {
    fn visit_expr_match(&mut self, found: &'a syn::ExprMatch) {
        let names_op = |arm: &syn::Arm| {
            let mut names = Names::default();
            names.visit_pat(&arm.pat);
            names.has_op
        };
        let takes_all = |arm: &&syn::Arm| {
            matches!(&arm.pat, syn::Pat::Wild(_)) || matches!(&arm.pat, syn::Pat::Ident(name) if name.subpat.is_none())
        };
        // Of all ways to put several ops in a row, an arm for the others is the only one that can be written.
        let is_several = |arm: &syn::Arm| matches!(&arm.pat, syn::Pat::Slice(_) | syn::Pat::Tuple(_));
        if !found.arms.iter().any(is_several) && found.arms.iter().any(names_op) {
            self.count += found.arms.iter().filter(takes_all).count();
        }
        syn::visit::visit_expr_match(self, found);
    }
}

/// Whether a pattern names an op.
#[derive(Default)]
struct Names {
    has_op: bool,
}

impl<'a> Visit<'a> for Names {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.has_op |= path.segments.iter().rev().nth(1).is_some_and(|segment| segment.ident == "Op");
    }
}

fn long_file(source: &Source) -> Option<String> {
    if !source.is(&["rs", "ts", "mjs", "wgsl"]) {
        return None;
    }
    let exception = LONG_FILES.iter().find(|(name, _, _)| source.name.starts_with(name));
    let max = exception.map_or(LINES_MAX, |(_, max, _)| *max);
    let lines = source.text.lines().count();
    (lines > max).then(|| format!("{} has {lines} lines, {max} at most", source.name))
}

/// Lines that name a place outside the repository.
fn outside_places(source: &Source) -> Vec<String> {
    // Put together, so that this file does not name them.
    let places = [["/ho", "me/"].concat(), ["\"/t", "mp/"].concat(), ["'/t", "mp/"].concat()];
    let beside = ["../sha", "red"].concat();
    let may_look = LOOK_BESIDE.iter().any(|name| source.name.starts_with(name));
    let is_outside = |line: &str| {
        places.iter().any(|place| line.contains(place.as_str())) || (!may_look && line.contains(beside.as_str()))
    };
    let lines = source.text.lines().enumerate().filter(|(_, line)| is_outside(line));
    lines.map(|(at, line)| format!("{}:{} names a place outside: {}", source.name, at + 1, line.trim())).collect()
}

/// Files that a document links to or names, and that do not exist.
fn missing_files(name: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
    let is_path = |path: &&str| {
        FOLDERS.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
            && !path.contains(['<', '*', ' ', '{', '…'])
    };
    let named = text.split('`').skip(1).step_by(2).filter(is_path);
    links
        .chain(named)
        .filter(|path| !exists(path))
        .map(|path| format!("{name} names {path}, which is not there"))
        .collect()
}

/// Architectures of the registry that the README does not list.
fn unnamed_architectures(registry: &str, readme: &str) -> Vec<String> {
    let rows = registry.split("row(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_missing = |name: &&str| !readme.contains(&format!("`{name}`"));
    rows.filter(is_missing).map(|name| format!("README.md does not list the architecture {name}")).collect()
}

/// Fields of requests that the README does not name: those of the two lists that requests of several kinds share.
fn unnamed_fields(fields: &str, readme: &str) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for list in ["SAMPLING", "TEMPLATE"] {
        let start = format!("\nconst {list}: ");
        let (_, rest) = fields.split_once(&start).with_context(|| format!("{FIELDS} has no list {list}"))?;
        let body = rest.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(body, _)| body);
        let names = body.split(',').filter_map(|field| field.trim().strip_suffix(": true"));
        let is_missing = |name: &&str| !readme.contains(&format!("`{name}`"));
        broken.extend(names.filter(is_missing).map(|name| format!("README.md does not name the field {name}")));
    }
    Ok(broken)
}

/// The codes of `ChordErrorCode`.
fn error_codes(generated: &str) -> Vec<&str> {
    let lines = generated.lines().skip_while(|line| !line.starts_with("export type ChordErrorCode ="));
    let union = lines.skip(1).take_while(|line| line.starts_with("  "));
    union.filter_map(|line| line.trim().strip_prefix("| '")?.split('\'').next()).collect()
}

/// Error codes of which the README does not say what to do, and what it takes for one.
fn misnamed_codes(codes: &[&str], readme: &str) -> Vec<String> {
    let section = readme.split("\n### Errors\n").nth(1).unwrap_or_default().split("\n#").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let named: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let missing = codes.iter().filter(|code| !named.contains(code));
    let missing = missing.map(|code| format!("README.md does not say what to do about {code}"));
    let unknown = named.iter().filter(|name| !codes.contains(name));
    missing
        .chain(unknown.map(|name| format!("README.md says what to do about {name}, which is no error code")))
        .collect()
}

/// Error codes that neither the crate nor the package makes an error of.
fn unthrown_codes(codes: &[&str], sources: &[Source]) -> Vec<String> {
    let is_thrown = |code: &&&str| {
        let (in_rust, in_scripts) = (format!("ErrorCode::{code},"), format!("'{code}'"));
        sources.iter().any(|Source { name, text }| {
            if name.starts_with("src/") {
                return !name.contains("test") && text.contains(&in_rust);
            }
            // Somebody who only compares with a code does not throw it.
            let mut before = text.split(in_scripts.as_str()).collect::<Vec<_>>();
            before.pop();
            name.starts_with("www/src/") && name != GENERATED && before.iter().any(|text| !text.ends_with("== "))
        })
    };
    codes.iter().filter(|code| !is_thrown(code)).map(|code| format!("nothing throws the error code {code}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn an_import_that_goes_up_is_named() {
        let layers = layers("```layers\nweb — top\ncpu gpu\nerror\n```", "layers").unwrap();
        let broken = |name, text| crate_imports(&[source(name, text)], "src/", &layers).unwrap().len();
        assert_eq!(broken("src/web.rs", "use crate::cpu::X; use crate::Result;"), 0);
        assert_eq!(broken("src/cpu/mod.rs", "use crate::cpu::X; use crate::error::Y;"), 0);
        assert_eq!(broken("src/cpu/mod.rs", "use crate::gpu::X;"), 1);
        assert_eq!(broken("src/error.rs", "use crate::web::X;"), 1);
        assert!(crate_imports(&[source("src/new.rs", "use crate::cpu::X;")], "src/", &layers).is_err());
    }

    #[test]
    fn a_circle_of_files_is_named() {
        let layers = layers("```threads\npage\nwire\n```", "threads").unwrap();
        let files = |last: &str| {
            let a = source("www/src/page/a.ts", "import { b } from './b.js';\nimport { w } from '../wire/w.js';");
            let b = source("www/src/page/b.ts", last);
            package_imports(&[a, b], &layers).unwrap()
        };
        assert!(files("import type { a } from './a.js';").is_empty());
        assert_eq!(files("import { a } from './a.js';").len(), 2);
        let up = source("www/src/wire/w.ts", "import { a } from '../page/a.js';");
        assert_eq!(package_imports(&[up], &layers).unwrap().len(), 1);
    }

    #[test]
    fn an_arm_for_whatever_is_left_is_found_among_ops_only() {
        let arms = |text: &str| wildcard_arms(&source("src/x.rs", text)).unwrap().len();
        assert_eq!(arms("fn f(o: Op) { match o { Op::Add { .. } => {} Op::Embed { .. } => {} } }"), 0);
        assert_eq!(arms("fn f(o: Op) { match o { Op::Add { .. } => {} other => {} } }"), 1);
        assert_eq!(arms("fn f(o: Op) { match (o, o) { (Op::Add { .. }, Op::Add { .. }) => {} _ => {} } }"), 0);
        assert_eq!(arms("fn f(o: u8) { match o { 1 => {} _ => {} } }"), 0);
    }

    #[test]
    fn long_files_and_places_outside_are_named() {
        assert!(long_file(&source("src/a.rs", &"\n".repeat(LINES_MAX))).is_none());
        assert!(long_file(&source("src/a.rs", &"\n".repeat(LINES_MAX + 1))).is_some());
        let beside = ["x ../sha", "red y"].concat();
        assert_eq!(outside_places(&source("src/a.rs", &beside)).len(), 1);
        assert_eq!(outside_places(&source("tests/support/mod.rs", &beside)).len(), 0);
    }

    #[test]
    fn files_that_a_document_names_exist() {
        let text = "See [a](src/a.rs#x), `src/b.rs`, `src/<name>.rs`, [web](https://example.org) and `cargo test`.";
        assert!(missing_files("X.md", text, &|_| true).is_empty());
        assert_eq!(missing_files("X.md", text, &|_| false).len(), 2);
    }

    #[test]
    fn the_readme_lists_every_architecture() {
        let registry = r#"row("a", X), row("b-c", Y),"#;
        assert!(unnamed_architectures(registry, "| `a`, `b-c` |").is_empty());
        assert_eq!(unnamed_architectures(registry, "| `a` |").len(), 1);
    }

    #[test]
    fn the_readme_names_every_field() {
        let fields = "\nconst SAMPLING: X = {\n  a: true, b: true,\n};\nconst TEMPLATE: X = { c: true };";
        assert!(unnamed_fields(fields, "`a`, `b`, `c`").expect("two lists").is_empty());
        assert_eq!(unnamed_fields(fields, "`a`").expect("two lists").len(), 2);
        assert!(unnamed_fields("", "`a`").is_err());
    }

    #[test]
    fn error_codes_are_explained_and_thrown() {
        let generated = "export type ChordErrorCode =\n  /** One; two. */\n  | 'A'\n  | 'B';\nexport const C = 'C';";
        let codes = error_codes(generated);
        assert_eq!(codes, ["A", "B"]);
        let readme =
            |codes: &str| format!("# X\n\n### Errors\n\n| code | do |\n| {codes} | set `x` |\n\n## Y\n| `Z` |");
        assert!(misnamed_codes(&codes, &readme("`A`, `B`")).is_empty());
        assert_eq!(misnamed_codes(&codes, &readme("`A`")).len(), 1);
        assert_eq!(misnamed_codes(&codes, &readme("`A`, `B`, `C`")).len(), 1);
        let unthrown = |rust: &str, script: &str| {
            unthrown_codes(&codes, &[source("src/a.rs", rust), source("www/src/a.ts", script)]).len()
        };
        assert_eq!(unthrown("Err(new(ErrorCode::A, x))", "throw new ChordError('B', x);"), 0);
        assert_eq!(unthrown("matches!(x, ErrorCode::A)", "if (code === 'B') return;"), 2);
    }
}
