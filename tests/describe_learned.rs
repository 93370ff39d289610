//! The learned descriptor.

mod common;

use std::f64::consts::TAU;
use std::ops::Range;
use std::path::Path;

use common::emulated::emulated;
use common::found::{on_every_backend, on_every_device, on_one_device};
use common::patches::{
    Description, UPRIGHT, any_frames, circular_share, corners, distance, download_features, matrix,
    normalised, patches, share, turned, upload_patches, widened,
};
use common::{Golden, cube, one_and_two_threads, random};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::stages::describe::learned::{
    Architecture, CellFeatures, DescribeLearned, FEATURE_ORDER, FEATURES, HARMONICS, Layer, RAW_FEATURES,
    RAW_HARMONICS, SECTOR, Weights,
};
use coregister::stages::describe::{AZIMUTHS, ELEVATIONS, RADII, RINGS};
use coregister::stages::frame::Frame;
use coregister::stages::patch::PATCH_CAPACITY;
use half::f16;
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

fn described<B: DescribeLearned>(
    backend: &B,
    weights: &Weights,
    rows: &[Vec<Point>],
    frames: &[Frame],
) -> Vec<Description> {
    let network = backend.load_network(weights).unwrap();
    let patches = upload_patches(backend, rows);
    let features = backend.describe_learned(&patches, backend.upload(frames).unwrap(), &network).unwrap();
    let Architecture { width, rings, .. } = weights.architecture;
    assert_eq!((features.width, features.rings), (width, rings));
    assert_eq!(backend.download(&features.frames).unwrap(), frames);
    download_features(backend, &features, rows.len(), rings * AZIMUTHS)
}

// The formulas once more, slowly and in f64. A signal has one row of channels per sector.

type Signal = Vec<Vec<f64>>;

/// Features of all cells, `ring · FEATURES + feature` in every sector.
fn features_of(points: &[Point], frame: &Frame) -> Signal {
    let turn = matrix(frame).transpose();
    let points: Vec<_> = points.iter().map(|p| turn * Vector3::from(p.map(f64::from))).collect();
    let ring = |sector, ring| cell_features(&points, ring / ELEVATIONS, ring % ELEVATIONS, sector);
    (0..AZIMUTHS).map(|sector| (0..RINGS).flat_map(|r| ring(sector, r)).collect()).collect()
}

fn cell_features(points: &[Vector3<f64>], shell: usize, band: usize, sector: usize) -> [f64; FEATURES] {
    let radius = (shell as f64 + 0.5) / RADII as f64;
    let sine = (band as f64 + 0.5) / ELEVATIONS as f64 * 2.0 - 1.0;
    let centre = Vector3::new(radius * (1.0 - sine * sine).sqrt(), 0.0, radius * sine);
    let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), -TAU * sector as f64 / AZIMUTHS as f64);
    let mut sums = [0.0; 10];
    for p in points.iter().filter(|p| p.norm() > 1e-4) {
        let weight = share(p.norm() * RADII as f64 - 0.5, shell, RADII)
            * share((p.z / p.norm() + 1.0) / 2.0 * ELEVATIONS as f64 - 0.5, band, ELEVATIONS)
            * circular_share(p.y.atan2(p.x) / TAU * AZIMUTHS as f64, sector, AZIMUTHS);
        let d = turn * p - centre;
        let terms = [1.0, d.x, d.y, d.z, d.x * d.x, d.y * d.y, d.z * d.z, d.x * d.y, d.x * d.z, d.y * d.z];
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += weight * term;
        }
    }
    let (occupancy, per_length) = (sums[0], RADII as f64);
    std::array::from_fn(|feature| match feature {
        0 => occupancy / (occupancy + 1.0),
        1..4 => sums[feature] / (occupancy + 1.0) * per_length,
        4..10 => sums[feature] / (occupancy + 1.0) * per_length * per_length,
        _ => (1.0 + occupancy * 511.0 / points.len().max(1) as f64).ln() / 3.0,
    })
}

