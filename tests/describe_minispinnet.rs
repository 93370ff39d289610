//! The published network.

mod common;

use std::f64::consts::{PI, TAU};
use std::path::PathBuf;

use common::emulated::emulated;
use common::found::{found, on_one_device};
use common::patches::{
    Description, UPRIGHT, any_frames, corners, distance, download_features, matrix, patches, turned,
    upload_patches, widened,
};
use common::{Golden, cube, one_and_two_threads, random};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::stages::describe::learned::Layer;
use coregister::stages::describe::minispinnet::{
    ATTENTION_CHANNELS, CELLS, CHANNELS, DescribeMiniSpinNet, MAP_RINGS, MOST_POINTS, POINT_CHANNELS,
    SAMPLES, SHELLS, Sampling, Steps, WIDTH, Weights,
};
use coregister::stages::describe::{AZIMUTHS, ELEVATIONS};
use coregister::stages::frame::Frame;
use coregister::stages::patch::{GatherPatches, PATCH_CAPACITY};
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const MAP_CELLS: usize = ELEVATIONS * AZIMUTHS;

fn described<B: DescribeMiniSpinNet>(
    backend: &B,
    weights: &Weights,
    rows: &[Vec<Point>],
    frames: &[Frame],
) -> Vec<Description> {
    let network = backend.load_minispinnet(weights).unwrap();
    let patches = upload_patches(backend, rows);
    let features = backend.describe_minispinnet(&patches, backend.upload(frames).unwrap(), &network).unwrap();
    assert_eq!((features.width, features.rings), (WIDTH, MAP_RINGS));
    assert_eq!(backend.download(&features.frames).unwrap(), frames);
    download_features(backend, &features, rows.len(), MAP_RINGS * AZIMUTHS)
}

// The formulas once more, slowly and in f64. A map is channels × elevations × azimuths.

/// The points of a cell, filled up, in its own frame.
fn points_of(points: &[Point], frame: &Frame, cell: usize) -> Vec<Vector3<f64>> {
    let (shell, elevation, azimuth) = (cell / MAP_CELLS, cell / AZIMUTHS % ELEVATIONS, cell % AZIMUTHS);
    let distance = (shell as f64 + 0.5) / SHELLS as f64;
    let from_axis = PI * (elevation as f64 + 0.5) / ELEVATIONS as f64;
    let around = TAU * (azimuth as f64 + 0.5) / AZIMUTHS as f64;
    let (sin, cos) = from_axis.sin_cos();
    let centre = Vector3::new(sin * around.cos(), sin * around.sin(), cos) * distance;
    let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), -TAU * azimuth as f64 / AZIMUTHS as f64);
    let in_frame = |p: &Point| matrix(frame).transpose() * Vector3::from(p.map(f64::from));
    let near = points.iter().take(MOST_POINTS).map(in_frame).enumerate();
    let near = near.filter(|(_, p)| (p - centre).norm() < 0.8 / 3.0).take(SAMPLES);
    let mut samples: Vec<_> =
        near.map(|(place, p)| if place == 0 { Vector3::zeros() } else { turn * p }).collect();
    samples.resize(SAMPLES, Vector3::zeros());
    samples
}

/// The channels of all cells, channel by channel, in it shell by shell.
fn cells_of(weights: &Weights, points: &[Point], frame: &Frame) -> Vec<f64> {
    let samples: Vec<_> = (0..CELLS).map(|cell| points_of(points, frame, cell)).collect();
    let value = |channel: usize, point: &Vector3<f64>| {
        let row = &weights.points.weight[3 * channel..];
        let products = (0..3).map(|k| f64::from(row[k]) * point[k]);
        (products.sum::<f64>() + f64::from(weights.points.bias[channel])).max(0.0)
    };
    let largest =
        |channel: usize, cell: usize| samples[cell].iter().map(|p| value(channel, p)).fold(0.0, f64::max);
    (0..POINT_CHANNELS)
        .flat_map(|channel| (0..CELLS).map(move |cell| (channel, cell)))
        .map(|(c, i)| largest(c, i))
        .collect()
}

