//! The wasm-bindgen surface: the only file that knows JavaScript.
