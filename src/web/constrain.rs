//! What prepares grammars: a wasm module of its own, which the scripts load and call.

use super::{Engine, JsResult, thrown};
use crate::constrain::{Constrainer, Constraint, Grammar};
use crate::engine::Request;
use crate::error::{ChordError, Result};
use serde::Deserialize;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `Constrainer` of `www/src/engine/constrainer.ts`. A grammar that is refused is thrown as a string, JSON of why.
    #[derive(Clone)]
    pub type JsConstrainer;

    /// The number of a grammar, which is given as JSON.
    #[wasm_bindgen(method, catch)]
    fn compile(this: &JsConstrainer, grammar: &str) -> JsResult<u32>;

    /// The number of the same grammar for another answer.
    #[wasm_bindgen(method, catch)]
    fn another(this: &JsConstrainer, number: u32) -> JsResult<u32>;

    #[wasm_bindgen(method, catch)]
    fn restart(this: &JsConstrainer, number: u32) -> JsResult<()>;

    /// Fills `allowed`.
    #[wasm_bindgen(method, catch)]
    fn mask(this: &JsConstrainer, number: u32, allowed: &mut [u32]) -> JsResult<()>;

    #[wasm_bindgen(method, catch)]
    fn commit(this: &JsConstrainer, number: u32, token: u32) -> JsResult<bool>;

    #[wasm_bindgen(method, catch)]
    fn agreeing(this: &JsConstrainer, number: u32, tokens: &[u32]) -> JsResult<u32>;

    /// The bytes that have to come, and behind them a byte that is 1 if only the end can follow.
    #[wasm_bindgen(method, catch)]
    fn forced(this: &JsConstrainer, number: u32) -> JsResult<Vec<u8>>;

    #[wasm_bindgen(method)]
    fn release(this: &JsConstrainer, number: u32);
}

/// Why a grammar is refused, as the module tells it.
#[derive(Deserialize)]
struct Refused {
    message: String,
    keyword: Option<String>,
    at: Option<String>,
}

/// The error of what the module threw about a grammar.
fn refused(grammar: &Grammar, thrown: &JsValue) -> ChordError {
    let told = thrown.as_string().and_then(|json| serde_json::from_str::<Refused>(&json).ok());
    let Some(Refused { message, keyword, at }) = told else {
        return ChordError::internal("what reads grammars has failed");
    };
    let error = grammar.refused(&message);
    let error = keyword.into_iter().fold(error, |error, keyword| error.with("keyword", keyword));
    at.into_iter().fold(error, |error, at| error.with("at", at))
}

impl Constrainer for JsConstrainer {
    fn compile(&mut self, grammar: &Grammar) -> Result<Box<dyn Constraint>> {
        let number =
            JsConstrainer::compile(self, &grammar.json.to_string()).map_err(|thrown| refused(grammar, &thrown))?;
        let grammar = Grammar { field: grammar.field, json: serde_json::Value::Null };
        Ok(Box::new(Held { module: self.clone(), number, grammar }))
    }
}

/// One grammar in the module.
struct Held {
    module: JsConstrainer,
    number: u32,
    /// For its field's name.
    grammar: Grammar,
}

impl Held {
    fn ask<T>(&self, answer: JsResult<T>) -> Result<T> {
        answer.map_err(|thrown| refused(&self.grammar, &thrown))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.module.release(self.number);
    }
}

impl Constraint for Held {
    fn another(&self) -> Result<Box<dyn Constraint>> {
        let number = self.ask(self.module.another(self.number))?;
        Ok(Box::new(Held { module: self.module.clone(), number, grammar: self.grammar.clone() }))
    }

    fn restart(&mut self) -> Result<()> {
        self.ask(self.module.restart(self.number))
    }

    fn mask(&mut self, allowed: &mut [u32]) -> Result<()> {
        self.ask(self.module.mask(self.number, allowed))
    }

    fn commit(&mut self, token: u32) -> Result<bool> {
        self.ask(self.module.commit(self.number, token))
    }

    fn agreeing(&mut self, tokens: &[u32]) -> Result<usize> {
        if tokens.is_empty() {
            return Ok(0);
        }
        self.ask(self.module.agreeing(self.number, tokens)).map(|count| count as usize)
    }

    fn forced(&mut self, bytes: &mut Vec<u8>) -> Result<bool> {
        let told = self.ask(self.module.forced(self.number))?;
        let (ends, forced) =
            told.split_last().ok_or_else(|| ChordError::internal("what reads grammars said nothing"))?;
        bytes.extend_from_slice(forced);
        Ok(*ends == 1)
    }
}

#[wasm_bindgen]
impl Engine {
    /// Whether a request given as JSON names a grammar, so that something has to read it: [`Engine::set_constrainer`].
    #[wasm_bindgen(js_name = asksForGrammar)]
    pub fn asks_for_grammar(&self, request: &str) -> JsResult<bool> {
        Ok(Request::from_json(request).map_err(thrown)?.asks_for_grammar())
    }

    /// The vocabulary as the module takes it: the number of tokens and of those that end an answer, the latter, the
    /// length of each token's bytes, all in 32 bits; then those bytes.
    pub fn vocabulary(&self) -> Vec<u8> {
        let ends = self.core.tokenizer().ends();
        let lengths = self.core.pieces().map(|piece| piece.len() as u32);
        let counts = [self.core.pieces().count() as u32, ends.len() as u32];
        let numbers = counts.into_iter().chain(ends.iter().copied()).chain(lengths);
        let mut bytes: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        self.core.pieces().for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// Sets what reads the grammars of requests.
    #[wasm_bindgen(js_name = setConstrainer)]
    pub fn set_constrainer(&mut self, constrainer: JsConstrainer) {
        self.core.set_constrainer(Box::new(constrainer));
    }
}