/// A kernel of 3 × 3 over a map, without the rectification.
fn convolved(layer: &Layer, map: &[f64]) -> Vec<f64> {
    let channels = map.len() / MAP_CELLS;
    assert_eq!(layer.inputs, channels * 9);
    let value = |output: usize, elevation: usize, azimuth: usize| {
        let mut sum = f64::from(layer.bias[output]);
        for (i, weight) in layer.weight[output * layer.inputs..][..layer.inputs].iter().enumerate() {
            let (channel, up, around) = (i / 9, i / 3 % 3, i % 3);
            let row = (elevation + up).wrapping_sub(1);
            if row < ELEVATIONS {
                let column = (azimuth + around + AZIMUTHS - 1) % AZIMUTHS;
                sum += f64::from(*weight) * map[channel * MAP_CELLS + row * AZIMUTHS + column];
            }
        }
        sum
    };
    let outputs = layer.bias.len();
    (0..outputs * MAP_CELLS).map(|i| value(i / MAP_CELLS, i / AZIMUTHS % ELEVATIONS, i % AZIMUTHS)).collect()
}

fn applied(layer: &Layer, inputs: &[f64]) -> Vec<f64> {
    let rows = layer.weight.chunks(layer.inputs).zip(&layer.bias);
    rows.map(|(row, bias)| {
        row.iter().zip(inputs).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*bias)
    })
    .collect()
}

fn rectified(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| x.max(0.0)).collect()
}

fn attention_of(weights: &Weights, map: &[f64], cell: usize) -> f64 {
    let channels: Vec<f64> = map.iter().skip(cell).step_by(MAP_CELLS).copied().collect();
    let [hidden, attention] = &weights.attention;
    rectified(applied(attention, &rectified(applied(hidden, &channels))))[0]
}

/// The last map and its attention, by the formulas.
fn map_of(weights: &Weights, points: &[Point], frame: &Frame) -> (Vec<f64>, Vec<f64>) {
    let mut map = cells_of(weights, points, frame);
    for (i, layer) in weights.convolutions.iter().enumerate() {
        map = convolved(layer, &map);
        if i + 1 < weights.convolutions.len() {
            map = rectified(map);
        }
    }
    let attention = (0..MAP_CELLS).map(|cell| attention_of(weights, &map, cell)).collect();
    (map, attention)
}

/// Invariant and equivariant part, by the formulas.
fn description_of(weights: &Weights, points: &[Point], frame: &Frame) -> (Vec<f64>, Vec<f64>) {
    let (map, attention) = map_of(weights, points, frame);
    let attended =
        |row: &[f64]| row.iter().zip(&attention).map(|(x, a)| x * a).sum::<f64>() / MAP_CELLS as f64;
    let invariant = common::patches::normalised(map.chunks(MAP_CELLS).map(attended).collect());
    let norm = |cell: usize| map.iter().skip(cell).step_by(MAP_CELLS).map(|x| x * x).sum::<f64>().sqrt();
    let norms: Vec<f64> = (0..MAP_CELLS).map(norm).collect();
    let normalised = map.iter().enumerate().map(|(i, x)| x / norms[i % MAP_CELLS]).collect();
    (invariant, normalised)
}

