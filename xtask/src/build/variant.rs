//! The table of wasm builds.

/// One wasm build of the package.
pub struct Variant {
    /// Stem of its files: `pkg/wasm/<name>.wasm` and `.js`.
    pub name: &'static str,
    /// The crate that it is of.
    pub package: &'static str,
    /// Rust's target triple.
    pub target: &'static str,
    /// Cargo features.
    pub features: &'static [&'static str],
    /// What the compiler may use beyond the target's baseline.
    pub target_features: &'static str,
    /// The same in wasm-opt's words.
    pub wasm_opt: &'static [&'static str],
    /// Where cargo keeps what it compiles: builds with the same flags share their dependencies there. Only one process
    /// at a time gets into a folder, so that these are made one after the other.
    pub cargo_folder: &'static str,
}

/// The build for browsers with relaxed SIMD.
pub const RELAXED: &str = "chord-relaxed";

/// The build for WebGPU, loaded only where there is a device.
pub const GPU: &str = "chord-gpu";

/// What reads grammars: beside any other build, loaded only where a request names one.
pub const CONSTRAIN: &str = "chord-constrain";

/// The crate that is a page's engine. wasm-bindgen writes the JavaScript side of its builds.
pub const ENGINE: &str = "wasm-chord";

/// A page loads exactly one of the engine's; the engine worker chooses.
pub const VARIANTS: [Variant; 5] = [
    Variant {
        name: "chord-simd",
        package: ENGINE,
        target: "wasm32-unknown-unknown",
        features: &[],
        target_features: "+simd128",
        wasm_opt: &["--enable-simd"],
        cargo_folder: "simd",
    },
    Variant {
        name: RELAXED,
        package: ENGINE,
        target: "wasm32-unknown-unknown",
        features: &[],
        target_features: "+simd128,+relaxed-simd",
        wasm_opt: &["--enable-simd", "--enable-relaxed-simd"],
        cargo_folder: "relaxed",
    },
    Variant {
        name: "chord-memory64",
        package: ENGINE,
        target: "wasm64-unknown-unknown",
        features: &[],
        target_features: "+simd128,+relaxed-simd",
        wasm_opt: &["--enable-simd", "--enable-relaxed-simd", "--enable-memory64"],
        cargo_folder: "memory64",
    },
    Variant {
        name: GPU,
        package: ENGINE,
        target: "wasm32-unknown-unknown",
        features: &["gpu"],
        target_features: "+simd128",
        wasm_opt: &["--enable-simd"],
        cargo_folder: "simd",
    },
    Variant {
        name: CONSTRAIN,
        package: CONSTRAIN,
        target: "wasm32-unknown-unknown",
        features: &[],
        target_features: "+bulk-memory",
        wasm_opt: &[],
        cargo_folder: "constrain",
    },
];

impl Variant {
    /// Whether it is a build of the engine.
    pub fn is_engine(&self) -> bool {
        self.package == ENGINE
    }
}
