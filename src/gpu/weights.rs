//! Weights in GPU buffers: where each lies, and how the pieces of a file get there.
//!
//! A group is one buffer, or several where a device's bindings are small; each begins with all of the
//! group's vectors, so that whatever is computed from a buffer finds norms and biases in it. A matrix that
//! is larger than a buffer is cut into slabs of rows.

use super::device::{Buffer, Device, unsuited};
use crate::error::{ChordError, Result};
use crate::pager::Intervals;
use crate::program::{Program, Weight, WeightId};
use crate::quant::{CHUNK, PLANES_MAX};
use std::collections::HashMap;
use std::ops::Range;

/// Alignment of planes, in bytes.
const PLANE_ALIGNMENT: usize = 256;

/// Bytes that go to the GPU at once.
const UPLOAD_BYTES_MAX: usize = 4 << 20;

/// Rows of slabs come in multiples of this.
const SLAB_ROWS: usize = 64;

/// Consecutive rows of a weight in one buffer.
#[derive(Clone, Debug)]
pub struct Slab {
    /// Which of the group's buffers.
    pub buffer: usize,
    pub first_row: usize,
    pub rows: usize,
    /// Bytes at which the planes begin.
    pub planes: [usize; PLANES_MAX],
}

/// Where everything lies.
pub struct Map {
    slabs: Vec<Vec<Slab>>,
    /// Bytes of each buffer of each group.
    pub buffers: Vec<Vec<usize>>,
}

/// Chunks of a padded row.
pub fn chunks(weight: &Weight) -> usize {
    weight.columns.div_ceil(CHUNK)
}

/// Units of `rows` rows.
fn units(weight: &Weight, rows: usize) -> usize {
    match weight.dtype.block_values() {
        1 => rows * chunks(weight),
        values => (rows * weight.columns / values).div_ceil(weight.dtype.format().planes.blocks),
    }
}

/// Bytes of each plane of `rows` rows, aligned.
fn plane_bytes(weight: &Weight, rows: usize) -> impl Iterator<Item = usize> {
    let units = units(weight, rows);
    weight.dtype.format().planes.bytes.iter().map(move |bytes| (units * bytes).next_multiple_of(PLANE_ALIGNMENT))
}

impl Map {
    /// Places every weight, in buffers of at most `limit` bytes.
    pub fn new(program: &Program, limit: usize) -> Result<Map> {
        let mut map = Map { slabs: vec![Vec::new(); program.weights.len()], buffers: Vec::new() };
        for group in &program.groups {
            let (vectors, matrices): (Vec<WeightId>, Vec<WeightId>) =
                group.weights.iter().partition(|id| !program[**id].is_matrix);
            let mut head = 0;
            for id in vectors {
                let weight = &program[id];
                map.slabs[id.0 as usize].push(slab(weight, 0, 0..weight.rows, &mut head));
            }
            let mut buffers = vec![head];
            for id in matrices {
                let weight = &program[id];
                let mut row = 0;
                while row < weight.rows {
                    let last = buffers.len() - 1;
                    let rest = weight.rows - row;
                    let size = |rows: usize| plane_bytes(weight, rows).sum::<usize>();
                    // All of it, or what fits a fresh buffer.
                    let mut rows = rest;
                    while size(rows) > limit.saturating_sub(head) && rows > SLAB_ROWS {
                        rows = (rows / 2).next_multiple_of(SLAB_ROWS);
                    }
                    if buffers[last] + size(rows) > limit && buffers[last] > head {
                        buffers.push(head);
                        continue;
                    }
                    if buffers[last] + size(rows) > limit {
                        return Err(too_small(weight, limit));
                    }
                    let slab = slab(weight, last, row..row + rows, &mut buffers[last]);
                    map.slabs[id.0 as usize].push(slab);
                    row += rows;
                }
            }
            map.buffers.push(buffers.into_iter().map(|bytes| bytes.max(PLANE_ALIGNMENT)).collect());
        }
        Ok(map)
    }

    /// The slabs of a weight, by their rows.
    pub fn slabs(&self, id: WeightId) -> &[Slab] {
        &self.slabs[id.0 as usize]
    }

    /// The word at which a vector begins, in every buffer of its group.
    pub fn vector(&self, id: WeightId) -> u32 {
        (self.slabs[id.0 as usize][0].planes[0] / 4) as u32
    }

    /// Bytes of a group.
    pub fn group_bytes(&self, group: usize) -> usize {
        self.buffers[group].iter().sum()
    }
}

fn too_small(weight: &Weight, limit: usize) -> ChordError {
    unsuited(format!("buffers of {limit} bytes cannot hold {SLAB_ROWS} rows of '{}'", weight.name))
}

fn slab(weight: &Weight, buffer: usize, rows: Range<usize>, end: &mut usize) -> Slab {
    let mut planes = [0; PLANES_MAX];
    for (plane, bytes) in planes.iter_mut().zip(plane_bytes(weight, rows.len())) {
        *plane = *end;
        *end += bytes;
    }
    Slab { buffer, first_row: rows.start, rows: rows.len(), planes }
}

