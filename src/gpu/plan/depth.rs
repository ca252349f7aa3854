//! How many workgroups a dispatch has along z, and how attention is cut so that no dispatch takes too long.

use std::ops::Range;

/// How many workgroups there are along z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    One,
    /// So many for each token.
    Tokens(u32),
    /// One for so many rows, of which a token has some.
    Tiles {
        rows: u32,
        of_token: u32,
    },
    /// Some of those.
    Cut(Cut),
}

/// Tiles of attention from `first` on. They cost more the further the sequence has come, so that a plan has
/// cuts for its end, and a pass leaves some of them out and gives their tiles to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub first: u32,
    /// Tiles of a cut where they cost the most.
    least: u32,
    rows: u32,
    of_token: u32,
    /// Products of a tile of all its heads for each position, and the positions that it sees at most.
    products: u64,
    seen: usize,
    products_max: usize,
}

/// How far a pass goes.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub tokens: usize,
    /// Of the sequence, with those tokens.
    pub positions: usize,
    /// Workgroups that share a head's positions.
    pub splits: u32,
}

/// What a dispatch of attention has for each head, of queries or of keys.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Rows of a tile, and how many a token has.
    pub rows: u32,
    pub of_token: u32,
    /// Products of a row for each position that it sees, and how many those are at most.
    pub products: usize,
    pub seen: usize,
}

impl Cut {
    /// The cuts of attention over a batch of `tokens`, and the heads of each.
    pub fn all(tokens: usize, heads: usize, head: Head, products_max: usize) -> Vec<(Range<usize>, Cut)> {
        let Head { rows, of_token, products, seen } = head;
        let tiles = (tokens as u32 * of_token).div_ceil(rows);
        let products = u64::from(rows) * products as u64;
        let cut = Cut { first: 0, least: 1, rows, of_token, products, seen, products_max };
        // Where a tile of all heads would take too long, of some of them.
        let step = (cut.fitting(seen) as usize).min(heads);
        let of_heads = |first: usize| {
            let heads = first..heads.min(first + step);
            let cut = Cut { products: products * heads.len() as u64, ..cut };
            let least = cut.fitting(seen).min(tiles);
            (0..tiles).step_by(least as usize).map(move |first| (heads.clone(), Cut { first, least, ..cut }))
        };
        (0..heads).step_by(step).flat_map(of_heads).collect()
    }

    /// Tiles of one dispatch at most, in a sequence of so many positions.
    fn fitting(&self, positions: usize) -> u32 {
        let tile = self.products * positions.min(self.seen) as u64;
        (self.products_max as u64 / tile.max(1)).clamp(1, u64::from(u32::MAX)) as u32
    }

    /// The tiles of this cut in a pass; none where a cut before it has them.
    fn tiles(&self, tokens: usize, positions: usize) -> u32 {
        let step = (self.fitting(positions) / self.least).max(1) * self.least;
        let all = (tokens as u32 * self.of_token).div_ceil(self.rows);
        if self.first.is_multiple_of(step) { step.min(all.saturating_sub(self.first)) } else { 0 }
    }
}

impl Depth {
    /// Workgroups along z; none where a dispatch has nothing to do.
    pub fn workgroups(self, Extent { tokens, positions, .. }: Extent) -> u32 {
        match self {
            Depth::One => 1,
            Depth::Tokens(each) => each * tokens as u32,
            Depth::Tiles { rows, of_token } => (tokens as u32 * of_token).div_ceil(rows),
            Depth::Cut(cut) => cut.tiles(tokens, positions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{BATCH_MAX, PRODUCTS_MAX};

    /// Parts of a model of 32 heads and 8 key heads of 128 values: 8B.
    fn cuts(context: usize, seen: usize) -> Vec<(Range<usize>, Cut)> {
        let head = Head { rows: 32, of_token: 4, products: 256, seen };
        Cut::all(BATCH_MAX.min(context), 8, head, PRODUCTS_MAX)
    }

    #[test]
    fn fault_49_attention_is_cut_at_any_position_and_every_tile_is_computed_once() {
        for (context, seen) in [(64, 64), (4096, 4096), (32_768, 32_768), (131_072, 131_072), (131_072, 1152)] {
            let cuts = cuts(context, seen);
            for position in (0..context).step_by(context / 16) {
                for tokens in [5, 64, 127, 128].into_iter().filter(|tokens| position + tokens <= context) {
                    let extent = Extent { tokens, positions: position + tokens, splits: 1 };
                    let mut done = [0; 8];
                    for (heads, cut) in &cuts {
                        let tiles = Depth::Cut(*cut).workgroups(extent);
                        let products = tiles as usize * heads.len() * 32 * 256 * extent.positions.min(seen);
                        assert!(products <= PRODUCTS_MAX, "{cut:?}: {products} of {extent:?}");
                        if tiles > 0 {
                            assert!(done[heads.clone()].iter().all(|next| *next == cut.first), "{cut:?}, {extent:?}");
                            done[heads.clone()].iter_mut().for_each(|next| *next += tiles);
                        }
                    }
                    assert_eq!(done, [(tokens as u32 * 4).div_ceil(32); 8], "{extent:?}");
                }
            }
        }
    }

    #[test]
    fn attention_that_costs_little_is_one_dispatch() {
        let used = |context, positions| {
            let extent = Extent { tokens: 128, positions, splits: 1 };
            cuts(context, context).iter().filter(|(_, cut)| Depth::Cut(*cut).workgroups(extent) > 0).count()
        };
        assert_eq!([used(2048, 2048), used(4096, 2048), used(32_768, 2048)], [1; 3]);
        assert_eq!([used(4096, 4096), used(32_768, 4096)], [2; 2]);
        // At the end of the longest context a tile of two key heads is all that a dispatch may have.
        assert_eq!([used(131_072, 2048), used(131_072, 131_072)], [4, 16 * 4]);
    }
}