fn apply(layer: &Layer, inputs: &[f64]) -> Vec<f64> {
    let rows = layer.weight.chunks(layer.inputs).zip(&layer.bias);
    let output = |(row, bias): (&[f32], &f32)| {
        assert_eq!(row.len(), inputs.len());
        row.iter().zip(inputs).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*bias)
    };
    rows.map(output).collect()
}

fn rectified(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| x.max(0.0)).collect()
}

fn convolve(layer: &Layer, signal: &Signal, dilation: usize) -> Signal {
    let taps = |sector: usize| {
        [AZIMUTHS - dilation, 0, dilation].map(|step| signal[(sector + step) % AZIMUTHS].clone()).concat()
    };
    let residual = |sector: usize| rectified(apply(layer, &taps(sector)));
    let sum = |sector: usize| signal[sector].iter().zip(residual(sector)).map(|(h, r)| h + r).collect();
    (0..AZIMUTHS).map(sum).collect()
}

/// Moduli of one harmonic of every channel.
fn moduli(signal: &Signal, harmonic: usize) -> Vec<f64> {
    let modulus = |channel: usize| {
        let part = |trigonometric: fn(f64) -> f64| -> f64 {
            let angle = |a: usize| TAU * (harmonic * a) as f64 / AZIMUTHS as f64;
            signal.iter().enumerate().map(|(a, row)| row[channel] * trigonometric(angle(a))).sum()
        };
        let (real, imaginary) = (part(f64::cos) / AZIMUTHS as f64, part(f64::sin) / AZIMUTHS as f64);
        (real * real + imaginary * imaginary + 1e-8).sqrt()
    };
    (0..signal[0].len()).map(modulus).collect()
}

fn raw_signal(features: &Signal) -> Signal {
    let raw = |cell: &[f64]| RAW_FEATURES.map(|f| if f == 0 { cell[f].max(0.0).sqrt() } else { cell[f] });
    features.iter().map(|row| row.chunks(FEATURES).flat_map(raw).collect()).collect()
}

/// Invariant and equivariant part, by the formulas, of the features of a patch.
fn description_of(weights: &Weights, features: &Signal) -> (Vec<f64>, Vec<f64>) {
    let mut signal: Signal = features.iter().map(|row| rectified(apply(&weights.stem, row))).collect();
    for (layer, dilation) in weights.convolutions.iter().zip(&weights.architecture.dilations) {
        signal = convolve(layer, &signal, *dilation);
    }
    let rows: Signal = signal.iter().map(|row| apply(&weights.equivariant, row)).collect();
    let map =
        (0..weights.architecture.rings).flat_map(|ring| rows.iter().map(move |row| row[ring])).collect();

    let channel = |c: usize| signal.iter().map(move |row| row[c]);
    let channels = 0..weights.architecture.channels;
    let mut pooled: Vec<f64> = channels.clone().map(|c| channel(c).sum::<f64>() / AZIMUTHS as f64).collect();
    pooled.extend(channels.map(|c| channel(c).fold(f64::NEG_INFINITY, f64::max)));
    (1..=HARMONICS).for_each(|harmonic| pooled.extend(moduli(&signal, harmonic)));
    let raw = raw_signal(features);
    (0..RAW_HARMONICS).for_each(|harmonic| pooled.extend(moduli(&raw, harmonic)));
    let scales = weights.pooled_factor.iter().zip(&weights.pooled_summand);
    let scaled = pooled.iter().zip(scales).map(|(x, (f, s))| x * f64::from(*f) + f64::from(*s));
    let pooled: Vec<f64> = scaled.collect();
    let hidden = apply(&weights.output, &rectified(apply(&weights.hidden, &pooled)));
    let sum = hidden.iter().zip(apply(&weights.skip, &pooled)).map(|(h, s)| h + s).collect();
    (normalised(sum), normalised(map))
}

