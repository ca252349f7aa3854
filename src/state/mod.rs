//! What a sequence leaves behind in a backend for the tokens that follow: keys and values now; where it lies,
//! and how far it can go back.

mod layout;

pub use layout::{KvLayer, Layout};

/// How far back the state of a sequence can go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewind {
    /// To any position: each has memory of its own, as keys and values do.
    #[default]
    Anywhere,
    /// To copies that were made of it at every so many positions.
    Snapshots { every: usize },
    /// Nowhere: what was taken in is part of it for good.
    Nowhere,
}

impl Rewind {
    /// How many positions a state that has taken in `reached` still holds once it has gone back to `wanted` of
    /// them, as near as it can.
    pub fn kept(self, wanted: usize, reached: usize) -> usize {
        match self {
            _ if wanted == reached => wanted,
            Rewind::Anywhere => wanted,
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
        ] {
            assert_eq!(rewind.kept(wanted, reached), kept, "{rewind:?} from {reached} to {wanted}");
        }
        for rewind in [Rewind::Anywhere, snapshots, Rewind::Nowhere] {
            assert_eq!(rewind.kept(9, 9), 9, "nothing is to be taken back");
        }
    }
}
