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

    /// Whether another request may be prepared.
    #[wasm_bindgen(js_name = canBegin)]
    pub fn can_begin(&self) -> bool {
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

    /// Starts the request that was prepared; the lane that it is known by as long as it runs.
    pub fn start(&mut self) -> JsResult<usize> {
        self.core.start().map_err(thrown)
    }

    /// Does a bounded piece of what runs and tells, as JSON, what it came to: [`Event`](crate::engine::Event).
    pub fn step(&mut self) -> JsResult<String> {
        let event = self.core.step().map_err(thrown)?;
        Ok(serde_json::to_string(&event).expect("events are plain data"))
    }

    /// The lane that the last step's text, end or error is of.
    pub fn stepped(&self) -> usize {
        self.core.stepped()
    }

    /// Computes no more of a request until it is let go on.
    pub fn hold(&mut self, lane: usize, is_held: bool) {
        self.core.hold(lane, is_held);
    }

    /// Drops the request of a lane, or the one that was prepared if there is none.
    pub fn cancel(&mut self, lane: Option<usize>) {
        match lane {
            Some(lane) => self.core.cancel_one(lane),
            None => self.core.forget_prepared(),
        }
    }
}
