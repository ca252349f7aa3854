//! The choice of a token.

use super::Bench;
use super::support::program::Writer;
use wasm_chord::exec::Draw;
use wasm_chord::gpu::Pass;
use wasm_chord::quant::Dtype;
use wasm_chord::quant::random::Noise;
use wasm_chord::trust::Miniature;

/// Nothing but an embedding and a head, whose rows come again in other segments of the vocabulary, and the next
/// one too where the thirds are no whole quads: ties of three.
fn small(vocabulary: usize) -> Miniature {
    let mut small = Miniature::of(Writer::new(Dtype::F32, 32, vocabulary, 0).head());
    let rows = small.data.last_mut().expect("the head's matrix");
    // A softmax that is neither flat nor a single token.
    for value in rows.as_chunks_mut().0 {
        *value = (4.0 * f32::from_le_bytes(*value)).to_le_bytes();
    }
    let third = vocabulary / 3 * 32 * 4;
    rows.copy_within(..third, third);
    rows.copy_within(..third, 2 * third);
    small
}

fn draws(vocabulary: usize, tokens: usize, draws: impl Iterator<Item = Draw> + Clone) -> Vec<Pass> {
    let tokens = (0..tokens).map(|token| token * 11 % vocabulary);
    let pass = |(token, draw)| Pass { tokens: vec![token as u32], position: 0, splits: 1, draw };
    tokens.flat_map(|token| draws.clone().map(move |draw| (token, draw))).map(pass).collect()
}

/// Draws as the sampler makes them: greedy and flat, cut and uncut, among few and many.
pub fn sample(bench: &Bench) -> Result<(), String> {
    let vocabulary = 5003;
    let kinds = [(0.5, 1.0, 0.0), (2.0, 1.0, 0.0), (1.5, 0.9, 0.0), (2.0, 0.99, 0.01)];
    let mut noise = Noise::new(1);
    let mut all = vec![Draw::GREEDY];
    for (temperature, top_p, min_p) in kinds {
        for top_k in [1, 2, 40, 64] {
            let mut random = || (noise.word() >> 40) as f32 / (1 << 24) as f32;
            all.extend((0..6).map(|_| Draw { top_k, temperature, top_p, min_p, random: random() }));
        }
    }
    bench.run_small("a vocabulary of 5003", &small(vocabulary), draws(vocabulary, 4, all.into_iter()), bench.ways())?;
    // Of one segment, and of as many as there may be, the last of which is short.
    for vocabulary in [3, 131_101] {
        let draw = Draw { top_k: 40, temperature: 3.0, random: 0.7, ..Draw::GREEDY };
        let passes = draws(vocabulary, 3, [Draw::GREEDY, draw].into_iter());
        bench.run_small(&format!("a vocabulary of {vocabulary}"), &small(vocabulary), passes, bench.ways())?;
    }
    Ok(())
}

/// Parts that are short, whole, and too many for one quad each.
pub fn top(bench: &Bench) -> Result<(), String> {
    for vocabulary in [1, 3, 64, 70, 513, 5003, 131_101] {
        let draws = draws(vocabulary, 2, [1, 2, 40, 64].into_iter().map(|top_k| Draw { top_k, ..Draw::GREEDY }));
        bench.run_small(&format!("a vocabulary of {vocabulary}"), &small(vocabulary), draws, bench.ways())?;
    }
    Ok(())
}