/// A network of unusual sizes with random weights.
fn odd_network() -> Weights {
    random_network(Architecture { channels: 19, dilations: vec![3, 1, 7, 2], rings: 5, hidden: 13, width: 9 })
}

fn random_network(architecture: Architecture) -> Weights {
    let random = &mut random(20);
    let (channels, pooled) = (architecture.channels, architecture.pooled());
    Weights {
        stem: any_layer(random, SECTOR, channels),
        convolutions: architecture
            .dilations
            .iter()
            .map(|_| any_layer(random, 3 * channels, channels))
            .collect(),
        equivariant: any_layer(random, channels, architecture.rings),
        pooled_factor: any_values(random, pooled, 3.0),
        pooled_summand: any_values(random, pooled, 1.0),
        hidden: any_layer(random, pooled, architecture.hidden),
        output: any_layer(random, architecture.hidden, architecture.width),
        skip: any_layer(random, pooled, architecture.width),
        architecture,
    }
}

fn any_values(random: &mut ChaCha8Rng, count: usize, range: f32) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-range..range)).collect()
}

fn any_layer(random: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Layer {
    let range = (3.0 / inputs as f32).sqrt();
    Layer {
        inputs,
        weight: any_values(random, inputs * outputs, range),
        bias: any_values(random, outputs, 0.3),
    }
}

fn networks() -> [Weights; 2] {
    [Weights::built_in().unwrap(), odd_network()]
}

/// Nothing, one point, points in the middle, full patches, corners of cells.
fn all_kinds() -> (Vec<Vec<Point>>, Vec<Frame>) {
    let mut rows = patches(30, 1);
    rows.extend([cube(PATCH_CAPACITY, 1.1, 2), cube(3, 1.1, 3)]);
    let mut frames = any_frames(rows.len(), 4);
    rows.extend(corners());
    rows.extend([
        vec![],
        vec![[0.0; 3]],
        vec![[0.2, 0.1, -0.3]],
        vec![[0.0; 3]; 100],
        vec![[1e-30, 0.0, -1e-30]],
    ]);
    rows.push(vec![[0.5, 0.3, 0.2]; PATCH_CAPACITY]);
    frames.resize(rows.len(), UPRIGHT);
    (rows, frames)
}

fn largest_difference(a: &[f32], b: impl IntoIterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

#[test]
fn cell_features_equal_the_formula() {
    let (rows, frames) = all_kinds();
    // Memory of an earlier patch must not show.
    let mut cells = CellFeatures::default();
    for (i, (points, frame)) in rows.iter().zip(&frames).enumerate() {
        let found = in_file_order(&mut cells, points, frame);
        let expected = features_of(points, frame);
        let error = largest_difference(&found, expected.into_iter().flatten());
        assert!(error < 1e-4, "{i}: {error}");
    }
}

/// Features of all cells of a patch, `ring · FEATURES + feature` in every sector.
fn in_file_order(cells: &mut CellFeatures, points: &[Point], frame: &Frame) -> Vec<f32> {
    let mut features = vec![f32::NAN; AZIMUTHS * SECTOR];
    cells.compute(points, frame, &mut features, SECTOR);
    let place = |feature: usize| FEATURE_ORDER.iter().position(|f| *f == feature).unwrap();
    let sector = |row: &[f32]| -> Vec<f32> {
        (0..SECTOR).map(|i| row[place(i % FEATURES) * RINGS + i / FEATURES]).collect()
    };
    features.chunks(SECTOR).flat_map(sector).collect()
}

/// Patches and what they look like, by the formulas.
struct Case {
    weights: Weights,
    rows: Vec<Vec<Point>>,
    frames: Vec<Frame>,
    expected: Vec<(Vec<f64>, Vec<f64>)>,
}

fn cases() -> [Case; 2] {
    let (rows, frames) = all_kinds();
    let features: Vec<Signal> =
        rows.iter().zip(&frames).map(|(points, frame)| features_of(points, frame)).collect();
    networks().map(|weights| {
        let expected = features.iter().map(|features| description_of(&weights, features)).collect();
        Case { weights, rows: rows.clone(), frames: frames.clone(), expected }
    })
}

fn check<B: DescribeLearned>(backend: &B, cases: &[Case]) {
    for Case { weights, rows, frames, expected } in cases {
        let found = described(backend, weights, rows, frames);
        for (i, ((invariant, equivariant), expected)) in found.iter().zip(expected).enumerate() {
            assert!(invariant.iter().chain(equivariant).all(|x| x.is_finite()), "{i}");
            let errors = [
                largest_difference(invariant, expected.0.iter().copied()),
                largest_difference(equivariant, expected.1.iter().copied()),
            ];
            assert!(errors.iter().all(|error| *error < 1e-4), "{i}: {errors:?}");
            for part in [invariant, equivariant] {
                assert!((widened(part).map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5, "{i}");
            }
        }
        assert!(described(backend, weights, &[], &[]).is_empty());
    }
}

#[test]
fn equals_the_formula() {
    let cases = cases();
    on_every_backend!(|cpu| check(cpu, &cases));
}

fn check_turns<B: DescribeLearned>(backend: &B) {
    let rows = patches(40, 5);
    let frames = any_frames(rows.len(), 6);
    for weights in networks() {
        let expected = described(backend, &weights, &rows, &frames);
        for sector in [1, 7, 10, 19] {
            let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), TAU * sector as f64 / AZIMUTHS as f64);
            let about_the_axis = |(row, frame): (&Vec<Point>, &Frame)| {
                turned(row, &(matrix(frame) * turn * matrix(frame).transpose()))
            };
            let turned: Vec<Vec<Point>> = rows.iter().zip(&frames).map(about_the_axis).collect();
            for (found, expected) in described(backend, &weights, &turned, &frames).iter().zip(&expected) {
                assert!(distance(&found.0, widened(&expected.0)) < 1e-3, "{sector}");
                let before = |i: usize| i - i % AZIMUTHS + (i + AZIMUTHS - sector) % AZIMUTHS;
                let shifted = (0..found.1.len()).map(|i| f64::from(expected.1[before(i)]));
                assert!(distance(&found.1, shifted) < 1e-3, "{sector}");
            }
        }
    }
}

#[test]
fn turns_about_the_axis_shift_the_map() {
    one_and_two_threads().iter().for_each(check_turns);
    // Hundreds of patches.
    on_one_device!(check_turns);
}

#[test]
fn neither_threads_nor_places_show() {
    let (mut rows, mut frames) = all_kinds();
    rows.extend(patches(130, 11));
    frames.extend(any_frames(130, 12));
    for weights in networks() {
        let [one, two] = one_and_two_threads().map(|cpu| described(&cpu, &weights, &rows, &frames));
        assert_eq!(one, two);
        let [cpu, _] = one_and_two_threads();
        rows.reverse();
        frames.reverse();
        let mut reversed = described(&cpu, &weights, &rows, &frames);
        reversed.reverse();
        assert_eq!(one, reversed);
        rows.reverse();
        frames.reverse();
    }
}

/// Other devices add up in another order.
fn assert_agreement(found: &[Description], expected: &[Description]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let errors = [
            largest_difference(&found.0, widened(&expected.0)),
            largest_difference(&found.1, widened(&expected.1)),
        ];
        assert!(errors.iter().all(|error| *error < 1e-5), "{i}: {errors:?}");
    }
}