/// Buffers that hold one group at a time.
pub struct Set {
    pub id: usize,
    pub buffers: Vec<Buffer>,
}

/// A group in memory.
struct Resident {
    set: Set,
    filled: Vec<Intervals>,
    missing: u64,
    /// Units of which a part has come: the bytes, and how many are there.
    partial: HashMap<(WeightId, usize), (Vec<u8>, usize)>,
}

/// The groups that are in GPU memory.
pub struct Weights {
    /// Where each weight lies in the buffers of its group.
    pub map: Map,
    groups: Vec<Option<Resident>>,
    pinned: Vec<bool>,
    /// Bytes of the buffers of groups that do not stay.
    ring: Vec<usize>,
    /// Sets that an evicted group left.
    free: Vec<Set>,
    sets: usize,
    bytes: u64,
    /// Vectors that the host computes with as well, such as frequency factors.
    kept: HashMap<WeightId, Vec<u8>>,
    staging: Vec<u8>,
    planes: [Vec<u8>; PLANES_MAX],
}

impl Weights {
    /// No weights yet. `kept` vectors stay readable for the host.
    pub fn new(program: &Program, map: Map, kept: impl Iterator<Item = WeightId>) -> Weights {
        Weights {
            map,
            groups: program.groups.iter().map(|_| None).collect(),
            pinned: vec![true; program.groups.len()],
            ring: Vec::new(),
            free: Vec::new(),
            sets: 0,
            bytes: 0,
            kept: kept.map(|id| (id, vec![0; program[id].bytes])).collect(),
            staging: Vec::new(),
            planes: Default::default(),
        }
    }

    /// Says which groups stay. The others share sets of buffers that hold any of them.
    pub fn pin(&mut self, pinned: &[bool]) {
        self.pinned = pinned.to_vec();
        self.ring.clear();
        for (sizes, _) in self.map.buffers.iter().zip(pinned).filter(|(_, pinned)| !**pinned) {
            self.ring.resize(self.ring.len().max(sizes.len()), 0);
            self.ring.iter_mut().zip(sizes).for_each(|(most, size)| *most = (*most).max(*size));
        }
    }

    /// Makes room for a group: in a set that another has left, or in new buffers.
    pub fn allocate(&mut self, device: &Device, program: &Program, group: usize) -> Result<()> {
        if self.groups[group].is_some() {
            return Ok(());
        }
        let in_ring = !self.pinned[group];
        let free = if in_ring { self.free.pop() } else { None };
        let set = match free {
            Some(set) => set,
            None => {
                let sizes = if in_ring { &self.ring } else { &self.map.buffers[group] };
                self.sets += 1;
                self.bytes += sizes.iter().sum::<usize>() as u64;
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
                Set { id: self.sets, buffers: sizes.iter().map(|s| device.buffer("weights", *s, usage)).collect() }
            }
        };
        let weights = &program.groups[group].weights;
        self.groups[group] = Some(Resident {
            set,
            filled: weights.iter().map(|_| Intervals::default()).collect(),
            missing: weights.iter().map(|id| program[*id].bytes as u64).sum(),
            partial: HashMap::new(),
        });
        Ok(())
    }

    /// Gives a group's buffers to whichever comes next.
    pub fn evict(&mut self, group: usize) {
        self.free.extend(self.groups[group].take().map(|resident| resident.set));
    }

    /// Frees everything.
    pub fn clear(&mut self) {
        self.groups.iter_mut().for_each(|group| *group = None);
        self.free.clear();
        self.bytes = 0;
    }

    /// Whether every byte of a group is there.
    pub fn resident(&self, group: usize) -> bool {
        self.groups[group].as_ref().is_some_and(|g| g.missing == 0)
    }

    /// The buffers of a group that is there.
    pub fn set(&self, group: usize) -> Option<&Set> {
        self.groups[group].as_ref().map(|resident| &resident.set)
    }

