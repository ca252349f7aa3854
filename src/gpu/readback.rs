//! What comes back from the device: a few bytes a token, in two buffers that take turns, so that the next
//! pass can be under way while the token of the one before is read.

use super::device::Buffer;
use super::{Device, Outcome, Wake};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Passes whose results are not taken yet, at most.
const PENDING_MAX: usize = 2;

/// A mapping that was asked for.
pub struct Mapping(Arc<Mutex<Option<bool>>>);

impl Mapping {
    /// Asks for the first `bytes` of a buffer, a multiple of four; `wake` is called when they are there.
    pub fn ask(buffer: &wgpu::Buffer, bytes: usize, wake: Option<Wake>) -> Mapping {
        let done = Arc::new(Mutex::new(None));
        let told = done.clone();
        buffer.map_async(wgpu::MapMode::Read, 0..bytes as u64, move |result| {
            if let Ok(mut told) = told.lock() {
                *told = Some(result.is_ok());
            }
            if let Some(wake) = wake {
                wake();
            }
        });
        Mapping(done)
    }

    /// Whether it succeeded, once that is known.
    pub fn result(&self) -> Option<bool> {
        self.0.lock().ok().and_then(|done| *done)
    }
}

/// What the first quads of a pass's results are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The sampler's: the token, if that is wanted, and the first group that is damaged.
    Chosen { is_wanted: bool },
    /// A flag of each group, where the device does not sample.
    Flags(usize),
}

impl Form {
    /// Bytes before the values.
    pub fn bytes(self) -> usize {
        match self {
            Form::Chosen { .. } => 16,
            Form::Flags(groups) => 16 * groups,
        }
    }

    fn read(self, mut words: impl Iterator<Item = f32>, outcome: &mut Outcome) {
        let mut quad = || std::array::from_fn::<f32, 4, _>(|_| words.next().unwrap_or(0.0));
        match self {
            Form::Chosen { is_wanted } => {
                let [token, damaged, ..] = quad();
                outcome.token = is_wanted.then_some(token as u32);
                outcome.damaged = (damaged >= 0.0).then_some(damaged as usize);
            }
            Form::Flags(groups) => {
                outcome.token = None;
                outcome.damaged =
                    (0..groups).filter(|_| quad()[0] != 0.0).fold(None, |first, group| first.or(Some(group)));
            }
        }
        outcome.values.clear();
        outcome.values.extend(words);
        if let Form::Flags(groups) = self {
            let is_finite = outcome.values.iter().all(|value| value.is_finite());
            outcome.damaged = outcome.damaged.or((!is_finite).then_some(groups - 1));
        }
    }
}

/// A pass whose results are on their way.
struct Pending {
    buffer: usize,
    bytes: usize,
    form: Form,
    submission: wgpu::SubmissionIndex,
    mapping: Mapping,
}

/// The buffers, and the passes whose results are not taken yet.
pub struct Readback {
    buffers: [Buffer; PENDING_MAX],
    next: usize,
    pending: VecDeque<Pending>,
}

impl Readback {
    /// Buffers of `bytes` each.
    pub fn new(device: &Device, bytes: usize) -> Readback {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Readback {
            buffers: std::array::from_fn(|_| device.buffer("readback", bytes, usage)),
            next: 0,
            pending: VecDeque::with_capacity(PENDING_MAX),
        }
    }

    /// The buffer that the next pass copies its results to.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffers[self.next]
    }

    /// How many passes are under way, if all of them choose a token; 0 if one does not.
    pub fn chooses(&self) -> usize {
        let chooses = |pending: &Pending| pending.form == Form::Chosen { is_wanted: true };
        if self.pending.iter().all(chooses) { self.pending.len() } else { 0 }
    }

    /// Asks for what the last submission copied to [`Readback::buffer`].
    pub fn ask(&mut self, bytes: usize, form: Form, submission: wgpu::SubmissionIndex, wake: Option<Wake>) {
        debug_assert!(self.pending.len() < PENDING_MAX);
        let buffer = self.next;
        self.next = (self.next + 1) % PENDING_MAX;
        let mapping = Mapping::ask(&self.buffers[buffer], bytes, wake);
        self.pending.push_back(Pending { buffer, bytes, form, submission, mapping });
    }

    /// Whether the results of the oldest pass can be taken; `Some(true)` too if there is none.
    pub fn result(&self) -> Option<bool> {
        self.pending.front().map_or(Some(true), |pending| pending.mapping.result())
    }

    /// The submission that the oldest pass's results come with.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.pending.front().map(|pending| pending.submission.clone())
    }

    /// Takes the results of the oldest pass, if there is one. False if they cannot be read.
    pub fn take(&mut self, outcome: &mut Outcome) -> bool {
        let Some(Pending { buffer, bytes, form, .. }) = self.pending.pop_front() else { return true };
        let buffer = &self.buffers[buffer];
        let Ok(mapped) = buffer.get_mapped_range(0..bytes as u64) else { return false };
        let words = mapped.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        form.read(words, outcome);
        drop(mapped);
        buffer.unmap();
        true
    }

    /// Drops every pass that is under way.
    pub fn clear(&mut self) {
        for pending in self.pending.drain(..) {
            // Unmapping ends a mapping that is still pending.
            self.buffers[pending.buffer].unmap();
        }
    }
}
