//! Non-linearities.

use super::vector;
use crate::program::Activation;

/// The largest value that the limited unit lets through.
const LIMIT: f32 = 7.0;

/// gate = activation(gate) · up
pub fn gate(activation: Activation, gate: &mut [f32], up: &[f32]) {
    activate(activation, gate);
    match activation {
        Activation::SwigluLimited => {
            gate.iter_mut().zip(up).for_each(|(gate, up)| *gate *= up.clamp(-LIMIT, LIMIT) + 1.0);
        }
        _ => vector::multiply(gate, up),
    }
}

/// Puts each value's activation in its place.
pub fn activate(activation: Activation, values: &mut [f32]) {
    let mut each = |of: fn(f32) -> f32| values.iter_mut().for_each(|v| *v = of(*v));
    match activation {
        Activation::Identity => {}
        Activation::Silu => vector::silu(values),
        Activation::Gelu => vector::gelu(values),
        Activation::GeluErf => each(|x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
        Activation::Relu => each(|x| x.max(0.0)),
        Activation::ReluSquared => each(|x| x.max(0.0) * x.max(0.0)),
        Activation::Sigmoid => each(|x| 1.0 / (1.0 + (-x).exp())),
        Activation::Exp => each(|x| x.clamp(-40.0, 40.0).exp()),
        Activation::ExpBelow => each(|x| exp_below(x.min(0.0))),
        Activation::SwigluLimited => each(|x| {
            let x = x.min(LIMIT);
            x / (1.0 + (-1.702 * x).exp())
        }),
    }
}

/// e^m − 1 − m, by the series where the difference would lose what it is.
fn exp_below(m: f32) -> f32 {
    match m > -0.5 {
        true => m * m * (0.5 + m * (1.0 / 6.0 + m * (1.0 / 24.0 + m * (1.0 / 120.0 + m * (1.0 / 720.0 + m / 5040.0))))),
        false => m.exp() - 1.0 - m,
    }
}

/// The error function, to 1.5·10⁻⁷: formula 7.1.26 of Abramowitz and Stegun.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let sum = series.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (1.0 - sum * (-x * x).exp()).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error function by its series.
    fn series(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    type Definition = fn(f64) -> f64;

    #[test]
    fn activations_follow_their_definitions() {
        let xs: Vec<f32> = (-40..=40).map(|i| i as f32 / 10.0).collect();
        let definitions: [(Activation, Definition); 5] = [
            (Activation::GeluErf, |x| 0.5 * x * (1.0 + series(x / 2f64.sqrt()))),
            (Activation::Relu, |x| x.max(0.0)),
            (Activation::ReluSquared, |x| x.max(0.0).powi(2)),
            (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            (Activation::ExpBelow, |x| x.min(0.0).exp() - 1.0 - x.min(0.0)),
        ];
        for (activation, definition) in definitions {
            let mut values = xs.clone();
            activate(activation, &mut values);
            for (x, got) in xs.iter().zip(&values) {
                let truth = definition(f64::from(*x));
                assert!((truth - f64::from(*got)).abs() < 2e-6, "{activation:?}({x}): {got}, not {truth}");
            }
        }
    }
}