fn any_layer(random: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Layer {
    let range = (6.0 / inputs as f32).sqrt();
    let mut values =
        |count: usize, range: f32| (0..count).map(|_| random.random_range(-range..range)).collect();
    Layer { inputs, weight: values(inputs * outputs, range), bias: values(outputs, 0.1) }
}

fn any_weights(seed: u64) -> Weights {
    let random = &mut random(seed);
    Weights {
        points: any_layer(random, 3, POINT_CHANNELS),
        convolutions: CHANNELS.windows(2).map(|pair| any_layer(random, 9 * pair[0], pair[1])).collect(),
        attention: [any_layer(random, WIDTH, ATTENTION_CHANNELS), any_layer(random, ATTENTION_CHANNELS, 1)],
        cost_volume: None,
    }
}

/// Nothing, one point, points in the middle, full patches.
fn all_kinds() -> (Vec<Vec<Point>>, Vec<Frame>) {
    let mut rows = patches(7, 1);
    rows.extend([cube(PATCH_CAPACITY, 1.1, 2), cube(3, 1.1, 3)]);
    let mut frames = any_frames(rows.len(), 4);
    rows.extend(corners());
    rows.extend([vec![], vec![[0.0; 3]], vec![[0.2, 0.1, -0.3]], vec![[0.0; 3]; 100]]);
    rows.push(vec![[0.5, 0.3, 0.2]; PATCH_CAPACITY]);
    frames.resize(rows.len(), UPRIGHT);
    (rows, frames)
}

fn largest_difference(a: &[f32], b: impl IntoIterator<Item = f64>) -> f64 {
    let mut others = b.into_iter();
    let worst = a.iter().zip(&mut others).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(others.next().is_none());
    worst
}

fn check<B: DescribeMiniSpinNet>(backend: &B) {
    let (rows, frames) = all_kinds();
    let weights = any_weights(5);
    for (i, (invariant, equivariant)) in described(backend, &weights, &rows, &frames).iter().enumerate() {
        let expected = description_of(&weights, &rows[i], &frames[i]);
        assert!(invariant.iter().chain(equivariant).all(|x| x.is_finite()), "{i}");
        let errors = [largest_difference(invariant, expected.0), largest_difference(equivariant, expected.1)];
        assert!(errors.iter().all(|error| *error < 1e-4), "{i}: {errors:?}");
    }
    assert!(described(backend, &weights, &[], &[]).is_empty());
}

#[test]
fn equals_the_formula() {
    one_and_two_threads().iter().for_each(check);
}

/// What a value may be off by on a real device, whose tensor cores cut off what is below the last bit of a sum: on an H200
/// up to 2.2e-5 after eight layers.
const ON_TENSOR_CORES: f64 = 5e-5;

/// Devices sum up in different orders; so do CPU and formula, which lie further apart.
#[test]
fn agrees_with_the_cpu() {
    let (rows, frames) = all_kinds();
    let weights = any_weights(9);
    let [cpu, _] = one_and_two_threads();
    let expected = described(&cpu, &weights, &rows, &frames);
    let check = |found: Vec<Description>, tolerance| {
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let errors = [
                largest_difference(&found.0, widened(&expected.0)),
                largest_difference(&found.1, widened(&expected.1)),
            ];
            assert!(errors.iter().all(|error| *error < tolerance), "{i}: {errors:?}");
        }
    };
    let [_, _, device] = emulated();
    check(described(&device, &weights, &rows, &frames), 2e-6);
    found().iter().for_each(|device| check(described(device, &weights, &rows, &frames), ON_TENSOR_CORES));
}

#[test]
fn the_order_of_threads_does_not_show() {
    let (rows, frames) = all_kinds();
    let weights = any_weights(9);
    let [ascending, others @ ..] = emulated();
    let expected = described(&ascending, &weights, &rows[6..9], &frames[6..9]);
    for device in others {
        assert_eq!(described(&device, &weights, &rows[6..9], &frames[6..9]), expected);
        assert!(described(&device, &weights, &[], &[]).is_empty());
    }
}

fn check_zeros<B: DescribeMiniSpinNet>(backend: &B) {
    let mut weights = any_weights(6);
    for layer in weights.convolutions.iter_mut().chain(&mut weights.attention) {
        layer.weight.fill(0.0);
        layer.bias.fill(0.0);
    }
    for (invariant, equivariant) in described(backend, &weights, &patches(3, 6), &[UPRIGHT; 3]) {
        assert!(invariant.iter().chain(&equivariant).all(|x| *x == 0.0));
    }
}

#[test]
fn weights_of_zero_give_finite_values() {
    let [cpu, _] = one_and_two_threads();
    check_zeros(&cpu);
    on_one_device!(check_zeros);
}

#[test]
fn neither_threads_nor_places_show() {
    let (mut rows, mut frames) = all_kinds();
    let weights = any_weights(7);
    let [one, two] = one_and_two_threads().map(|cpu| described(&cpu, &weights, &rows, &frames));
    assert_eq!(one, two);
    let [cpu, _] = one_and_two_threads();
    rows.reverse();
    frames.reverse();
    let mut reversed = described(&cpu, &weights, &rows, &frames);
    reversed.reverse();
    assert_eq!(one, reversed);
}

#[test]
fn turns_about_the_axis_shift_the_map() {
    let [_, cpu] = one_and_two_threads();
    let (rows, weights) = (patches(6, 8), any_weights(8));
    let frames = vec![UPRIGHT; rows.len()];
    let expected = described(&cpu, &weights, &rows, &frames);
    for azimuth in [1, 7, 19] {
        let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), TAU * azimuth as f64 / AZIMUTHS as f64);
        let turned: Vec<_> = rows.iter().map(|row| turned(row, turn.matrix())).collect();
        for (found, expected) in described(&cpu, &weights, &turned, &frames).iter().zip(&expected) {
            assert!(distance(&found.0, widened(&expected.0)) < 1e-3, "{azimuth}");
            let before = |i: usize| i - i % AZIMUTHS + (i + AZIMUTHS - azimuth) % AZIMUTHS;
            let shifted = (0..found.1.len()).map(|i| f64::from(expected.1[before(i)]));
            assert!(distance(&found.1, shifted) / (MAP_CELLS as f64).sqrt() < 1e-3, "{azimuth}");
        }
    }
}