#[test]
fn agrees_with_the_cpu() {
    let (rows, frames) = all_kinds();
    let [cpu, _] = one_and_two_threads();
    for weights in networks() {
        let expected = described(&cpu, &weights, &rows, &frames);
        let mut all = Vec::new();
        on_every_device!(|device| all.push(described(device, &weights, &rows, &frames)));
        all.iter().for_each(|found| assert_agreement(found, &expected));
        // The order of threads does not show, nor does the place of a patch among others.
        assert!(all[..3].iter().all(|found| *found == all[0]));
        let from = rows.len() - 25;
        let last = described(&emulated()[0], &weights, &rows[from..], &frames[from..]);
        assert_eq!(last, all[0][from..]);
    }
}

#[test]
fn any_number_of_patches_agrees_with_the_cpu() {
    let architecture = Architecture { channels: 4, dilations: vec![1], rings: 2, hidden: 3, width: 5 };
    let weights = random_network(architecture);
    // More than a device takes at a time.
    let rows: Vec<Vec<Point>> = cube(4050, 1.1, 21).chunks(1).map(<[Point]>::to_vec).collect();
    let frames = any_frames(rows.len(), 22);
    let [cpu, _] = one_and_two_threads();
    let expected = described(&cpu, &weights, &rows, &frames);
    on_one_device!(|device| assert_agreement(&described(device, &weights, &rows, &frames), &expected));
}

