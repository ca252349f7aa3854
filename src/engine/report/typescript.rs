//! Writes `www/src/wire/generated.ts`: what TypeScript has to know of the core, from the core's own definitions.

use crate::error::ErrorCode;
use std::fmt::Write;
use std::path::Path;

/// The file, from the root of the repository.
const FILE: &str = "www/src/wire/generated.ts";

/// The variable of the environment with which the file is written before it is compared.
const UPDATE: &str = "CHORD_UPDATE";

const HEAD: &str = "/**
 * What the scripts have of the core, written by a test of the core from its own definitions. To change it, change those
 * and run `CHORD_UPDATE=1 cargo test --lib typescript`.
 */
";

#[test]
fn the_types_of_the_scripts_are_those_of_the_core() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = [HEAD.to_owned(), codes()].join("\n");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &text).expect("the file is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{FILE} is not what the core has: run `{UPDATE}=1 cargo test --lib typescript`");
}

/// The codes of errors as a union, and the set of those after which the same call may succeed.
fn codes() -> String {
    let mut text = "/** Stable codes of `ChordError`. */\nexport type ChordErrorCode =".to_owned();
    for code in ErrorCode::ALL {
        write!(text, "\n  /**{} */\n  | '{code:?}'", code.words()).expect("text takes more text");
    }
    text += ";\n\n/** Codes after which the same call, or a new engine, may succeed later. */\n";
    text += "export const RETRYABLE: ReadonlySet<ChordErrorCode> = new Set<ChordErrorCode>([";
    for code in ErrorCode::ALL.iter().filter(|code| code.is_retryable()) {
        write!(text, "\n  '{code:?}',").expect("text takes more text");
    }
    text + "\n]);\n"
}
