//! What to ask a device for.

use super::Vendor;
use super::shaders::{Arithmetic, Kernel, Variant};

/// Changes a kernel's source, for tests of wrong kernels: (kernel, its variant, source).
pub type Tamper = fn(Kernel, Variant, String) -> String;

/// What to ask a device for. Tests ask for less than there is.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Whether an adapter that computes on the CPU will do.
    pub software: bool,
    /// Whether kernels may use subgroups; in a browser, whether devices are asked for with them.
    pub subgroups: bool,
    /// Whether kernels may use f16.
    pub half: bool,
    /// What tiles are multiplied in, if the device can; `None` leaves it to [`Vendor::preferred`], and to f32
    /// where the adapter computes on the CPU.
    pub arithmetic: Option<Arithmetic>,
    /// The adapter's vendor; browsers tell it, but not through wgpu. `None` is the one that wgpu names.
    pub vendor: Option<Vendor>,
    /// A ceiling for the size of a buffer and of a binding, in bytes.
    pub buffer_bytes_max: Option<u64>,
    /// A ceiling for all buffers together, in bytes: those beyond it are refused, as where there is no memory.
    pub memory_bytes_max: Option<u64>,
    /// Products of one dispatch at most, so that none takes two seconds: browsers take a device for lost then.
    pub products_max: usize,
    /// What tests do to kernels.
    pub tamper: Option<Tamper>,
}

/// What the slowest devices do in a fraction of a second.
pub const PRODUCTS_MAX: usize = 1 << 31;

impl DeviceOptions {
    /// All that there is, on an adapter that does not compute on the CPU.
    pub const DEFAULT: DeviceOptions = DeviceOptions {
        software: false,
        subgroups: true,
        half: true,
        arithmetic: None,
        vendor: None,
        buffer_bytes_max: None,
        memory_bytes_max: None,
        products_max: PRODUCTS_MAX,
        tamper: None,
    };
}

impl Default for DeviceOptions {
    fn default() -> Self {
        DeviceOptions::DEFAULT
    }
}