/// A layer that picks inputs, `factor` of each.
fn picking_layer(inputs: usize, picked: &[(usize, f32)]) -> Layer {
    let mut weight = vec![0.0; inputs * picked.len()];
    for (row, (input, factor)) in weight.chunks_mut(inputs).zip(picked) {
        row[*input] = *factor;
    }
    Layer { inputs, weight, bias: vec![0.0; picked.len()] }
}

/// A network whose equivariant map consists of some of the cell features: of their positive and of their negative values.
fn transparent_network(features: Range<usize>) -> Weights {
    let channels = 2 * features.len();
    let architecture = Architecture { channels, dilations: vec![], rings: channels, hidden: 1, width: 1 };
    let pooled = architecture.pooled();
    let features: Vec<_> = [1.0, -1.0].iter().flat_map(|sign| features.clone().map(|i| (i, *sign))).collect();
    let all: Vec<_> = (0..channels).map(|i| (i, 1.0)).collect();
    Weights {
        stem: picking_layer(SECTOR, &features),
        convolutions: vec![],
        equivariant: picking_layer(channels, &all),
        pooled_factor: vec![1.0; pooled],
        pooled_summand: vec![0.0; pooled],
        hidden: picking_layer(pooled, &[(0, 1.0)]),
        output: picking_layer(1, &[(0, 1.0)]),
        skip: picking_layer(pooled, &[(1, 1.0)]),
        architecture,
    }
}

/// A value in two parts, the nearest f16 and that of the rest, as devices multiply it.
fn in_two_parts(value: f32) -> f32 {
    let high = f16::from_f32(value).to_f32();
    high + f16::from_f32(value - high).to_f32()
}

/// The map of that network but for a factor, from the features that the CPU computes.
fn transparent_map(points: &[Point], frame: &Frame, features: &Range<usize>) -> Vec<f32> {
    let all = in_file_order(&mut CellFeatures::default(), points, frame);
    let row = |(sign, feature): (f32, usize)| -> Vec<f32> {
        all.chunks(SECTOR).map(|sector| in_two_parts(sign * sector[feature]).max(0.0)).collect()
    };
    [1.0, -1.0].iter().flat_map(|sign| features.clone().map(|i| (*sign, i))).flat_map(row).collect()
}

/// The features are the CPU's to the bit.
#[test]
fn cell_features_agree_with_the_cpu() {
    let (rows, frames) = all_kinds();
    let some: Vec<usize> = (0..rows.len()).filter(|i| i % 5 == 0 || *i >= 30).collect();
    let rows: Vec<_> = some.iter().map(|i| rows[*i].clone()).collect();
    let frames: Vec<_> = some.iter().map(|i| frames[*i]).collect();
    // As many at a time as fit into a device's channels, in the order of the weights: all features of some rings.
    for first in (0..SECTOR).step_by(4 * FEATURES) {
        let features = first..first + 4 * FEATURES;
        let weights = transparent_network(features.clone());
        let expected = rows.iter().zip(&frames).map(|(row, frame)| transparent_map(row, frame, &features));
        let expected: Vec<_> = expected.collect();
        on_one_device!(|device| {
            assert_equal_but_for_a_factor(&described(device, &weights, &rows, &frames), &expected)
        });
    }
}

