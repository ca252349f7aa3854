//! What was computed of a sequence, on its way out of the core and into it.

use super::{Engine, JsResult, moment, thrown};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
impl Engine {
    /// Whether a sequence can be saved between two steps of a request.
    #[wasm_bindgen(js_name = savesMidway)]
    pub fn saves_midway(&self) -> bool {
        self.core.saves_midway()
    }

    /// Begins to save the sequence that was computed last; the number of its tokens.
    #[wasm_bindgen(js_name = beginSave)]
    pub fn begin_save(&mut self) -> JsResult<usize> {
        self.core.begin_save().map_err(thrown)
    }

    /// Its next bytes, and none after the last ones; undefined until the device or another thread has handed them over,
    /// which wakes the owner to ask again.
    pub fn save(&mut self) -> JsResult<Option<Uint8Array>> {
        let piece = self.core.save().map_err(thrown)?;
        Ok(piece.map(Uint8Array::from))
    }

    /// Takes the next bytes of a saved sequence; how many of them. Less than all: the owner is woken to offer the rest.
    pub fn restore(&mut self, bytes: &[u8]) -> JsResult<usize> {
        self.core.restore(bytes).map_err(thrown)
    }

    /// Takes the saved sequence up; the number of its tokens, or undefined where the owner is woken to ask again.
    #[wasm_bindgen(js_name = finishRestore)]
    pub fn finish_restore(&mut self) -> JsResult<Option<usize>> {
        self.core.finish_restore().map_err(thrown)
    }

    /// Drops what was taken of a saved sequence.
    #[wasm_bindgen(js_name = dropRestore)]
    pub fn drop_restore(&mut self) {
        self.core.drop_restore();
    }

    /// The tokens that prompts which begin like this have in common: of a JSON string, or of a chat's body.
    #[wasm_bindgen(js_name = prefixTokens)]
    pub fn prefix_tokens(&self, input: &str) -> JsResult<Vec<u32>> {
        self.core.prefix_tokens(input, moment().now).map_err(thrown)
    }

    /// The sequence that was saved last is kept: its number, and those of kept ones that it makes needless.
    pub fn shelve(&mut self) -> Vec<u32> {
        let (number, gone) = self.core.shelve();
        [number].into_iter().chain(gone).collect()
    }

    /// A sequence is not kept any more.
    pub fn unshelve(&mut self, number: u32) {
        self.core.unshelve(number);
    }
}
