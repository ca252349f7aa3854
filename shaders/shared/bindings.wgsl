// What every kernel is bound to. Activations are f32 in quads of four; a slot's rows are padded to whole
// quads of chunks, so that a kernel never meets a part of a quad.

// Where the batch stands.
struct Step {
    // Position of the first token in the sequence.
    position: u32,
    tokens: u32,
    // Row of the residual stream that the first token has.
    row: u32,
    // Workgroups that share the positions of one attention head.
    splits: u32,
    // Sampling: candidates, inverse temperature, and the random number of the draw.
    top_k: u32,
    inverse_temperature: f32,
    top_p: f32,
    min_p: f32,
    random: f32,
    // Positions that have keys when the batch attends.
    positions: u32,
    pad: vec3<u32>,
}

// An offset of an optional operand that is not there.
const NONE: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read_write> arena: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read> quads: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;

// A row of activations: `base` and `stride` in quads; rows of the residual stream begin at the batch's.
fn row_of(base: u32, stride: u32, residual: u32, token: u32) -> u32 {
    return base + (token + residual * step.row) * stride;
}

// A value of an F32 vector among the weights.
fn weight(at: u32) -> f32 {
    return bitcast<f32>(words[at]);
}

// Compilers may assume that no value is infinite or NaN, but not about bits.
fn is_finite(values: vec4<f32>) -> bool {
    return all((bitcast<vec4<u32>>(values) & vec4(0x7f800000u)) != vec4(0x7f800000u));
}
