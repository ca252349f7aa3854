//! Where the data of the tensors lies: checks that come before any of it is fetched.

use super::{Metadata, TensorInfo, shown};
use crate::error::{ChordError, Result};

/// The alignment of a file that does not say.
const ALIGNMENT_DEFAULT: u32 = 32;

/// Largest alignment that is believed.
const ALIGNMENT_MAX: u32 = 1 << 20;

/// The bytes of a tensor's data, from its dimensions and type. `InvalidGguf` if a dimension is 0,
/// the size overflows, or a row is not a whole number of blocks.
pub(super) fn tensor_bytes(tensor: &TensorInfo) -> Result<u64> {
    let bad = |what: String| {
        let message = format!(
            "tensor '{}' of {:?} {} values {what}",
            shown(&tensor.name),
            tensor.dimensions,
            tensor.dtype.name()
        );
        ChordError::gguf(message).with("tensor", tensor.name.as_str()).with("type", tensor.dtype.name())
    };
    if tensor.dimensions.contains(&0) {
        return Err(bad("has an empty dimension".into()));
    }
    // Signed, because ggml counts values in int64: what it cannot write is not a file of its.
    let values = tensor
        .dimensions
        .iter()
        .try_fold(1, |product: i64, &dimension| product.checked_mul(i64::try_from(dimension).ok()?));
    let (Some(_), Some((&row, outer))) = (values, tensor.dimensions.split_first()) else {
        return Err(bad("is too large".into()));
    };
    let block = tensor.dtype.block_values() as u64;
    if row % block != 0 {
        return Err(bad(format!("has rows that are not whole blocks of {block}")));
    }
    let rows: u64 = outer.iter().product();
    tensor.dtype.row_bytes(row).and_then(|bytes| bytes.checked_mul(rows)).ok_or_else(|| bad("is too large".into()))
}

/// Checks names and places of all tensors of a file with a header of `header_bytes` bytes, and makes
/// their offsets count from the start of the file.
///
/// In a sound file the tensors lie one after the other, with nothing between them but the padding to
/// the next multiple of the alignment; anything else is refused with `InvalidGguf`.
pub(super) fn place(
    tensors: &mut [TensorInfo],
    metadata: &Metadata,
    header_bytes: u64,
    file_bytes: Option<u64>,
) -> Result<()> {
    check_names(tensors)?;
    let alignment = alignment(metadata)?;
    let data_start = header_bytes.next_multiple_of(alignment);
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_unstable_by_key(|&index| tensors[index as usize].offset);
    let mut expected = 0;
    for index in order {
        let tensor = &mut tensors[index as usize];
        if tensor.offset != expected {
            return Err(misplaced(tensor, expected, alignment));
        }
        let end = tensor.offset.checked_add(tensor.bytes);
        let end_in_file = end.and_then(|end| end.checked_add(data_start));
        let limit = file_bytes.unwrap_or(u64::MAX).min(i64::MAX as u64);
        let Some((end, _)) = end.zip(end_in_file.filter(|&end| end <= limit)) else {
            return Err(beyond_end(tensor, data_start, file_bytes));
        };
        // Cannot overflow: the end is at most 2^63 and so is what padding makes of it.
        expected = end.next_multiple_of(alignment);
        tensor.offset += data_start;
    }
    Ok(())
}

/// `general.alignment`, which has to be a power of two and a multiple of 8.
fn alignment(metadata: &Metadata) -> Result<u64> {
    const KEY: &str = "general.alignment";
    let alignment = metadata.opt_u32(KEY)?.unwrap_or(ALIGNMENT_DEFAULT);
    if !alignment.is_power_of_two() || !(8..=ALIGNMENT_MAX).contains(&alignment) {
        let message = format!("{KEY} is {alignment}, not a power of two from 8 to {ALIGNMENT_MAX}");
        return Err(ChordError::gguf(message).with("key", KEY));
    }
    Ok(alignment.into())
}

/// Refuses two tensors of the same name.
pub(super) fn check_names(tensors: &[TensorInfo]) -> Result<()> {
    let name = |&index: &u32| tensors[index as usize].name.as_str();
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_unstable_by_key(|index| name(index));
    match order.windows(2).find(|pair| name(&pair[0]) == name(&pair[1])) {
        Some(pair) => {
            let name = name(&pair[0]);
            Err(ChordError::gguf(format!("tensor '{}' occurs twice", shown(name))).with("tensor", name))
        }
        None => Ok(()),
    }
}

/// The error for a tensor that does not begin where the one before it ends.
fn misplaced(tensor: &TensorInfo, expected: u64, alignment: u64) -> ChordError {
    let offset = tensor.offset;
    let fault = if !offset.is_multiple_of(alignment) {
        format!("is not a multiple of the alignment {alignment}")
    } else if offset < expected {
        format!("lies inside the tensor before it, which ends at {expected}")
    } else {
        format!("leaves a gap after the tensor before it, which ends at {expected}")
    };
    ChordError::gguf(format!("the offset {offset} of tensor '{}' {fault}", shown(&tensor.name)))
        .with("tensor", tensor.name.as_str())
        .with("offset", offset)
}

/// The error for a tensor whose data passes the end of the file.
fn beyond_end(tensor: &TensorInfo, data_start: u64, file_bytes: Option<u64>) -> ChordError {
    let need = u128::from(data_start) + u128::from(tensor.offset) + u128::from(tensor.bytes);
    let have = file_bytes.map_or("2^63".to_string(), |bytes| bytes.to_string());
    let message = format!(
        "the data of tensor '{}' ends at byte {need}, but the file has {have}; it may be cut off",
        shown(&tensor.name)
    );
    ChordError::gguf(message).with("tensor", tensor.name.as_str()).with("have", have)
}
