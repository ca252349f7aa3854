//! Several shards of one model in one thread: their exchanges go through queues.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use wasm_chord::cpu::{Order, Peers};
use wasm_chord::engine::{Engine, Follower, OpenOptions};
use wasm_chord::exec::Poll;

/// What is on its way between shards.
struct Post {
    /// By follower.
    orders: Vec<VecDeque<Order>>,
    /// By sender, then by receiver.
    parts: Vec<Vec<VecDeque<Vec<f32>>>>,
    /// Shards that are gone.
    is_gone: Vec<bool>,
}

struct End {
    shard: usize,
    post: Rc<RefCell<Post>>,
}

impl Peers for End {
    fn order(&mut self, order: &Order) {
        for queue in &mut self.post.borrow_mut().orders {
            queue.push_back(order.clone());
        }
    }

    fn send(&mut self, part: &[f32], is_to_first: bool) -> Poll {
        let queues = &mut self.post.borrow_mut().parts[self.shard];
        let receivers = if is_to_first { 1 } else { queues.len() };
        for queue in &mut queues[..receivers] {
            queue.push_back(part.to_vec());
        }
        Poll::Ready
    }

    fn receive(&mut self, from: usize, part: &mut [f32]) -> Poll {
        let mut post = self.post.borrow_mut();
        let queue = &mut post.parts[from][self.shard];
        // What others do not need is sent all the same, and passed over.
        while queue.front().is_some_and(Vec::is_empty) {
            queue.pop_front();
        }
        match queue.pop_front() {
            Some(values) => {
                part.copy_from_slice(&values);
                Poll::Ready
            }
            None if post.is_gone[from] => Poll::Lost,
            None => Poll::Pending,
        }
    }
}

/// An engine and the other threads of it.
pub struct Team {
    pub engine: Engine,
    followers: Vec<Follower>,
    post: Rc<RefCell<Post>>,
    files: Vec<Vec<u8>>,
}

impl Team {
    /// Opens a model on `threads` threads, as far as it has so many, without its weights.
    pub fn open(file: &[u8], threads: usize, options: &OpenOptions) -> wasm_chord::Result<Team> {
        Team::open_all(&[file.to_vec()], threads, options)
    }

    /// The same of a model and its adapters.
    pub fn open_all(files: &[Vec<u8>], threads: usize, options: &OpenOptions) -> wasm_chord::Result<Team> {
        let options = OpenOptions { threads: Some(threads), ..options.clone() };
        let mut engine = super::read(files)?.open(&options)?;
        let threads = engine.threads();
        let post = Rc::new(RefCell::new(Post {
            orders: vec![VecDeque::new(); threads - 1],
            parts: vec![vec![VecDeque::new(); threads]; threads],
            is_gone: vec![false; threads],
        }));
        let end = |shard: usize| Box::new(End { shard, post: post.clone() });
        let mut followers = Vec::new();
        for shard in 1..threads {
            let mut follower = super::read(files)?.follow(&options, shard, threads)?;
            follower.set_peers(end(shard));
            followers.push(follower);
        }
        engine.set_peers(end(0));
        Ok(Team { engine, followers, post, files: files.to_vec() })
    }

    /// Supplies what the engine wants: to every thread what it needs, in pieces.
    pub fn supply(&mut self) -> wasm_chord::Result<()> {
        while let Some(range) = self.engine.want()? {
            for at in (range.offset..range.offset + range.length).step_by(3_001) {
                let end = (at + 3_001).min(range.offset + range.length);
                self.supply_piece(range.part, at as usize..end as usize);
            }
        }
        Ok(())
    }

    fn supply_piece(&mut self, part: u16, piece: std::ops::Range<usize>) {
        let bytes = &self.files[usize::from(part)][piece.clone()];
        for (index, follower) in self.followers.iter_mut().enumerate() {
            for needed in self.engine.deliveries(index + 1, part, piece.start as u64, bytes.len()) {
                let bytes = &bytes[needed.clone()];
                let copied: Result<(), ()> =
                    follower.supply(part, (piece.start + needed.start) as u64, bytes.len(), |range, to| {
                        to.copy_from_slice(&bytes[range]);
                        Ok(())
                    });
                copied.expect("copying does not fail");
            }
        }
        super::supply_part(&mut self.engine, part, piece.start as u64, bytes);
    }

    /// Lets the others go on as far as they can.
    pub fn turn(&mut self) {
        turn(&mut self.followers, &self.post);
    }

    /// Begins a request and steps to its end.
    pub fn ask(&mut self, body: serde_json::Value) -> wasm_chord::Result<super::Answer> {
        let Team { engine, followers, post, files } = self;
        super::ask_with(engine, &files[0], body, |_, _| turn(followers, post))
    }

    /// The bytes of the sequence that was computed last.
    pub fn saved(&mut self) -> wasm_chord::Result<Vec<u8>> {
        let Team { engine, followers, post, .. } = self;
        super::saved_with(engine, |_| turn(followers, post))
    }

    /// Takes up a saved sequence; the number of its tokens.
    pub fn take_up(&mut self, bytes: &[u8]) -> wasm_chord::Result<usize> {
        let Team { engine, followers, post, .. } = self;
        super::take_up_with(engine, bytes, 1000, |_| turn(followers, post))
    }

    /// Ends one of the others.
    pub fn kill(&mut self, shard: usize) {
        self.post.borrow_mut().is_gone[shard] = true;
    }

    /// The logits at every position of a sequence of tokens.
    pub fn logits(&mut self, tokens: &[u32]) -> wasm_chord::Result<Vec<f32>> {
        let mut all = Vec::new();
        self.engine.begin_logits(tokens)?;
        while !self.engine.step_logits(&mut all)? {
            self.turn();
        }
        Ok(all)
    }
}

fn turn(followers: &mut [Follower], post: &RefCell<Post>) {
    for (index, follower) in followers.iter_mut().enumerate() {
        if post.borrow().is_gone[index + 1] {
            continue;
        }
        while follower.poll() == Poll::Ready {
            let Some(order) = post.borrow_mut().orders[index].pop_front() else { break };
            follower.follow(&order).expect("there is memory");
        }
    }
}
