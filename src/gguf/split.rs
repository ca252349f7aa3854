//! Models split over several files by `gguf-split`: `NAME-00001-of-00003.gguf` and so on.

use super::{Header, layout, shown};
use crate::error::{ChordError, Result};

/// Most parts of a model. The largest models published have some 50.
pub const PARTS_MAX: u64 = 1000;

/// In how many files the model of this header lies: 1 unless it is split. `InvalidModel` if the
/// number makes no sense.
pub fn part_count(header: &Header) -> Result<usize> {
    let count = header.metadata.opt_u64("split.count")?.unwrap_or(1);
    check_count(count)
}

/// The names of all parts, from the name of the first (without its folder) and the number of parts.
/// `InvalidModel` if the count is out of bounds or the name is not that of a first part.
pub fn shard_names(first: &str, count: u64) -> Result<Vec<String>> {
    let count = check_count(count)?;
    if first.contains(['/', '\\', '?', '#', '%']) || first.contains(char::is_control) || first.starts_with('.') {
        return Err(ChordError::model(format!("'{}' is not the name of a file", shown(first))));
    }
    if count == 1 {
        return Ok(vec![first.to_string()]);
    }
    let ending = |part: usize| format!("-{part:05}-of-{count:05}.gguf");
    let Some(stem) = first.strip_suffix(&ending(1)) else {
        let message = format!(
            "the model is split in {count} parts, but the name of the first, '{}', does not end in '{}'",
            shown(first),
            ending(1)
        );
        return Err(ChordError::model(message).with("parts", count));
    };
    Ok((1..=count).map(|part| format!("{stem}{}", ending(part))).collect())
}

/// Joins the headers of all parts, in order: the metadata of the first and the tensors of all, each
/// marked with its part. `InvalidModel` if parts are missing, out of order or of another model.
pub fn join(parts: Vec<Header>) -> Result<Header> {
    let count = parts.len();
    check_count(count as u64)?;
    for (number, part) in parts.iter().enumerate() {
        check_part(part, number, count)?;
    }
    let declared = parts[0].metadata.opt_u64("split.tensors.count")?;
    let mut headers = parts.into_iter();
    let mut joined = headers.next().expect("at least one part was counted");
    for (number, header) in (1..).zip(headers) {
        joined.warnings.extend(header.warnings);
        joined.tensors.extend(header.tensors.into_iter().map(|tensor| super::TensorInfo { part: number, ..tensor }));
    }
    let found = joined.tensors.len() as u64;
    if let Some(declared) = declared.filter(|&declared| declared != found) {
        let message = format!("the parts of the model have {found} tensors together; {declared} are declared");
        return Err(ChordError::model(message).with("need", declared).with("have", found));
    }
    layout::check_names(&joined.tensors)?;
    Ok(joined)
}

/// Checks what a part says of its place among `count` parts.
fn check_part(part: &Header, number: usize, count: usize) -> Result<()> {
    let declared = part_count(part)?;
    if declared != count {
        let message = format!("part {} says that the model has {declared} parts; {count} are given", number + 1);
        return Err(ChordError::model(message).with("need", declared).with("have", count));
    }
    let found = part.metadata.opt_u64("split.no")?.unwrap_or(0);
    if found != number as u64 {
        let message = format!("part {} of the model says that it is part {}", number + 1, u128::from(found) + 1);
        return Err(ChordError::model(message).with("part", number + 1));
    }
    Ok(())
}

/// Refuses a number of parts that no model has. A file that is not split may say 0.
fn check_count(count: u64) -> Result<usize> {
    match count {
        0 | 1 => Ok(1),
        2..=PARTS_MAX => Ok(count as usize),
        _ => Err(ChordError::model(format!("the model is split in {count} parts; at most {PARTS_MAX} are supported"))
            .with("parts", count)),
    }
}
