//! The JSON-Schema-Test-Suite's cases of draft 2020-12: every document that it calls valid can be written, none that it
//! calls invalid, and a keyword that is not understood is refused by name.
//!
//! The suite's folder is named from outside: `git clone https://github.com/json-schema-org/JSON-Schema-Test-Suite`, then
//!
//!     CHORD_JSON_SCHEMA_SUITE=…/tests/draft2020-12 cargo test -p chord-constrain --test suite -- --nocapture

use chord_constrain::{Constraint, Grammar, Vocabulary};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Token 0 ends; the others are a byte each.
fn vocabulary() -> Vocabulary {
    let pieces = std::iter::once(b"</s>".to_vec()).chain((0..=255u8).map(|byte| vec![byte]));
    Vocabulary::new(pieces.collect(), &[0]).expect("a vocabulary")
}

/// Whether exactly this text can be written.
fn takes(constraint: &mut Constraint, text: &str) -> bool {
    constraint.restart();
    let mut comes = |byte: u8| {
        let token = u32::from(byte) + 1;
        constraint.agreeing(&[token]) == 1 && constraint.commit(token).is_ok()
    };
    if !text.bytes().all(&mut comes) {
        return false;
    }
    let mut mask = [0; 9];
    constraint.mask(&mut mask).is_ok() && mask[0] & 1 == 1
}

/// Texts of a document. Properties come in the order of the schema, which is not known here for all of it, so that each
/// order is one, as far as [`WAYS_MAX`] goes.
fn texts(document: &Value) -> Vec<String> {
    orders(document).iter().map(Value::to_string).collect()
}

fn orders(document: &Value) -> Vec<Value> {
    match document {
        Value::Array(all) => all.iter().fold(vec![Value::Array(Vec::new())], |begun, item| {
            let ways = orders(item);
            let longer = begun.iter().flat_map(|start| {
                ways.iter().map(move |way| {
                    let mut items = start.as_array().expect("a list").clone();
                    items.push(way.clone());
                    Value::Array(items)
                })
            });
            longer.take(WAYS_MAX).collect()
        }),
        Value::Object(all) => {
            let mut found = Vec::new();
            let names: Vec<&String> = all.keys().collect();
            permute(&names, &mut Vec::new(), &mut |order| {
                let mut ways = vec![Map::new()];
                for name in order {
                    let values = orders(&all[name.as_str()]);
                    ways = ways
                        .iter()
                        .flat_map(|way| {
                            values.iter().map(|value| {
                                let mut way = way.clone();
                                way.insert((*name).clone(), value.clone());
                                way
                            })
                        })
                        .take(WAYS_MAX)
                        .collect();
                }
                found.extend(ways.into_iter().map(Value::Object));
                found.len() < WAYS_MAX
            });
            found
        }
        // 1.0 is an integer as well, and is written like one.
        Value::Number(number) if number.as_f64().is_some_and(|value| value.fract() == 0.0 && value.abs() < 1e16) => {
            let whole = Value::from(number.as_f64().unwrap_or_default() as i64);
            if whole == *document { vec![whole] } else { vec![document.clone(), whole] }
        }
        other => vec![other.clone()],
    }
}

/// Ways to write a document that are tried.
const WAYS_MAX: usize = 200;

/// Calls back with every order of `left` until that says no.
fn permute<'a>(left: &[&'a String], begun: &mut Vec<&'a String>, each: &mut dyn FnMut(&[&'a String]) -> bool) -> bool {
    if left.is_empty() {
        return each(begun);
    }
    (0..left.len()).all(|at| {
        let mut rest = left.to_vec();
        begun.push(rest.remove(at));
        let goes_on = permute(&rest, begun, each);
        begun.pop();
        goes_on
    })
}

/// The files of the folder and those that say what formats take. `format.json` has formats that are notes only, and here
/// they are kept to. `vocabulary.json` has schemas that switch keywords off by a metaschema on a server.
fn files(folder: &Path) -> Vec<PathBuf> {
    let of = |folder: &Path| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = of(folder).chain(of(&folder.join("optional/format"))).collect();
    found.retain(|path| {
        path.extension().is_some_and(|extension| extension == "json")
            && !LEFT_OUT.iter().any(|name| path.ends_with(name))
    });
    found.sort();
    found
}

const LEFT_OUT: [&str; 2] = ["format.json", "vocabulary.json"];

/// Cases that come out otherwise, by a part of their names, and why.
const OTHERWISE: [(&str, &str); 2] = [
    ("valid leap second, ", "a leap second is told in UTC only"),
    ("a valid date-time with a leap second, ", "likewise"),
];

#[test]
fn the_suite_s_documents_can_be_written_where_they_are_valid_and_only_there() {
    let Some(folder) = env::var_os("CHORD_JSON_SCHEMA_SUITE").map(PathBuf::from) else {
        println!("skipped: CHORD_JSON_SCHEMA_SUITE names no JSON-Schema-Test-Suite");
        return;
    };
    let vocabulary = vocabulary();
    let (mut right, mut otherwise, mut refused, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for path in files(&folder) {
        let file = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let groups: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
        for group in groups.as_array().expect("a list") {
            let title = format!("{file}: {}", group["description"].as_str().unwrap_or_default());
            let mut constraint = match vocabulary.compile(Grammar::JsonSchema(group["schema"].clone())) {
                Ok(constraint) => constraint,
                Err(why) => {
                    refused.push(format!("{title}: {:?} {}", why.keyword, why.message));
                    continue;
                }
            };
            for case in group["tests"].as_array().expect("a list") {
                let is_taken = texts(&case["data"]).iter().any(|text| takes(&mut constraint, text));
                let name = case["description"].as_str().unwrap_or_default();
                match is_taken == (case["valid"] == true) {
                    true => right += 1,
                    false if OTHERWISE.iter().any(|(part, _)| name.starts_with(part)) && !is_taken => otherwise += 1,
                    false => wrong.push(format!(
                        "{title}: {} {} is {}, schema {}",
                        case["description"],
                        case["data"],
                        if is_taken { "taken" } else { "not taken" },
                        group["schema"]
                    )),
                }
            }
        }
    }
    println!(
        "{right} documents right, {otherwise} otherwise on purpose; {} schemas refused:\n{}",
        refused.len(),
        refused.join("\n")
    );
    assert!(right > 0, "no document in {}", folder.display());
    assert!(wrong.is_empty(), "{} documents wrong:\n{}", wrong.len(), wrong.join("\n"));
}