#[test]
fn too_large_networks_are_refused() {
    let sizes = |channels, hidden| Architecture { channels, dilations: vec![1], rings: 3, hidden, width: 5 };
    let load = |architecture| emulated()[0].load_network(&random_network(architecture)).map(drop);
    load(sizes(144, 620)).unwrap();
    for (architecture, size) in [(sizes(145, 8), "145 channels"), (sizes(8, 630), "656 hidden")] {
        let message = load(architecture).unwrap_err().to_string();
        assert!(message.contains(size) && message.contains("use the device cpu"), "{message}");
    }
}

fn assert_equal_but_for_a_factor(found: &[Description], expected: &[Vec<f32>]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let pairs = found.1.iter().zip(expected).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        assert!(pairs.clone().all(|(found, expected)| (found == 0.0) == (expected == 0.0)), "{i}");
        let ratios = pairs.filter(|(_, expected)| *expected != 0.0).map(|(found, expected)| found / expected);
        let (least, largest) = ratios.fold((f64::INFINITY, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
        // Equal but for one factor, and two quotients are rounded; a real device's two layers may each cut off 2⁻²³ of
        // either sum.
        assert!(largest / least < 1.0 + 3e-7 + 4.0 * 2f64.powi(-23), "{i}: {least} {largest}");
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    const ROW: usize = 511;
    let folder = std::env::var_os("COREGISTER_TESTDATA").expect("COREGISTER_TESTDATA names the test data");
    let weights = Path::new(&folder).join("prototypes/compact/compact.safetensors");
    let weights = Weights::read(&weights).unwrap();
    let golden = Golden::open_file("prototypes/compact/golden_compact.safetensors");
    let (points, count) = (golden.points("patches"), golden.integers("count"));
    let row = |i: usize| points[i * ROW..][..count[i] as usize].to_vec();
    let rows: Vec<Vec<Point>> = (0..count.len()).map(row).collect();
    check_reference_features(&golden, &rows);

    check_reference(&Cpu::new(0).unwrap(), &weights, &golden, &rows);
    on_one_device!(|device| check_reference(device, &weights, &golden, &rows));
}

fn check_reference<B: DescribeLearned>(backend: &B, weights: &Weights, golden: &Golden, rows: &[Vec<Point>]) {
    let found = described(backend, weights, rows, &vec![UPRIGHT; rows.len()]);
    let (invariant, equivariant) = (golden.floats("desc"), golden.floats("equi"));
    let parts = invariant.chunks(weights.architecture.width).zip(equivariant.chunks(found[0].1.len()));
    for (i, (found, expected)) in found.iter().zip(parts).enumerate() {
        let errors = [
            largest_difference(&found.0, widened(expected.0)),
            largest_difference(&found.1, widened(expected.1)),
        ];
        assert!(errors.iter().all(|error| *error < 1e-4), "{i}: {errors:?}");
    }
}

fn check_reference_features(golden: &Golden, rows: &[Vec<Point>]) {
    let mut cells = CellFeatures::default();
    for (name, first) in [("features8", 0), ("features_last4", rows.len() - 4)] {
        for (i, expected) in golden.floats(name).chunks(AZIMUTHS * SECTOR).enumerate() {
            let found = in_file_order(&mut cells, &rows[first + i], &UPRIGHT);
            let error = largest_difference(&found, widened(expected));
            assert!(error < 1e-4, "{name} {i}: {error}");
        }
    }
}
