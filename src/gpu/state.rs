//! What a sequence has left behind on the device, on its way to the host and back.

use super::Gpu;
use super::device::Buffer;
use super::readback::Mapping;
use crate::exec::Poll;
use crate::program::{Op, Program, StateId};
use std::ops::Range;

/// A state's part that was asked for.
pub struct Reading {
    buffer: Buffer,
    bytes: usize,
    mapping: Mapping,
}

impl Gpu {
    /// Appends what lies at these spans of a state's cache to `out`, once it is there: until then the same is to
    /// be asked again. Spans begin and end at multiples of four bytes.
    pub fn read_state(&mut self, state: StateId, spans: &[Range<usize>], out: &mut Vec<u8>) -> Poll {
        self.device.poll();
        if self.device.is_lost() {
            self.reading = None;
            return Poll::Lost;
        }
        let Some(reading) = &self.reading else {
            self.reading = Some(self.begin_reading(state, spans));
            return Poll::Pending;
        };
        match reading.mapping.result() {
            None => return Poll::Pending,
            Some(false) => return Poll::Lost,
            Some(true) => {}
        }
        match reading.buffer.get_mapped_range(0..reading.bytes as u64) {
            Ok(mapped) => out.extend_from_slice(&mapped),
            Err(_) => return Poll::Lost,
        }
        self.reading = None;
        Poll::Ready
    }

    /// Drops a reading that is under way.
    pub fn stop_reading(&mut self) {
        self.reading = None;
    }

    fn begin_reading(&mut self, state: StateId, spans: &[Range<usize>]) -> Reading {
        self.flush();
        let bytes = spans.iter().map(|span| span.len()).sum();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = self.device.buffer("state", bytes, usage);
        let mut encoder = self.device.encoder();
        let mut at = 0;
        for span in spans {
            let length = span.len() as u64;
            encoder.copy_buffer_to_buffer(&self.caches[state.0 as usize], span.start as u64, &buffer, at, length);
            at += length;
        }
        self.device.submit(encoder, 0);
        self.device.count(|c| c.readback_bytes += bytes as u64);
        let mapping = Mapping::ask(&buffer, bytes, self.wake.clone());
        Reading { buffer, bytes, mapping }
    }

    /// Copies the states that a group moves on and that hold the whole past, as they are before what is recorded next.
    pub fn copy_states(&mut self, program: &Program, group: usize, copy: usize) {
        for state in program.ops[group].iter().filter_map(Op::written_state) {
            let number = state.0 as usize;
            if let Some(copies) = &self.copies[number] {
                let (mut encoder, recorded) = self.recording.take().unwrap_or_else(|| (self.device.encoder(), 0));
                encoder.copy_buffer_to_buffer(&self.caches[number], 0, &copies[copy], 0, None);
                self.recording = Some((encoder, recorded));
            }
        }
    }

    /// Puts a copy in place of all states that hold the whole past.
    pub fn take_back(&mut self, copy: usize) {
        self.flush();
        let mut encoder = self.device.encoder();
        for (cache, copies) in self.caches.iter().zip(&self.copies) {
            if let Some(copies) = copies {
                encoder.copy_buffer_to_buffer(&copies[copy], 0, cache, 0, None);
            }
        }
        self.device.submit(encoder, 0);
    }

    /// Puts bytes at these spans of a state's cache, before whatever is computed next.
    pub fn write_state(&mut self, state: StateId, spans: &[Range<usize>], mut bytes: &[u8]) {
        self.flush();
        for span in spans {
            let (now, later) = bytes.split_at(span.len());
            self.device.write(&self.caches[state.0 as usize], span.start as u64, now);
            bytes = later;
        }
    }
}
