//! The bytes of states on their way out of the shards and into them. Where the shards divide the heads of a state among
//! themselves, what comes out is the same as of one shard that has all of them.

use super::{Order, Shard};
use crate::cpu::team::{Shares, Split};
use crate::exec::Poll;
use crate::program::{Program, StateId};
use crate::state::{Layout, PIECE_BYTES, Part};
use std::ops::Range;

/// A piece of a state that the shards move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The lane of the sequence.
    pub lane: usize,
    /// The state, of the whole program.
    pub state: StateId,
    /// Positions that it has.
    pub positions: usize,
    /// Which of the bytes of that many positions.
    pub piece: Range<usize>,
    /// From the shards to the first one; else from the first one to all.
    pub is_out: bool,
}

/// A move under way.
pub(super) struct Moving {
    order: Move,
    /// What the first shard has of it.
    bytes: Vec<u8>,
    is_sent: bool,
    /// Those before this shard's slices came.
    from: usize,
}

impl Moving {
    pub(super) fn new(order: Move) -> Moving {
        Moving { bytes: vec![0; order.piece.len()], order, is_sent: false, from: 0 }
    }
}

/// Where states lie, of all shards together and of one of them.
pub(super) struct Layouts {
    whole: Layout,
    own: Layout,
}

impl Layouts {
    pub(super) fn new(program: &Program, split: &Split, context: usize) -> Layouts {
        Layouts { whole: Layout::new(program, context), own: Layout::new(&split.program, context) }
    }

    /// The parts of a piece that a shard has, by their places in the piece.
    fn parts(&self, split: &Split, shard: usize, order: &Move) -> Vec<Part> {
        // Their lengths matter here, and not where they lie.
        let spans = self.whole.spans(order.state, order.positions, 0..order.positions);
        let parts = Layout::parts(&spans, order.piece.clone());
        if !split.divides_state(order.state) {
            // Every shard has all of it; the first one's is what is handed over.
            return if shard == 0 || !order.is_out { parts.collect() } else { Vec::new() };
        }
        let heads = self.whole.heads(order.state);
        let own = Shares::of_heads(heads, 1, split.shards).of(shard);
        let local = |part: Part| {
            let (kind, head) = (part.span / heads, part.span % heads);
            own.contains(&head).then(|| Part { span: kind * own.len() + head - own.start, ..part })
        };
        parts.filter_map(local).collect()
    }
}

impl Shard {
    /// Bytes of a state that are moved together at most.
    pub fn piece_bytes(&self) -> usize {
        match self.shards() {
            1 => PIECE_BYTES,
            _ => PIECE_BYTES.min(4 * self.stage.len()),
        }
    }

    /// Appends a piece of a state to `out`, whose whole layout this is. Pending: it is to be asked for again.
    pub fn read_state(&mut self, layout: &Layout, order: &Move, out: &mut Vec<u8>) -> Poll {
        if self.shards() == 1 {
            let spans = layout.spans(order.state, self.room(order.state), 0..order.positions);
            let bytes = self.cpu.state_bytes(order.state);
            for part in Layout::parts(&spans, order.piece.clone()) {
                out.extend_from_slice(&bytes[spans[part.span].start..][part.within]);
            }
            return Poll::Ready;
        }
        if self.moving.as_ref().is_none_or(|moving| moving.order != *order) {
            match self.begin_move(order.clone()) {
                Poll::Ready => {}
                poll => return poll,
            }
        }
        match self.go_on_moving() {
            Poll::Ready => {}
            poll => return poll,
        }
        if let Some(moving) = self.moving.take() {
            out.extend_from_slice(&moving.bytes);
        }
        Poll::Ready
    }

    /// Puts bytes in place of a piece of a state. Pending: none were taken yet.
    pub fn write_state(&mut self, layout: &Layout, order: &Move, bytes: &[u8]) -> Poll {
        if self.shards() == 1 {
            let spans = layout.spans(order.state, self.room(order.state), 0..order.positions);
            let cells = self.cpu.state_bytes(order.state);
            for part in Layout::parts(&spans, order.piece.clone()) {
                let count = part.within.len();
                cells[spans[part.span].start..][part.within].copy_from_slice(&bytes[part.at..][..count]);
            }
            return Poll::Ready;
        }
        match self.begin_move(order.clone()) {
            Poll::Ready => {}
            poll => return poll,
        }
        if let Some(moving) = &mut self.moving {
            moving.bytes.copy_from_slice(bytes);
        }
        match self.go_on_moving() {
            Poll::Lost => Poll::Lost,
            Poll::Ready | Poll::Pending => Poll::Ready,
        }
    }

