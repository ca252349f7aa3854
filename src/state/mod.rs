//! What a sequence leaves behind in a backend for the tokens that follow: where it lies, and how far it can go back.

mod layout;
mod parts;

pub use layout::{Layout, spans};
pub use parts::{PIECE_BYTES, Part};

/// Copies of the states that hold the whole past which are kept to go back to: of a prompt before its last token,
/// and of what stood before guesses.
pub const COPIES: usize = 2;

/// How far back the state of a sequence can go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewind {
    /// To any position: each has memory of its own, as keys and values do.
    #[default]
    Anywhere,
    /// To the copies that passes made of it.
    Copies,
    /// To copies that were made of it at every so many positions.
    Snapshots {
        /// Positions from one copy to the next; above zero.
        every: usize,
    },
    /// Nowhere: what was taken in is part of it for good.
    Nowhere,
}

impl Rewind {
    /// How many positions a state that has taken in `reached` still holds once it has gone back to `wanted` of
    /// them, as near as it can. `copies` are the positions of its copies.
    pub fn kept(self, wanted: usize, reached: usize, copies: [Option<usize>; COPIES]) -> usize {
        match self {
            _ if wanted == reached => wanted,
            Rewind::Anywhere => wanted,
            Rewind::Copies => copies.into_iter().flatten().filter(|copy| *copy <= wanted).max().unwrap_or(0),
            Rewind::Snapshots { every } => wanted - wanted % every,
            Rewind::Nowhere => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rewind;

    #[test]
    fn a_state_goes_back_as_far_as_it_can() {
        let snapshots = Rewind::Snapshots { every: 4 };
        for (rewind, wanted, reached, kept) in [
            (Rewind::Anywhere, 7, 9, 7),
            (Rewind::Anywhere, 0, 0, 0),
            (snapshots, 7, 9, 4),
            (snapshots, 3, 9, 0),
            (snapshots, 8, 9, 8),
            (Rewind::Nowhere, 8, 9, 0),
            (Rewind::Copies, 8, 9, 6),
            (Rewind::Copies, 6, 9, 6),
            (Rewind::Copies, 5, 9, 3),
            (Rewind::Copies, 2, 9, 0),
        ] {
            let copies = [Some(6), Some(3)];
            assert_eq!(rewind.kept(wanted, reached, copies), kept, "{rewind:?} from {reached} to {wanted}");
        }
        for rewind in [Rewind::Anywhere, snapshots, Rewind::Nowhere, Rewind::Copies] {
            assert_eq!(rewind.kept(9, 9, [None; 2]), 9, "nothing is to be taken back");
        }
    }
}
