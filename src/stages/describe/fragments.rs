//! Weights as the tensor cores take them: for every tile of 16 outputs and step of 16 inputs what each lane of a warp
//! brings, so that a warp reads 512 bytes in a row. See `kernels/tensor.cuh`.

use half::f16;

/// Outputs of a tile, inputs of a step, lanes of a warp.
pub const TILE: usize = 16;
pub const STEP: usize = 16;
const LANES: usize = 32;
/// Weights that a lane brings.
const OF_LANE: usize = TILE * STEP / LANES;

/// Layers of a network, one after another.
#[derive(Default)]
pub struct Layers {
    /// Of each layer tiles × taps × steps × parts × lanes × eight values in pairs; outputs and inputs that there are none
    /// of have zeros.
    weights: Vec<u32>,
    /// Of each layer a bias for every output of its tiles.
    pub biases: Vec<f32>,
    /// Of each layer the kernels' `Layer`.
    pub records: Vec<u32>,
}

impl Layers {
    /// A layer of `taps` × `inputs` × `outputs`, where `weight(tap, input, output)` and `bias(output)` are its values.
    ///
    /// The weights are scaled by a power of two, and in one part where all are f16 then, else in two: the nearest f16, and
    /// that of the rest.
    pub fn add(
        &mut self,
        [taps, inputs, outputs]: [usize; 3],
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) {
        let (steps, tiles) = (inputs.div_ceil(STEP), outputs.div_ceil(TILE));
        let places = (0..tiles * taps * steps).flat_map(|number| {
            let (tile, tap, step) = (number / (taps * steps), number / steps % taps, number % steps);
            (0..TILE * STEP).map(move |i| (tap, step * STEP + input_of(i), tile * TILE + output_of(i)))
        });
        let value = |(tap, input, output): (usize, usize, usize)| {
            if input < inputs && output < outputs { weight(tap, input, output) } else { 0.0 }
        };
        let values: Vec<f32> = places.map(value).collect();
        let scale = scale_of(&values);
        let split: Vec<[f16; 2]> = values.iter().map(|value| split(value * scale)).collect();
        let parts = if split.iter().all(|parts| parts[1] == f16::ZERO) { 1 } else { 2 };
        let record = [self.weights.len() / 4, self.biases.len(), taps, steps, tiles, parts];
        self.records.extend(record.map(|number| number as u32));
        self.records.push((1.0 / scale).to_bits());
        for step in split.chunks(TILE * STEP) {
            (0..parts).for_each(|part| self.weights.extend(step.chunks(2).map(|pair| packed(pair, part))));
        }
        self.biases.extend((0..tiles * TILE).map(|output| if output < outputs { bias(output) } else { 0.0 }));
    }

    /// The weights of all layers, and behind them as much as the kernels read ahead: a step in two parts.
    pub fn weights(&self) -> Vec<u32> {
        let mut weights = self.weights.clone();
        weights.resize(weights.len() + TILE * STEP, 0);
        weights
    }
}

/// Rows in whole tiles, and what keeps columns in different banks of shared memory, as in the kernels.
pub const fn stride_of(rows: usize) -> usize {
    rows.next_multiple_of(TILE) + 8
}

/// The input within a step of the `i`-th value, eight to a lane: four that follow each other, the first two for either
/// output and then the others. Which they are is free, as long as the values that a lane brings are those.
fn input_of(i: usize) -> usize {
    i / OF_LANE % 4 * 4 + i % OF_LANE / 4 * 2 + i % 2
}

/// The output within a tile of the `i`-th value. A lane has two that follow each other.
fn output_of(i: usize) -> usize {
    i / OF_LANE / 4 * 2 + i / 2 % 2
}

