//! Several threads on the CPU: how one reaches the others, and the shard of a model that a further one computes.

use super::{JsResult, thrown};
use crate::cpu::{Fork, Groups, Move, Order, Peers};
use crate::engine::Follower as CoreFollower;
use crate::error::ChordError;
use crate::exec::{Member, Poll};
use crate::program::StateId;
use js_sys::Uint8Array;
use std::convert::Infallible;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// How a thread reaches the others that compute with it; see [`Peers`].
    pub type JsPeers;

    #[wasm_bindgen(method)]
    fn order(this: &JsPeers, order: &[f64]);

    #[wasm_bindgen(method)]
    fn send(this: &JsPeers, slice: &[f32], is_to_first: bool) -> u32;

    #[wasm_bindgen(method)]
    fn receive(this: &JsPeers, from: u32, slice: &mut [f32]) -> u32;
}

/// The poll that a number of JavaScript's stands for.
fn poll_of(number: u32) -> Poll {
    [Poll::Pending, Poll::Ready].into_iter().find(|poll| *poll as u32 == number).unwrap_or(Poll::Lost)
}

/// What the first of an order's numbers says that it is.
const RUN: f64 = 0.0;
const MOVE: f64 = 1.0;
const ADAPT: f64 = 2.0;
const FORK: f64 = 3.0;

/// An order in numbers.
fn numbers_of(order: &Order) -> Vec<f64> {
    let truth = |is: bool| f64::from(u8::from(is));
    let numbers = match order {
        Order::Run(Groups { groups, position, rows, positions, pass_rows, is_hidden, lane, members, texts }) => {
            let [first, end, from, to] = [groups.start, groups.end, rows.start, rows.end].map(|n| n as f64);
            let [lane, position, positions, pass_rows] = [*lane, *position, *positions, *pass_rows].map(|n| n as f64);
            let several = members.len() as f64;
            let all = [RUN, lane, first, end, position, from, to, positions, pass_rows, truth(*is_hidden), several];
            let members = members.iter().flat_map(|member| [member.lane, member.position]);
            let texts = texts.iter().flat_map(|text| [text.start, text.end]);
            return all.into_iter().chain(members.chain(texts).map(|n| n as f64)).collect();
        }
        Order::Move(Move { lane, state, positions, piece, is_out }) => {
            let [lane, positions, from, to] = [*lane, *positions, piece.start, piece.end].map(|n| n as f64);
            [MOVE, lane, f64::from(state.0), positions, from, to, truth(*is_out)]
        }
        Order::Fork(Fork { from, to, positions }) => {
            let [from, to, positions] = [*from, *to, *positions].map(|n| n as f64);
            return vec![FORK, from, to, positions];
        }
        Order::Adapt(scales) => return [ADAPT].into_iter().chain(scales.iter().copied().map(f64::from)).collect(),
    };
    numbers.to_vec()
}

/// The order that these numbers are.
fn order_of(numbers: &[f64]) -> Option<Order> {
    if let [ADAPT, scales @ ..] = numbers {
        return Some(Order::Adapt(scales.iter().map(|scale| *scale as f32).collect()));
    }
    let range = |from: f64, to: f64| from as usize..to as usize;
    match *numbers {
        [MOVE, lane, state, positions, from, to, is_out] => {
            let (lane, state, positions) = (lane as usize, StateId(state as u16), positions as usize);
            Some(Order::Move(Move { lane, state, positions, piece: range(from, to), is_out: is_out != 0.0 }))
        }
        [FORK, from, to, positions] => {
            let [from, to, positions] = [from, to, positions].map(|n| n as usize);
            Some(Order::Fork(Fork { from, to, positions }))
        }
        [RUN, lane, first, end, position, from, to, positions, pass_rows, is_hidden, several, ref pairs @ ..] => {
            let [lane, position, positions, pass_rows] = [lane, position, positions, pass_rows].map(|n| n as usize);
            let (groups, rows, is_hidden) = (range(first, end), range(from, to), is_hidden != 0.0);
            let (members, texts) = pairs.as_chunks::<2>().0.split_at_checked(several as usize)?;
            let members = members.iter().map(|pair| Member { lane: pair[0] as usize, position: pair[1] as usize });
            let (members, texts) = (members.collect(), texts.iter().map(|pair| range(pair[0], pair[1])).collect());
            let order = Groups { groups, position, rows, positions, pass_rows, is_hidden, lane, members, texts };
            Some(Order::Run(order))
        }
        _ => None,
    }
}

impl Peers for JsPeers {
    fn order(&mut self, order: &Order) {
        JsPeers::order(self, &numbers_of(order));
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
        let order = order_of(order)
            .ok_or_else(|| thrown(ChordError::internal("an order is of a kind, and of as many numbers")))?;
        self.core.follow(&order).map_err(thrown)
    }

    /// Goes on with what was ordered: [`Poll::Ready`] when nothing of it is left.
    pub fn poll(&mut self) -> u32 {
        self.core.poll() as u32
    }
}