// Against the original's own values.

fn checkpoint(name: &str) -> Weights {
    let folder = std::env::var_os("COREGISTER_TESTDATA").expect("COREGISTER_TESTDATA names the test data");
    let path = PathBuf::from(folder).join(format!("weights/buffer_{name}_folded.safetensors"));
    Weights::parse(&std::fs::read(&path).unwrap(), &path).unwrap()
}

/// The points of the patches that the reference holds as rows of 512 slots, without the padding.
fn reference_patches(golden: &Golden, patches: &str, ball_counts: &[u32]) -> Vec<Vec<Point>> {
    let rows = golden.points(patches);
    let row = |(slots, count): (&[Point], &u32)| slots[..MOST_POINTS.min(*count as usize)].to_vec();
    rows.chunks(PATCH_CAPACITY).zip(ball_counts).map(row).collect()
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn samples_equal_the_reference() {
    let golden = Golden::open("scale1");
    let rows = reference_patches(&golden, "src_patches64", &golden.integers("src_ball_count"));
    let (places, points) = (golden.integers("src_spt_idx16"), golden.points("src_spt16"));
    let mut sampling = Sampling::default();
    for (i, row) in rows.iter().take(16).enumerate() {
        sampling.load(row, &UPRIGHT);
        for cell in 0..CELLS {
            let at = (i * CELLS + cell) * SAMPLES;
            let slots = places[at..][..SAMPLES].iter().map(|slot| *slot as usize);
            let repeats = slots.clone().skip(1).filter(|slot| *slot == places[at] as usize).count();
            // Slots behind the patch's points are padding; a lone zero may stand for no point at all.
            let expected: Vec<_> = slots.take(SAMPLES - repeats).filter(|slot| *slot < row.len()).collect();
            let found = sampling.places(cell);
            assert!(
                found == expected || (found.is_empty() && expected == [0]),
                "{i} {cell}: {found:?} {expected:?}"
            );
            let expected = points[at..][..SAMPLES].as_flattened();
            let error = largest_difference(sampling.points(cell).as_flattened(), widened(expected));
            assert!(error < 1e-6, "{i} {cell}: {error}");
        }
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn steps_equal_the_reference() {
    let golden = Golden::open("scale1");
    let rows = reference_patches(&golden, "src_patches64", &golden.integers("src_ball_count"));
    let network = Cpu::new(1).unwrap().load_minispinnet(&checkpoint("3dmatch")).unwrap();
    let steps: Vec<Steps> = rows[..16].iter().map(|row| network.steps(row, &UPRIGHT)).collect();
    let part = |name: &str, tolerance: f64, of: fn(&Steps) -> &[f32]| {
        let found = steps.iter().flat_map(of).copied().collect::<Vec<_>>();
        let error = largest_difference(&found, widened(&golden.floats(name)));
        println!("{name}: {error:.2e}");
        assert!(error < tolerance, "{name}: {error}");
    };
    part("src_vox16", 1e-6, |steps| &steps.cells);
    part("src_mid16", 1e-5, |steps| &steps.maps[0]);
    part("src_raw16", 2e-5, |steps| &steps.maps[7]);
    // The reference itself is 2.5e-6 off the exact value; see `rounding_stays_within_the_tolerances`.
    part("src_w16", 5e-6, |steps| &steps.attention);
}

/// Against f64 from the same patches.
#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn rounding_stays_within_the_tolerances() {
    let golden = Golden::open("scale1");
    let rows = reference_patches(&golden, "src_patches64", &golden.integers("src_ball_count"));
    let weights = checkpoint("3dmatch");
    let network = Cpu::new(1).unwrap().load_minispinnet(&weights).unwrap();
    for row in &rows[..4] {
        let (map, attention) = map_of(&weights, row, &UPRIGHT);
        let steps = network.steps(row, &UPRIGHT);
        assert!(largest_difference(&steps.maps[7], map) < 2e-5);
        assert!(largest_difference(&steps.attention, attention) < 3e-6);
    }
}

/// Compares the first patches' descriptions with the reference's.
fn assert_described(golden: &Golden, found: &[Description], name: &str, maps: &str, tolerance: f64) {
    let invariant = golden.floats(name);
    let error = |(found, expected): (&Description, &[f32])| largest_difference(&found.0, widened(expected));
    let of_vectors = found.iter().zip(invariant.chunks(WIDTH)).map(error).fold(0.0, f64::max);
    let maps = golden.floats(maps);
    let error = |(found, expected): (&Description, &[f32])| largest_difference(&found.1, widened(expected));
    let of_maps = found.iter().zip(maps.chunks(MAP_RINGS * AZIMUTHS)).map(error).fold(0.0, f64::max);
    println!("{name}: {of_vectors:.2e}, {of_maps:.2e}");
    assert!(of_vectors < tolerance && of_maps < tolerance, "{name}: {of_vectors} {of_maps}");
}

/// Of at most `count` patches of every cloud.
fn check_descriptions<B: DescribeMiniSpinNet>(backend: &B, count: usize, tolerance: f64) {
    let golden = Golden::open("scale1");
    for (weights, cloud, prefix, maps) in [
        ("3dmatch", "src", "", "equi16"),
        ("3dmatch", "tgt", "", "equi16"),
        ("kitti", "src", "kitti_", "equi4"),
    ] {
        let counts = golden.integers(&format!("{cloud}_ball_count"));
        let mut rows = reference_patches(&golden, &format!("{cloud}_patches64"), &counts);
        rows.truncate(count);
        let found = described(backend, &checkpoint(weights), &rows, &vec![UPRIGHT; rows.len()]);
        let invariant = format!("{prefix}{cloud}_desc{}", if prefix.is_empty() { "" } else { "64" });
        assert_described(&golden, &found, &invariant, &format!("{prefix}{cloud}_{maps}"), tolerance);
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn descriptions_equal_the_reference() {
    check_descriptions(&Cpu::new(0).unwrap(), usize::MAX, 1e-6);
    // Tensor cores multiply parts of values and cut off what is below them, as in `agrees_with_the_cpu`.
    let [_, _, device] = emulated();
    check_descriptions(&device, 4, 2e-6);
    found().iter().for_each(|device| check_descriptions(device, 4, ON_TENSOR_CORES));
}

/// From the cloud on, at all scales, with the reference's frames.
#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn descriptions_of_clouds_equal_the_reference() {
    let cpu = Cpu::new(0).unwrap();
    let (input, weights) = (Golden::open("input"), checkpoint("3dmatch"));
    let network = cpu.load_minispinnet(&weights).unwrap();
    for (scale, radius) in input.floats("radii").into_iter().enumerate() {
        let golden = Golden::open(&format!("scale{scale}"));
        for cloud in ["src", "tgt"] {
            let points = input.points(&format!("{cloud}_pts"));
            let keypoints = input.points(&format!("{cloud}_kpts"));
            let frames = golden.floats(&format!("{cloud}_R")).as_chunks().0.to_vec();
            let patches = cpu.gather_patches(&points, &keypoints, radius).unwrap();
            let features = cpu.describe_minispinnet(&patches, frames, &network).unwrap();
            let expected = golden.floats(&format!("{cloud}_desc"));
            let rows = features.invariant.chunks(WIDTH).zip(expected.chunks(WIDTH));
            let errors: Vec<f64> = rows.map(|(found, expected)| distance(found, widened(expected))).collect();
            let worst = errors.iter().copied().fold(0.0, f64::max);
            println!("{scale} {cloud}: {worst:.2e}");
            // Rounding the other way moves a point across a cell's border now and then.
            let moved = errors.iter().filter(|error| **error > 1e-5).count();
            assert!(moved <= errors.len() / 50 && worst < 0.05, "{scale} {cloud}: {moved} above, {worst}");
        }
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn lidar_descriptions_equal_the_reference() {
    let cpu = Cpu::new(0).unwrap();
    let golden = Golden::open("lidar_aligned");
    let keypoints = golden.points("kpts");
    let network = cpu.load_minispinnet(&checkpoint("kitti")).unwrap();
    let patches = cpu.gather_patches(&golden.points("pts"), &keypoints, golden.floats("radii")[1]).unwrap();
    let given = reference_patches(&golden, "patches8", &patches.count);
    for (i, row) in given.iter().enumerate() {
        let found = patches.offsets[i * PATCH_CAPACITY..][..row.len()].as_flattened();
        let error = largest_difference(found, widened(row.as_flattened()));

        assert!(error < 5e-6, "{i}: {error}");
    }
    let features = cpu.describe_minispinnet(&patches, vec![UPRIGHT; keypoints.len()], &network).unwrap();
    let found = download_features(&cpu, &features, keypoints.len(), MAP_RINGS * AZIMUTHS);
    // Patches of a single point: the reference is 9.5e-7 off the value in f64, and this program 5.8e-7 the other way.
    assert_described(&golden, &found, "desc", "equi4", 2e-6);
}
