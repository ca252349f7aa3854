//! Requests: how they begin, go on and end.

use super::{Engine, JsResult, moment, thrown};
use crate::engine::Request;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
impl Engine {
    /// How many requests may run at a time.
    #[wasm_bindgen(js_name = requestsMax)]
    pub fn requests_max(&self) -> usize {
        self.core.requests_max()
    }

    /// Whether another request may be prepared. If not, a lane that the next step frees is kept for it.
    #[wasm_bindgen(js_name = canBegin)]
    pub fn can_begin(&mut self) -> bool {
        self.core.can_begin()
    }

    /// Reads a request given as JSON. What to do before it starts, of [`Exchange`](crate::engine::Exchange): 1 if it waits,
    /// 1 if it keeps, 1 if it copies, and the number of the sequence that it takes, if there is one.
    pub fn prepare(&mut self, request: &str) -> JsResult<Vec<u32>> {
        let request = Request::from_json(request).map_err(thrown)?;
        let exchange = self.core.prepare(request, moment()).map_err(thrown)?;
        let told = [exchange.waits, exchange.keeps, exchange.copies].map(u32::from);
        Ok(told.into_iter().chain(exchange.takes).collect())
    }

    /// Starts the request that was prepared; the number that it is known by as long as it runs.
    pub fn start(&mut self) -> JsResult<usize> {
        self.core.start().map_err(thrown)
    }

    /// Does a bounded piece of what runs and tells, as JSON, what it came to: [`Event`](crate::engine::Event).
    pub fn step(&mut self) -> JsResult<String> {
        let event = self.core.step().map_err(thrown)?;
        Ok(serde_json::to_string(&event).expect("events are plain data"))
    }

    /// The request that the last step's text, end or error is of.
    pub fn stepped(&self) -> usize {
        self.core.stepped()
    }

    /// Computes no more of a request until it is let go on.
    pub fn hold(&mut self, request: usize, is_held: bool) {
        self.core.hold(request, is_held);
    }

    /// Drops a request, or the one that was prepared if there is none.
    pub fn cancel(&mut self, request: Option<usize>) {
        match request {
            Some(request) => self.core.cancel_one(request),
            None => self.core.forget_prepared(),
        }
    }
}
