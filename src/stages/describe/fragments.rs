//! Weights as the tensor cores take them: for every tile of 16 outputs and step of 8 inputs what each lane of a warp
//! brings, so that a warp reads 512 bytes in a row. See `kernels/tensor.cuh`.

/// Outputs of a tile, inputs of a step, lanes of a warp.
pub const TILE: usize = 16;
pub const STEP: usize = 8;
const LANES: usize = 32;

/// Layers of a network, one after another.
#[derive(Default)]
pub struct Layers {
    /// Of each layer tiles × taps × steps × parts × lanes × four values; outputs and inputs that there are none of have
    /// zeros.
    pub weights: Vec<f32>,
    /// Of each layer a bias for every output of its tiles.
    pub biases: Vec<f32>,
    /// Of each layer the kernels' `Layer`.
    pub records: Vec<u32>,
}

impl Layers {
    /// A layer of `taps` × `inputs` × `outputs`, where `weight(tap, input, output)` and `bias(output)` are its values.
    ///
    /// The weights are in one part where all are TF32, else in two: the nearest TF32, and that of the rest.
    pub fn add(
        &mut self,
        [taps, inputs, outputs]: [usize; 3],
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) {
        let (steps, tiles) = (inputs.div_ceil(STEP), outputs.div_ceil(TILE));
        let places = (0..tiles * taps * steps).flat_map(|number| {
            let (tile, tap, step) = (number / (taps * steps), number / steps % taps, number % steps);
            (0..LANES * 4).map(move |i| (tap, step * STEP + input_of(i), tile * TILE + output_of(i)))
        });
        let value = |(tap, input, output): (usize, usize, usize)| {
            if input < inputs && output < outputs { weight(tap, input, output) } else { 0.0 }
        };
        let split: Vec<[f32; 2]> = places.map(value).map(split).collect();
        let parts = if split.iter().all(|parts| parts[1] == 0.0) { 1 } else { 2 };
        let record = [self.weights.len() / 4, self.biases.len(), taps, steps, tiles, parts];
        self.records.extend(record.map(|number| number as u32));
        let of_part = |part: usize| move |parts: &[f32; 2]| parts[part];
        for step in split.chunks(LANES * 4) {
            (0..parts).for_each(|part| self.weights.extend(step.iter().map(of_part(part))));
        }
        self.biases.extend((0..tiles * TILE).map(|output| if output < outputs { bias(output) } else { 0.0 }));
    }
}

/// Rows in whole tiles, and what keeps columns in different banks of shared memory, as in the kernels.
pub const fn stride_of(rows: usize) -> usize {
    rows.next_multiple_of(TILE) + 8
}

/// The input within a step of the `i`-th value, four to a lane. The instruction gives a lane inputs four apart; which
/// they are is free, and those of the values follow each other.
fn input_of(i: usize) -> usize {
    i / 4 % 4 * 2 + i % 4 / 2
}

/// The output within a tile of the `i`-th value.
fn output_of(i: usize) -> usize {
    i / 16 + i % 2 * 8
}

/// The nearest TF32, and that of the rest, as in the kernels.
fn split(value: f32) -> [f32; 2] {
    const TF32: u32 = 0xffff_e000;
    let high = f32::from_bits((value.to_bits() + 0x1000) & TF32);
    [high, f32::from_bits((value - high).to_bits() & TF32)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_keep_all_but_the_last_bit() {
        for i in 0..10_000 {
            let value = (i as f32 * 0.37).sin() * 3f32.powi(i % 20 - 10);
            let [high, low] = split(value);
            assert!((value - high - low).abs() <= value.abs() * 2f32.powi(-23), "{value}");
            assert_eq!([high, low].map(|part| part.to_bits() & 0x1fff), [0, 0]);
        }
        assert_eq!(split(0.0), [0.0, 0.0]);
    }

    fn layers(sizes: [usize; 3], weight: impl Fn(usize, usize, usize) -> f32) -> Layers {
        let mut layers = Layers::default();
        layers.add(sizes, weight, |output| output as f32);
        layers
    }

    #[test]
    fn half_precision_takes_one_part() {
        let weight = |tap: usize, input: usize, output: usize| {
            half::f16::from_f32((tap * 31 + input * 7 + output) as f32 * 1e-3 - 0.1).to_f32()
        };
        assert_eq!(layers([3, 9, 17], weight).records, [0, 0, 3, 2, 2, 1]);
        assert_eq!(layers([3, 9, 17], |t, i, o| weight(t, i, o) / 3.0).records[5], 2);
    }

    #[test]
    fn every_weight_has_a_place() {
        let value = |tap: usize, input: usize, output: usize| (tap * 1000 + input * 32 + output + 1) as f32;
        let mut found = layers([2, 11, 20], value);
        assert_eq!(found.records, [0, 0, 2, 2, 2, 1]);
        assert_eq!(found.biases[..20], std::array::from_fn::<f32, 20, _>(|i| i as f32));
        assert_eq!(found.biases[20..], [0.0; 12]);
        found.weights.sort_by(f32::total_cmp);
        let zeros = 2 * (2 * 2 * 128 - 11 * 20);
        assert!(found.weights[..zeros].iter().all(|weight| *weight == 0.0));
        let mut weights: Vec<f32> = (0..2 * 11 * 20).map(|i| value(i / 220, i / 20 % 11, i % 20)).collect();
        weights.sort_by(f32::total_cmp);
        assert_eq!(found.weights[zeros..], weights);
    }
}
