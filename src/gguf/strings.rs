//! Arrays of strings, which in a header are the vocabulary and the merges.

use crate::error::{ChordError, Result};

/// An array of strings in one allocation: vocabularies have hundreds of thousands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StringArray {
    bytes: Vec<u8>,
    /// End of each string in `bytes`. A header is limited to far less than 4 GiB, so `u32` holds it.
    ends: Vec<u32>,
}

impl StringArray {
    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all strings together.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of string `index`, which must be less than [`len`](Self::len). A file may hold
    /// strings that are not UTF-8, so bytes are what can be promised.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// String `index`, which must be less than [`len`](Self::len), as text. `InvalidModel` if it is
    /// not UTF-8.
    pub fn str(&self, index: usize) -> Result<&str> {
        std::str::from_utf8(self.get(index)).map_err(|_| {
            ChordError::model(format!("string {index} of an array of the header is not valid UTF-8"))
                .with("index", index)
        })
    }

    /// The bytes of every string, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Adds bytes to the string that [`end_string`](Self::end_string) will end.
    pub(super) fn extend_string(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends a string: what came since the end of the one before it is its bytes.
    pub(super) fn end_string(&mut self) {
        self.ends.push(u32::try_from(self.bytes.len()).expect("the limit of the header is below 4 GiB"));
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for StringArray {
    fn from_iter<I: IntoIterator<Item = T>>(strings: I) -> Self {
        let mut array = StringArray::default();
        for string in strings {
            array.extend_string(string.as_ref());
            array.end_string();
        }
        array
    }
}
