//! Several threads on the CPU: how one reaches the others, and the shard of a model that a further one computes.

use super::{JsResult, thrown};
use crate::cpu::{Order, Peers};
use crate::engine::Follower as CoreFollower;
use crate::error::ChordError;
use crate::exec::Poll;
use js_sys::Uint8Array;
use std::convert::Infallible;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// How a thread reaches the others that compute with it; see [`Peers`].
    pub type JsPeers;

    #[wasm_bindgen(method)]
    #[allow(clippy::too_many_arguments)] // What an order is made of.
    fn order(
        this: &JsPeers,
        first_group: u32,
        end_group: u32,
        position: u32,
        first_row: u32,
        end_row: u32,
        positions: u32,
        pass_rows: u32,
        is_hidden: u32,
    );

    #[wasm_bindgen(method)]
    fn send(this: &JsPeers, slice: &[f32], is_to_first: bool) -> u32;

    #[wasm_bindgen(method)]
    fn receive(this: &JsPeers, from: u32, slice: &mut [f32]) -> u32;
}

/// The poll that a number of JavaScript's stands for.
fn poll_of(number: u32) -> Poll {
    [Poll::Pending, Poll::Ready].into_iter().find(|poll| *poll as u32 == number).unwrap_or(Poll::Lost)
}

impl Peers for JsPeers {
    fn order(&mut self, order: &Order) {
        let Order { groups, position, rows, positions, pass_rows, is_hidden } = order;
        // All of them count groups or tokens of the context.
        let [first, end, from, to] = [groups.start, groups.end, rows.start, rows.end].map(|n| n as u32);
        let [position, positions, pass_rows] = [*position, *positions, *pass_rows].map(|n| n as u32);
        JsPeers::order(self, first, end, position, from, to, positions, pass_rows, u32::from(*is_hidden));
    }

    fn send(&mut self, slice: &[f32], is_to_first: bool) -> Poll {
        poll_of(JsPeers::send(self, slice, is_to_first))
    }

    fn receive(&mut self, from: usize, slice: &mut [f32]) -> Poll {
        poll_of(JsPeers::receive(self, from as u32, slice))
    }
}

/// One more thread's shard of a model.
#[wasm_bindgen]
pub struct Follower {
    core: CoreFollower,
}

impl From<CoreFollower> for Follower {
    fn from(core: CoreFollower) -> Follower {
        Follower { core }
    }
}

#[wasm_bindgen]
impl Follower {
    /// Sets the way to the others.
    #[wasm_bindgen(js_name = setPeers)]
    pub fn set_peers(&mut self, peers: JsPeers) {
        self.core.set_peers(Box::new(peers));
    }

    /// Takes a piece of the source.
    pub fn supply(&mut self, part: u16, offset: f64, bytes: &Uint8Array) {
        let copied: Result<(), Infallible> =
            self.core.supply(part, offset as u64, bytes.length() as usize, |range, destination| {
                bytes.subarray(range.start as u32, range.end as u32).copy_to(destination);
                Ok(())
            });
        match copied {
            Ok(()) => {}
        }
    }

    /// Begins what the first thread ordered, in the numbers of `JsPeers::order`.
    pub fn order(&mut self, order: &[f64]) -> JsResult<()> {
        let &[first, end, position, from, to, positions, pass_rows, is_hidden] = order else {
            return Err(thrown(ChordError::internal("an order has eight numbers")));
        };
        let order = Order {
            groups: first as usize..end as usize,
            position: position as usize,
            rows: from as usize..to as usize,
            positions: positions as usize,
            pass_rows: pass_rows as usize,
            is_hidden: is_hidden != 0.0,
        };
        self.core.follow(&order).map_err(thrown)
    }

    /// Goes on with what was ordered: [`Poll::Ready`] when nothing of it is left.
    pub fn poll(&mut self) -> u32 {
        self.core.poll() as u32
    }
}
