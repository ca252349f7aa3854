// What the two kernels of sampling are told, and the order of their candidates.
struct Op {
    // Quads.
    logits: u32,
    count: u32,
    result: u32,
    flags: u32,
    groups: u32,
    // The best of each segment of the vocabulary: [segment][rank] of logit and token, a quad each.
    candidates: u32,
    segments: u32,
    // Tokens of a segment, a multiple of four.
    segment: u32,
}

@group(0) @binding(5) var<uniform> op: Op;

// No candidate: comes after every token. Tokens are f32 here, exact below 2^24.
const ABSENT: vec2<f32> = vec2<f32>(-3.4e38, 16777216.0);

// Whether a comes before b: larger logits first, lower numbers first among equals.
fn precedes(a: vec2<f32>, b: vec2<f32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y < b.y);
}

fn candidates_wanted() -> u32 {
    return clamp(step.top_k, 1u, K_MAX);
}