/// The power of two that takes the largest value to the top of what f16 holds, so that its steps at the bottom are small
/// beside the values.
fn scale_of(values: &[f32]) -> f32 {
    const TOP: i32 = 14;
    /// Neither a scale nor its inverse leaves f32.
    const MOST: i32 = 100;
    let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 {
        return 1.0;
    }
    2f32.powi((TOP - largest.log2().floor() as i32).clamp(-MOST, MOST))
}

/// The nearest f16, and that of the rest, as in the kernels.
fn split(value: f32) -> [f16; 2] {
    let high = f16::from_f32(value);
    [high, f16::from_f32(value - high.to_f32())]
}

/// A part of two values that follow each other, the first in the lower bits.
fn packed(pair: &[[f16; 2]], part: usize) -> u32 {
    u32::from(pair[0][part].to_bits()) | u32::from(pair[1][part].to_bits()) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_keep_all_but_the_last_bit() {
        for i in 0..10_000 {
            let value = (i as f32 * 0.37).sin() * 3f32.powi(i % 20 - 10);
            let [high, low] = split(value).map(f16::to_f32);
            let most = (value.abs() * 2f32.powi(-23)).max(2f32.powi(-25));
            assert!((value - high - low).abs() <= most, "{value}");
        }
        assert_eq!(split(0.0), [f16::ZERO; 2]);
    }

    #[test]
    fn scales_take_the_largest_value_to_the_top() {
        for largest in [1e-20f32, 0.3, 1.0, 1.999, 2.0, 70_000.0, 1e20] {
            let scaled = largest * scale_of(&[0.1 * largest, -largest]);
            assert!((16_384.0..32_768.0).contains(&scaled), "{largest} {scaled}");
        }
        assert_eq!(scale_of(&[0.0]), 1.0);
        assert!(f32::MIN_POSITIVE * scale_of(&[f32::MIN_POSITIVE]) > 0.0);
    }

    fn layers(sizes: [usize; 3], weight: impl Fn(usize, usize, usize) -> f32) -> Layers {
        let mut layers = Layers::default();
        layers.add(sizes, weight, |output| output as f32);
        layers
    }

    /// The record of a layer without the scale.
    fn record(layers: &Layers) -> &[u32] {
        &layers.records[..6]
    }

    #[test]
    fn half_precision_takes_one_part() {
        let weight = |tap: usize, input: usize, output: usize| {
            f16::from_f32((tap * 31 + input * 7 + output) as f32 * 1e-3 - 0.1).to_f32()
        };
        assert_eq!(record(&layers([3, 17, 17], weight)), [0, 0, 3, 2, 2, 1]);
        assert_eq!(record(&layers([3, 17, 17], |t, i, o| weight(t, i, o) / 3.0))[5], 2);
    }

    #[test]
    fn every_weight_has_a_place() {
        let value = |tap: usize, input: usize, output: usize| (tap * 1000 + input * 32 + output + 1) as f32;
        let found = layers([2, 19, 20], value);
        assert_eq!(record(&found), [0, 0, 2, 2, 2, 1]);
        assert_eq!(found.biases[..20], std::array::from_fn::<f32, 20, _>(|i| i as f32));
        assert_eq!(found.biases[20..], [0.0; 12]);
        let scale = f32::from_bits(found.records[6]);
        let halves = found.weights.iter().flat_map(|pair| [*pair as u16, (pair >> 16) as u16]);
        let mut values: Vec<f32> = halves.map(|half| f16::from_bits(half).to_f32() * scale).collect();
        values.sort_by(f32::total_cmp);
        let zeros = 2 * 2 * 2 * TILE * STEP - 2 * 19 * 20;
        assert!(values[..zeros].iter().all(|weight| *weight == 0.0));
        let mut weights: Vec<f32> = (0..2 * 19 * 20).map(|i| value(i / 380, i / 20 % 19, i % 20)).collect();
        weights.sort_by(f32::total_cmp);
        assert_eq!(values[zeros..], weights);
        assert_eq!(found.weights()[found.weights.len()..], [0; 2 * LANES * 4]);
    }
}