    /// Bytes of buffers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets a vector that is kept for the host, before its group.
    pub fn keep(&mut self, id: WeightId, bytes: &[u8]) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.copy_from_slice(bytes);
        }
    }

    /// A vector that is kept for the host.
    pub fn kept(&self, id: WeightId) -> Vec<f32> {
        let bytes = self.kept[&id].chunks_exact(4);
        bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    /// Uploads `range` of a weight's bytes, taken by calls of `copy(range of the weight, destination)`,
    /// without what is there already. Units that are not whole wait for their rest.
    pub fn fill(
        &mut self,
        device: &Device,
        program: &Program,
        id: WeightId,
        range: Range<usize>,
        mut copy: impl FnMut(Range<usize>, &mut [u8]),
    ) {
        let weight = &program[id];
        let Some(mut resident) = self.groups[weight.group].take() else { return };
        let filled = &mut resident.filled[weight.index];
        let gaps = filled.gaps(&range);
        filled.insert(range);
        for gap in gaps {
            resident.missing -= gap.len() as u64;
            if let Some(kept) = self.kept.get_mut(&id) {
                copy(gap.clone(), &mut kept[gap.clone()]);
            }
            for slab in 0..self.map.slabs[id.0 as usize].len() {
                self.fill_slab(device, weight, id, slab, &mut resident, gap.clone(), &mut copy);
            }
        }
        self.groups[weight.group] = Some(resident);
    }

    #[allow(clippy::too_many_arguments)]
    fn fill_slab(
        &mut self,
        device: &Device,
        weight: &Weight,
        id: WeightId,
        slab: usize,
        resident: &mut Resident,
        gap: Range<usize>,
        copy: &mut impl FnMut(Range<usize>, &mut [u8]),
    ) {
        let Slab { first_row, rows, .. } = self.map.slabs[id.0 as usize][slab];
        let row_bytes = weight.bytes / weight.rows;
        // Floats whose rows are padded go row by row; everything else is one run of units.
        let padded = weight.dtype.block_values() == 1 && !weight.columns.is_multiple_of(CHUNK);
        let (run_rows, run_units) = if padded { (1, chunks(weight)) } else { (rows, 0) };
        let start = first_row * row_bytes;
        let overlap = gap.start.max(start)..gap.end.min(start + rows * row_bytes);
        if overlap.is_empty() {
            return;
        }
        let unit_bytes = weight.dtype.format().planes.blocks * weight.dtype.block_bytes();
        let run_bytes = run_rows * row_bytes;
        for run in (overlap.start - start) / run_bytes..(overlap.end - start).div_ceil(run_bytes) {
            let base = start + run * run_bytes;
            let part = overlap.start.max(base) - base..overlap.end.min(base + run_bytes) - base;
            let first_unit = run * run_units;
            let unit = |number: usize| number * unit_bytes..run_bytes.min((number + 1) * unit_bytes);
            let mut at = part.start;
            while at < part.end {
                let number = at / unit_bytes;
                let whole = unit(number);
                if at == whole.start && part.end >= whole.end {
                    // As many whole units as there are and as go at once. The last of a run may be short.
                    let most = (UPLOAD_BYTES_MAX / unit_bytes).max(1);
                    let ends =
                        if part.end == run_bytes { run_bytes.div_ceil(unit_bytes) } else { part.end / unit_bytes };
                    let last = ends.min(number + most);
                    let end = unit(last - 1).end;
                    let mut staging = std::mem::take(&mut self.staging);
                    staging.clear();
                    staging.resize((last - number) * unit_bytes, 0);
                    copy(base + at..base + end, &mut staging[..end - at]);
                    self.upload(device, weight, id, slab, first_unit + number, &staging, resident);
                    self.staging = staging;
                    at = end;
                } else {
                    let end = part.end.min(whole.end);
                    let key = (id, base + whole.start);
                    let (bytes, have) = resident.partial.entry(key).or_insert_with(|| (vec![0; unit_bytes], 0));
                    copy(base + at..base + end, &mut bytes[at - whole.start..end - whole.start]);
                    *have += end - at;
                    if *have == whole.len() {
                        let (bytes, _) = resident.partial.remove(&key).expect("it was there just now");
                        self.upload(device, weight, id, slab, first_unit + number, &bytes, resident);
                    }
                    at = end;
                }
            }
        }
    }

    /// Splits whole units into planes and writes them.
    #[allow(clippy::too_many_arguments)]
    fn upload(
        &mut self,
        device: &Device,
        weight: &Weight,
        id: WeightId,
        slab: usize,
        first: usize,
        bytes: &[u8],
        resident: &Resident,
    ) {
        let slab = &self.map.slabs[id.0 as usize][slab];
        let planes = &weight.dtype.format().planes;
        let unit_bytes = planes.blocks * weight.dtype.block_bytes();
        let count = bytes.len() / unit_bytes;
        let is_plain = weight.dtype.quants().is_none();
        if !is_plain {
            for (plane, size) in self.planes.iter_mut().zip(planes.bytes) {
                plane.resize(count * size, 0);
            }
            for (number, block) in bytes.chunks_exact(unit_bytes).enumerate() {
                let mut sizes = planes.bytes.iter();
                let mut parts = self.planes.each_mut().map(|plane| match sizes.next() {
                    Some(size) => &mut plane[number * size..][..*size],
                    None => &mut [],
                });
                planes.split(weight.dtype.block_bytes(), block, &mut parts);
            }
        }
        for (number, size) in planes.bytes.iter().enumerate() {
            let data = if is_plain { bytes } else { &self.planes[number][..count * size] };
            let offset = (slab.planes[number] + first * size) as u64;
            // A vector lies in every buffer of its group.
            let buffers = &resident.set.buffers;
            let targets = if weight.is_matrix { &buffers[slab.buffer..=slab.buffer] } else { &buffers[..] };
            targets.iter().for_each(|buffer| device.write(buffer, offset, data));
        }
    }
}
