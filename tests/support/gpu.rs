//! Devices for tests of the GPU backend: whatever adapter there is.

use super::{read, supply_all};
use wasm_chord::engine::{Engine, OpenOptions};
use wasm_chord::gpu::shaders::{Kernel, Variant};
use wasm_chord::gpu::{Device, DeviceOptions};

/// Error of f32 activations at most.
pub const NMSE_MAX: f64 = 1e-5;

/// What tests ask a device for.
pub const DEVICE: DeviceOptions = DeviceOptions { software: true, ..DeviceOptions::DEFAULT };

/// A device; `None`, and a line that says so, where there is none.
pub fn device(options: DeviceOptions) -> Option<Device> {
    let device = pollster::block_on(Device::open(&DeviceOptions { software: true, ..options }));
    if device.is_none() {
        println!("skipped: no GPU adapter (Mesa's lavapipe is one)");
    }
    device
}

/// Opens a model on a device and supplies all of it.
pub fn open_on(file: &[u8], device: Device, options: &OpenOptions) -> wasm_chord::Result<Engine> {
    open_all_on(&[file.to_vec()], device, options)
}

/// The same of a model and its adapters.
pub fn open_all_on(files: &[Vec<u8>], device: Device, options: &OpenOptions) -> wasm_chord::Result<Engine> {
    let mut engine = read(files)?.open_on(device, options)?;
    assert!(engine.gpu().is_some(), "the model runs on the GPU");
    supply_all(&mut engine, files)?;
    Ok(engine)
}

/// A change to one kernel's source: its name, what is replaced, and by what. With `true` only the variant with
/// subgroups is changed.
pub type Change = (&'static str, &'static str, &'static str, bool);

thread_local! {
    /// The change that `tamper` makes.
    pub static CHANGE: std::cell::Cell<Option<Change>> = const { std::cell::Cell::new(None) };
}

/// Makes the change to the kernel that it names.
pub fn tamper(kernel: Kernel, variant: Variant, source: String) -> String {
    let (name, from, to, only_subgroups) = CHANGE.get().expect("a change");
    if (kernel.name().split(' ').next() != Some(name) && kernel.name() != name)
        || (only_subgroups && !variant.subgroups)
    {
        return source;
    }
    let changed = source.replace(from, to);
    // Only one of the two that prepare activations has it.
    assert!(changed != source || name == "prepare", "{name} has {from}");
    changed
}
