//! Where an engine computes: on the CPU, whose results are there at once, or on a GPU, whose come later.

use crate::cpu::vector::all_finite;
use crate::cpu::{self, DiskReader, ExpertCounters, Move, Peers, Shard};
use crate::error::Result;
use crate::exec::{Batch, Draw, Poll, Wanted};
#[cfg(feature = "gpu")]
use crate::gpu::{self, Gpu};
use crate::pager::Placement;
use crate::program::{Op, Program, StateId, WeightId};
use crate::state::Layout;
#[cfg(feature = "gpu")]
use crate::state::{PIECE_BYTES, Part};
use std::ops::Range;

/// One of the backends.
pub enum Backend {
    Cpu(Box<Shard>),
    #[cfg(feature = "gpu")]
    Gpu(Box<Gpu>),
}

/// Calls the same method of either backend.
macro_rules! either {
    ($self:expr, $cpu:ident => $on_cpu:expr, $gpu:ident => $on_gpu:expr) => {
        match $self {
            Backend::Cpu($cpu) => $on_cpu,
            #[cfg(feature = "gpu")]
            Backend::Gpu($gpu) => $on_gpu,
        }
    };
}

impl Backend {
    /// The device, as statistics name it.
    pub fn name(&self) -> &'static str {
        either!(self, _cpu => "cpu", _gpu => "webgpu")
    }

    /// Tokens that run through a group at once.
    pub fn batch_max(&self) -> usize {
        either!(self, _cpu => cpu::BATCH_MAX, gpu => gpu.batch_max())
    }

    /// Bytes of weights that one step of a single token may read. On a GPU, steps only ask for work.
    pub fn step_bytes_max(&self) -> u64 {
        either!(self, _cpu => cpu::STEP_BYTES_MAX, _gpu => u64::MAX)
    }

    /// Makes room for a group's weights.
    pub fn allocate(&mut self, program: &Program, group: usize, placement: Placement) -> Result<()> {
        either!(self, cpu => {
            let _ = program;
            cpu.allocate(group, placement)
        }, gpu => gpu.allocate(program, group))
    }

    /// Sets what reads weights that stay on disk.
    pub fn set_disk(&mut self, reader: DiskReader) {
        either!(self, cpu => cpu.set_disk(reader), _gpu => drop(reader))
    }

    /// Whether weights could not be read from disk since this was asked last: what was computed means nothing.
    pub fn take_failure(&mut self) -> bool {
        either!(self, cpu => cpu.take_failure(), _gpu => false)
    }

    /// How products with experts on disk found them.
    pub fn expert_counters(&self) -> ExpertCounters {
        either!(self, cpu => cpu.expert_counters(), _gpu => ExpertCounters::default())
    }

    /// Frees a group.
    pub fn evict(&mut self, group: usize) {
        either!(self, cpu => cpu.evict(group), gpu => gpu.evict(group))
    }

    /// Whether the ring can grow: a GPU's sets of buffers are made for the groups that they hold.
    pub fn lengthens(&self) -> bool {
        either!(self, _cpu => true, _gpu => false)
    }

    /// Frees a group that was to stay.
    pub fn release(&mut self, group: usize) {
        either!(self, cpu => cpu.release(group), gpu => gpu.evict(group))
    }

    /// Whether every byte of a group is there.
    pub fn resident(&self, group: usize) -> bool {
        either!(self, cpu => cpu.resident(group), gpu => gpu.weights.resident(group))
    }

    /// Bytes of weights.
    pub fn weight_bytes(&self) -> u64 {
        either!(self, cpu => cpu.weight_bytes(), gpu => gpu.weights.bytes())
    }

    /// Takes a part of a weight's bytes by calls of `copy(range of the weight, destination)`.
    pub fn fill<E>(
        &mut self,
        program: &Program,
        id: WeightId,
        range: Range<usize>,
        copy: impl FnMut(Range<usize>, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        either!(self, cpu => cpu.fill(program, id, range, copy), gpu => {
            let (mut copy, mut copied) = (copy, Ok(()));
            gpu.fill(program, id, range, |piece, destination| {
                if copied.is_ok() {
                    copied = copy(piece, destination);
                }
            });
            copied
        })
    }

    /// Makes room for a pass of `tokens` rows, after which the sequence has so many positions. A GPU has room for all of
    /// them from the beginning.
    pub fn reserve(&mut self, tokens: usize, positions: usize) -> Result<()> {
        either!(self, cpu => cpu.reserve(tokens, positions), gpu => {
            let _ = positions;
            gpu.reserve(tokens);
            Ok(())
        })
    }

    /// Sees that there is room for so many sequences: on a GPU there is for one.
    pub fn open_lanes(&mut self, count: usize) -> Result<()> {
        either!(self, cpu => cpu.open_lanes(count), _gpu => {
            let _ = count;
            Ok(())
        })
    }

    /// For how many sequences there is room.
    pub fn lanes(&self) -> usize {
        either!(self, cpu => cpu.lanes(), _gpu => 1)
    }

    /// From now on all that is of one sequence is of that in this lane.
    pub fn select(&mut self, lane: usize) {
        either!(self, cpu => cpu.select(lane), _gpu => debug_assert_eq!(lane, 0, "a GPU has one"))
    }

    /// Lets the selected lane have what another one keeps of its first positions; false where that is not to be had now.
    pub fn fork(&mut self, from: usize, positions: usize) -> bool {
        either!(self, cpu => cpu.fork(from, positions), _gpu => {
            let _ = (from, positions);
            false
        })
    }

    /// The lane that is selected.
    pub fn lane(&self) -> usize {
        either!(self, cpu => cpu.lane(), _gpu => 0)
    }

    /// From now on the logits are those of this token of a batch of several sequences.
    pub fn show(&mut self, token: usize) {
        either!(self, cpu => cpu.show(token), _gpu => debug_assert_eq!(token, 0, "a GPU has those of one"))
    }

    /// Sets how much of each adapter there is in what is computed from now on.
    pub fn adapt(&mut self, scales: &[f32]) {
        either!(self, cpu => cpu.adapt(scales), gpu => gpu.adapt(scales))
    }

    /// Keeps a vector that came before its group.
    pub fn keep(&mut self, id: WeightId, bytes: &[u8]) {
        either!(self, cpu => cpu.keep(id, bytes), gpu => gpu.weights.keep(id, bytes))
    }

    /// Puts values in place of a row of the residual stream.
    pub fn set_residual(&mut self, row: usize, values: &[f32]) {
        either!(self, cpu => cpu.set_residual(row, values), gpu => gpu.set_residual(row, values))
    }

    /// Runs groups that follow one another over a batch, or sends that off: one group, unless
    /// [`Backend::runs_groups_together`].
    pub fn run(&mut self, program: &Program, groups: Range<usize>, batch: &Batch, wanted: Wanted) -> Result<()> {
        either!(self, cpu => {
            let _ = program;
            cpu.begin(groups, batch, wanted);
            Ok(())
        }, gpu => gpu.run(program, groups.start, batch, wanted))
    }

    /// Goes on from a batch that was embedded by [`Backend::set_residual`], where others have to know of it.
    pub fn share_residual(&mut self, batch: &Batch) {
        either!(self, cpu => cpu.begin_embedded(batch), _gpu => {
            let _ = batch;
        })
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        either!(self, cpu => cpu.shards(), _gpu => 1)
    }

    /// Values of the largest part that a thread hands to another.
    pub fn slice_values(&self) -> usize {
        either!(self, cpu => cpu.slice_values(), _gpu => 0)
    }

    /// Sets the way to the other threads.
    pub fn set_peers(&mut self, peers: Box<dyn Peers>) {
        either!(self, cpu => cpu.set_peers(peers), _gpu => drop(peers))
    }

    /// Whether it can run several groups at once.
    pub fn runs_groups_together(&self) -> bool {
        self.threads() > 1
    }

    /// Whether every group's results have to be there before the next group runs; a GPU keeps the order itself.
    pub fn runs_one_by_one(&self) -> bool {
        either!(self, _cpu => true, _gpu => false)
    }

    /// Whether a run is under way that has to end before another begins, be it one that nobody waits for any more.
    pub fn is_running(&self) -> bool {
        either!(self, cpu => cpu.is_running(), _gpu => false)
    }

    /// Sends off the pass of the token that the pass under way is about to choose. False where that is not
    /// possible.
    pub fn run_ahead(&mut self, program: &Program, position: usize, draw: Draw) -> Result<bool> {
        either!(self, _cpu => {
            let _ = (program, position, draw);
            Ok(false)
        }, gpu => gpu.run_ahead(program, position, draw))
    }

    /// Positions that a state has room for now.
    fn room(&self, layout: &Layout, state: StateId) -> usize {
        either!(self, cpu => {
            let _ = layout;
            cpu.room(state)
        }, _gpu => layout.context)
    }

    /// Bytes of what sequences keep that are there now, where those of one are `most`: of several threads each has as much
    /// room.
    pub fn state_bytes_held(&self, most: u64) -> u64 {
        either!(self, cpu => match cpu.shards() {
            1 => cpu.state_bytes_held(),
            _ => most * cpu.lanes() as u64,
        }, _gpu => most)
    }

    /// Bytes of a state that are read or written together at most.
    pub fn piece_bytes(&self) -> usize {
        either!(self, cpu => cpu.piece_bytes(), _gpu => PIECE_BYTES)
    }

    /// Appends a piece of what a state holds for its first `positions` to `out`. Where that is still to come it
    /// is to be asked again.
    pub fn read_state(
        &mut self,
        layout: &Layout,
        state: StateId,
        positions: usize,
        piece: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Poll {
        let lane = self.lane();
        either!(self, cpu => cpu.read_state(layout, &Move { lane, state, positions, piece, is_out: true }, out), gpu => {
            gpu.read_state(state, &spans_of(layout, state, positions, piece), out)
        })
    }

    /// Puts bytes in place of a piece of what a state holds for its first `positions`. Pending: it has taken none, and
    /// is to be asked again.
    pub fn write_state(
        &mut self,
        layout: &Layout,
        state: StateId,
        positions: usize,
        piece: Range<usize>,
        bytes: &[u8],
    ) -> Poll {
        let lane = self.lane();
        either!(self, cpu => cpu.write_state(layout, &Move { lane, state, positions, piece, is_out: false }, bytes), gpu => {
            gpu.write_state(state, &spans_of(layout, state, positions, piece), bytes);
            Poll::Ready
        })
    }

    /// Drops a reading of states that is under way.
    pub fn stop_reading(&mut self) {
        either!(self, _cpu => {}, gpu => gpu.stop_reading())
    }

    /// Copies the states that a group moves on and that hold the whole past, as they are now.
    pub fn copy_states(&mut self, program: &Program, group: usize, copy: usize) {
        either!(self, cpu => {
            for state in program.ops[group].iter().filter_map(Op::written_state) {
                cpu.copy_state(state, copy);
            }
        }, gpu => gpu.copy_states(program, group, copy))
    }

    /// Puts a copy in place of all states that hold the whole past.
    pub fn take_back(&mut self, copy: usize) {
        either!(self, cpu => cpu.take_back(copy), gpu => gpu.take_back(copy))
    }

    /// The state holds nothing from this position on: whatever is read there before it is computed again makes
    /// the results NaN.
    pub fn forget(&mut self, layout: &Layout, from: usize) {
        // Several threads have states of other shapes, and read nothing there either.
        if self.threads() > 1 {
            return;
        }
        for state in layout.states() {
            let room = self.room(layout, state);
            let spans = layout.spans(state, room, from..room.max(from));
            either!(self, cpu => {
                let cells = cpu.state_bytes(state);
                spans.into_iter().for_each(|span| cells[span].fill(0xff));
            }, gpu => {
                let bytes = spans.iter().map(Range::len).sum();
                gpu.write_state(state, &spans, &vec![0xff; bytes]);
            })
        }
    }

    /// Whether a token's results are the same to the bit, whatever batch it is computed in.
    pub fn is_same_in_batches(&self) -> bool {
        either!(self, _cpu => true, _gpu => false)
    }

    /// Whether a pass of it may be of several texts.
    pub fn takes_texts(&self) -> bool {
        either!(self, _cpu => true, _gpu => false)
    }

    /// Whether it chooses tokens itself.
    pub fn samples(&self) -> bool {
        either!(self, _cpu => false, gpu => gpu.ways().samples)
    }

    /// The device of a GPU.
    #[cfg(feature = "gpu")]
    pub fn device(&self) -> Option<&std::rc::Rc<gpu::Device>> {
        either!(self, _cpu => None, gpu => Some(gpu.device()))
    }

    /// Whether the device is gone, or one of the threads.
    pub fn is_lost(&self) -> bool {
        either!(self, cpu => cpu.is_lost(), gpu => gpu.device().is_lost())
    }

    /// Whether the results of the last run are there: on a GPU of the last one through the head. On the CPU it is
    /// computed now.
    pub fn poll(&mut self) -> Poll {
        either!(self, cpu => cpu.poll(), gpu => gpu.poll())
    }

    /// Waits for them, natively.
    pub fn wait(&mut self) {
        either!(self, _cpu => {}, gpu => gpu.wait())
    }

    /// The first group that made a value that is not finite over these rows: on the CPU of the one that just ran,
    /// on the GPU of the whole pass, once its results are there.
    pub fn damaged(&mut self, program: &Program, group: usize, rows: Range<usize>, wanted: Wanted) -> Option<usize> {
        let is_head = program.is_head(group);
        let is_hidden = is_head && wanted == Wanted::Hidden;
        let found = either!(self, cpu => {
            let finite = match is_head {
                true => is_hidden || all_finite(cpu.all_logits(0..rows.len())),
                false => rows.clone().all(|row| all_finite(cpu.residual(row))),
            };
            cpu.damaged().or((!finite).then_some(group))
        }, gpu => gpu.outcome().damaged.take().filter(|_| is_head && !rows.is_empty()));
        match found {
            None if is_hidden && !all_finite(self.hidden(rows)) => Some(group),
            found => found,
        }
    }

    /// The token that the backend chose itself, if it did.
    pub fn chosen(&mut self) -> Option<u32> {
        either!(self, _cpu => None, gpu => gpu.outcome().token.take())
    }

    /// The logits of the last token through the head, if they were wanted.
    pub fn logits(&mut self) -> &mut [f32] {
        either!(self, cpu => cpu.logits_mut(), gpu => &mut gpu.outcome().values)
    }

    /// Puts logits in place of those that the head made.
    pub fn set_logits(&mut self, logits: &[f32]) {
        either!(self, cpu => cpu.logits_mut().copy_from_slice(logits), gpu => {
            let outcome = gpu.outcome();
            outcome.token = None;
            outcome.values.clear();
            outcome.values.extend_from_slice(logits);
        })
    }

    /// The hidden states of these rows, which went through the head last, if they were wanted: `[row][width]`.
    pub fn hidden(&mut self, rows: Range<usize>) -> &[f32] {
        either!(self, cpu => cpu.hidden(rows), gpu => &gpu.outcome().values)
    }

    /// Rows that go through the head at once: there is room for the logits of one.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "on a CPU every program has the same"))]
    pub fn head_rows_max(&self, program: &Program, wanted: Wanted) -> usize {
        match wanted {
            Wanted::Token(_) | Wanted::Logits => 1,
            Wanted::Hidden => either!(self, _cpu => cpu::BATCH_MAX, gpu => gpu.hidden_rows_max(program)),
        }
    }

    /// Drops what is under way.
    pub fn cancel(&mut self) {
        either!(self, _cpu => {}, gpu => gpu.cancel())
    }
}

/// Where a piece of a state's first `positions` lies.
#[cfg(feature = "gpu")]
fn spans_of(layout: &Layout, state: StateId, positions: usize, piece: Range<usize>) -> Vec<Range<usize>> {
    let spans = layout.spans(state, layout.context, 0..positions);
    let place = |part: Part| {
        let start = spans[part.span].start;
        start + part.within.start..start + part.within.end
    };
    Layout::parts(&spans, piece).map(place).collect()
}
