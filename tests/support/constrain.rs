//! What reads grammars, natively: in a page it is a wasm module of its own.

use chord_constrain::{Constraint, Refused, Vocabulary};
use wasm_chord::constrain::{self, Grammar};
use wasm_chord::engine::Engine;
use wasm_chord::{ChordError, Result};

/// Gives an engine what reads grammars.
pub fn give(engine: &mut Engine) {
    let pieces = engine.pieces().map(<[u8]>::to_vec).collect();
    let vocabulary = Vocabulary::new(pieces, engine.tokenizer().ends()).expect("a vocabulary");
    engine.set_constrainer(Box::new(Constrainer(vocabulary)));
}

struct Constrainer(Vocabulary);

struct Held(Constraint, Grammar);

fn error(grammar: &Grammar, refused: Refused) -> ChordError {
    let error = grammar.refused(&refused.message);
    refused.keyword.into_iter().fold(error, |error, keyword| error.with("keyword", keyword))
}

impl constrain::Constrainer for Constrainer {
    fn compile(&mut self, grammar: &Grammar) -> Result<Box<dyn constrain::Constraint>> {
        let parsed = serde_json::from_value(grammar.json.clone()).expect("the core writes what the module reads");
        let constraint = self.0.compile(parsed).map_err(|refused| error(grammar, refused))?;
        Ok(Box::new(Held(constraint, grammar.clone())))
    }
}

impl constrain::Constraint for Held {
    fn another(&self) -> Result<Box<dyn constrain::Constraint>> {
        Ok(Box::new(Held(self.0.another(), self.1.clone())))
    }

    fn restart(&mut self) -> Result<()> {
        self.0.restart();
        Ok(())
    }

    fn mask(&mut self, allowed: &mut [u32]) -> Result<()> {
        self.0.mask(allowed).map_err(|refused| error(&self.1, refused))
    }

    fn commit(&mut self, token: u32) -> Result<bool> {
        self.0.commit(token).map_err(|refused| error(&self.1, refused))
    }

    fn agreeing(&mut self, tokens: &[u32]) -> Result<usize> {
        Ok(self.0.agreeing(tokens))
    }

    fn forced(&mut self, bytes: &mut Vec<u8>) -> Result<bool> {
        let (forced, ends) = self.0.forced();
        bytes.extend(forced);
        Ok(ends)
    }
}
