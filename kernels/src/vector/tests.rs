//! The scalar functions against f64.

use super::scalar::*;

/// Distance in units of the last place of the exact value, as f32 has it.
fn ulps(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if got == rounded {
        return 0.0;
    }
    let ulp = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
    (f64::from(got) - exact).abs() / ulp
}

#[test]
fn exp_is_within_two_ulps() {
    let mut worst = 0.0f64;
    for i in -104_000..=88_700 {
        let x = i as f32 * 1e-3;
        let mut y = [x];
        exp(&mut y);
        worst = worst.max(ulps(y[0], f64::from(x).exp()));
    }
    assert!(worst <= 2.0, "{worst}");
    let mut ends = [f32::NEG_INFINITY, -200.0, 0.0, 89.0, f32::INFINITY, f32::NAN];
    exp(&mut ends);
    assert_eq!(ends[..5], [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY]);
    assert!(ends[5].is_nan());
}

#[test]
fn activations_agree_with_their_definitions() {
    for i in -4000..=4000 {
        let x = i as f32 * 0.01;
        let exact = f64::from(x);
        let (mut s, mut g) = ([x], [x]);
        silu(&mut s);
        gelu(&mut g);
        let silu_exact = exact / (1.0 + (-exact).exp());
        let u = (2.0 / std::f64::consts::PI).sqrt() * (exact + 0.044715 * exact.powi(3));
        let gelu_exact = 0.5 * exact * (1.0 + u.tanh());
        assert!((f64::from(s[0]) - silu_exact).abs() <= 1e-6 * silu_exact.abs() + 1e-30, "silu({x}) = {}", s[0]);
        assert!((f64::from(g[0]) - gelu_exact).abs() <= 1e-6 * exact.abs() + 1e-30, "gelu({x}) = {}", g[0]);
    }
}

#[test]
fn softmax_sums_to_one_without_overflow() {
    let mut x: Vec<f32> = (0..37).map(|i| 1e4 + i as f32).collect();
    softmax(&mut x);
    assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert!((x[36] / x[35] - std::f32::consts::E).abs() < 1e-5);
    let mut masked = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
    softmax(&mut masked);
    assert_eq!(masked, [0.0, 1.0, 0.0]);
    let mut bad = [0.0, f32::NAN];
    softmax(&mut bad);
    assert!(bad[0].is_nan());
}

#[test]
fn sums_of_every_length_are_right() {
    for length in 0..70 {
        let a: Vec<f32> = (0..length).map(|i| (i * 7 % 13) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..length).map(|i| (i * 5 % 11) as f32 - 4.0).collect();
        let mut halves = vec![0; length];
        to_f16(&b, &mut halves);
        let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        assert_eq!(dot(&a, &b), expected);
        assert_eq!(sum_squares(&a), a.iter().map(|a| a * a).sum::<f32>());
        let (mut y, mut back) = (a.clone(), vec![0.0; length]);
        axpy(&mut y, 2.0, &b);
        from_f16(&halves, &mut back);
        assert_eq!(back, b);
        assert!(y.iter().zip(&a).zip(&b).all(|((y, a), b)| *y == a + 2.0 * b));
    }
}
