//! What only the builds for tests export.

use wasm_bindgen::prelude::*;

/// Compares every vector kernel with its scalar twin; the differences found, as JSON.
#[wasm_bindgen(js_name = kernelSelftest)]
pub fn kernel_selftest() -> String {
    serde_json::to_string(&crate::cpu::selftest::selftest()).expect("a list of strings")
}

/// Takes this much memory and never touches it, so that whatever is allocated later lies above it.
#[wasm_bindgen(js_name = takeMemory)]
pub fn take_memory(bytes: f64) -> bool {
    let mut taken = Vec::<u8>::new();
    let is_taken = taken.try_reserve_exact(bytes as usize).is_ok();
    std::mem::forget(taken);
    is_taken
}

/// The source of every kernel in every variant that it has, as JSON: pairs of name and source.
#[cfg(feature = "gpu")]
#[wasm_bindgen(js_name = shaderSources)]
pub fn shader_sources() -> String {
    use crate::gpu::shaders::{Kernel, Variant};
    let variants = |kernel: Kernel| Variant::all().filter(move |v| kernel.is_in(*v)).map(move |v| (kernel, v));
    let sources = Kernel::all().flat_map(variants).map(|(kernel, variant)| (kernel.name_in(variant), variant, kernel));
    // Variants without a difference to the kernel have the same name.
    let mut named: Vec<(String, String)> = Vec::new();
    for (name, variant, kernel) in sources {
        if named.iter().all(|(other, _)| *other != name) {
            named.push((name, kernel.source(variant)));
        }
    }
    serde_json::to_string(&named).expect("pairs of strings")
}