    /// Orders a move, once what was under way has come to its end.
    fn begin_move(&mut self, order: Move) -> Poll {
        match self.poll() {
            Poll::Ready => {}
            poll => return poll,
        }
        if let Some(peers) = &mut self.peers {
            peers.order(&Order::Move(order.clone()));
        }
        self.moving = Some(Moving::new(order));
        Poll::Ready
    }

    /// Goes on with the move under way, which ends with this shard's part in it. What came out stays there to be taken.
    pub(super) fn go_on_moving(&mut self) -> Poll {
        let poll = self.exchange_bytes();
        match poll {
            Poll::Lost => (self.is_lost, self.moving) = (true, None),
            Poll::Ready if self.moving.as_ref().is_some_and(|moving| moving.is_taken(self.split.shard)) => {}
            Poll::Ready => self.moving = None,
            Poll::Pending => {}
        }
        poll
    }

    fn exchange_bytes(&mut self) -> Poll {
        let Shard { split, cpu, peers: Some(peers), stage, layouts: Some(layouts), moving: Some(moving), .. } = self
        else {
            return Poll::Ready;
        };
        let Moving { order, bytes, is_sent, from } = moving;
        let shard = split.shard;
        let parts = layouts.parts(split, shard, order);
        let spans = layouts.own.spans(order.state, cpu.cache().room(order.state), 0..order.positions);
        let place = |part: &Part| {
            let start = spans[part.span].start;
            start + part.within.start..start + part.within.end
        };
        let length = |parts: &[Part]| parts.iter().map(|part| part.within.len()).sum::<usize>();
        if !*is_sent {
            let cells = cpu.state_bytes(order.state);
            let mut count = 0;
            let staged: &mut [u8] = bytemuck::cast_slice_mut(stage.as_mut_slice());
            if order.is_out {
                for part in &parts {
                    let own = &cells[place(part)];
                    if shard == 0 {
                        bytes[part.at..][..own.len()].copy_from_slice(own);
                    } else {
                        staged[count..][..own.len()].copy_from_slice(own);
                        count += own.len();
                    }
                }
            } else if shard == 0 {
                count = bytes.len();
                staged[..count].copy_from_slice(bytes);
            }
            match peers.send(&stage[..count.div_ceil(4)], order.is_out) {
                Poll::Ready => *is_sent = true,
                poll => return poll,
            }
            if shard == 0 && !order.is_out {
                write(cpu.state_bytes(order.state), &parts, place, bytes);
            }
        }
        if order.is_out && shard == 0 {
            while *from < split.shards {
                let theirs = layouts.parts(split, *from, order);
                let count = length(&theirs);
                if *from != shard && count > 0 {
                    match peers.receive(*from, &mut stage[..count.div_ceil(4)]) {
                        Poll::Ready => {}
                        poll => return poll,
                    }
                    let mut staged: &[u8] = bytemuck::cast_slice(stage.as_slice());
                    for part in &theirs {
                        let (now, later) = staged.split_at(part.within.len());
                        bytes[part.at..][..now.len()].copy_from_slice(now);
                        staged = later;
                    }
                }
                *from += 1;
            }
        } else if !order.is_out && shard > 0 {
            match peers.receive(0, &mut stage[..order.piece.len().div_ceil(4)]) {
                Poll::Ready => {}
                poll => return poll,
            }
            write(cpu.state_bytes(order.state), &parts, place, bytemuck::cast_slice(stage.as_slice()));
        }
        Poll::Ready
    }
}

impl Moving {
    /// Whether its bytes are to be taken by the shard's owner.
    fn is_taken(&self, shard: usize) -> bool {
        shard == 0 && self.order.is_out
    }

    /// Whether it has come to its end, and only waits to be taken.
    pub(super) fn is_done(&self, shards: usize) -> bool {
        self.order.is_out && self.is_sent && self.from == shards
    }
}

/// Puts parts of a piece in their places.
fn write(cells: &mut [u8], parts: &[Part], place: impl Fn(&Part) -> Range<usize>, piece: &[u8]) {
    for part in parts {
        cells[place(part)].copy_from_slice(&piece[part.at..][..part.within.len()]);
    }
}
