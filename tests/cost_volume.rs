//! The learned way to find the angle about the axis.

mod common;

use std::f32::consts::TAU;
use std::path::PathBuf;

use common::emulated::emulated;
use common::found::{found, on_every_device, on_one_device};
use common::{Golden, one_and_two_threads, random};
use coregister::backend::Cpu;
use coregister::backend::cuda::Driver;
use coregister::stages::azimuth::{AlignAzimuth, AlignByCostVolume};
use coregister::stages::describe::learned::Layer;
use coregister::stages::describe::minispinnet::{COST_VOLUME_LAYERS, MAP_RINGS, WIDTH, Weights};
use coregister::stages::describe::{AZIMUTHS, ELEVATIONS};
use coregister::stages::matching::Match;
use coregister::stages::pose::{Placed, RecoverPoses};
use rand::RngExt;

const MAP: usize = MAP_RINGS * AZIMUTHS;
/// Elevations that count.
const INNER: usize = ELEVATIONS - 2;

/// Angles of the matches, in cells.
fn cells<B: AlignByCostVolume>(
    backend: &B,
    layers: &[Layer],
    source: &[f32],
    target: &[f32],
    matches: &[Match],
) -> Vec<f32> {
    let volume = backend.load_cost_volume(layers).unwrap();
    let (source, target) = (backend.upload(source).unwrap(), backend.upload(target).unwrap());
    let matches = backend.upload(matches).unwrap();
    let angles = backend.align_by_cost_volume(&source, &target, &volume, &matches).unwrap();
    backend.download(&angles).unwrap().iter().map(|angle| angle * AZIMUTHS as f32 / TAU).collect()
}

// The formulas once more, slowly and in f64. A volume is channels × shifts × elevations × azimuths.

struct Volume {
    sizes: [usize; 4],
    values: Vec<f64>,
}

impl Volume {
    fn at(&self, [channel, shift, elevation, azimuth]: [usize; 4]) -> f64 {
        let [_, shifts, elevations, azimuths] = self.sizes;
        self.values[((channel * shifts + shift) * elevations + elevation) * azimuths + azimuth]
    }

    fn new(sizes: [usize; 4], value: impl Fn([usize; 4]) -> f64) -> Self {
        let [channels, shifts, elevations, azimuths] = sizes;
        let index = |i: usize| {
            let (azimuth, elevation) = (i % azimuths, i / azimuths % elevations);
            [i / azimuths / elevations / shifts, i / azimuths / elevations % shifts, elevation, azimuth]
        };
        let values = (0..channels * shifts * elevations * azimuths).map(|i| value(index(i))).collect();
        Self { sizes, values }
    }
}

fn convolved(volume: &Volume, layer: &Layer, kernel: [usize; 3]) -> Volume {
    let [channels, shifts, elevations, azimuths] = volume.sizes;
    let [s, e, a] = kernel;
    assert_eq!(layer.inputs, channels * s * e * a);
    let sizes = [layer.bias.len(), shifts + 1 - s, elevations + 1 - e, azimuths + 1 - a];
    Volume::new(sizes, |[output, shift, elevation, azimuth]| {
        let weights = layer.weight[output * layer.inputs..][..layer.inputs].iter().enumerate();
        let product = |(i, weight): (usize, &f32)| {
            let place = [i / a / e / s, shift + i / a / e % s, elevation + i / a % e, azimuth + i % a];
            f64::from(*weight) * volume.at(place)
        };
        weights.map(product).sum::<f64>() + f64::from(layer.bias[output])
    })
}

fn expected_cell(layers: &[Layer], source: &[f32], target: &[f32]) -> f64 {
    let value = |map: &[f32], channel: usize, elevation: usize, azimuth: usize| {
        f64::from(map[(channel * ELEVATIONS + elevation + 1) * AZIMUTHS + azimuth])
    };
    let mut volume =
        Volume::new([WIDTH, AZIMUTHS, INNER, AZIMUTHS], |[channel, shift, elevation, azimuth]| {
            let before = (azimuth + AZIMUTHS - shift) % AZIMUTHS;
            value(source, channel, elevation, before) - value(target, channel, elevation, azimuth)
        });
    for (i, (layer, (_, _, kernel))) in layers.iter().zip(COST_VOLUME_LAYERS).enumerate() {
        volume = convolved(&volume, layer, kernel);
        if i + 1 < layers.len() {
            volume.values.iter_mut().for_each(|value| *value = value.max(0.0));
        }
    }
    assert_eq!(volume.sizes, [AZIMUTHS, 1, 1, 1]);
    let weights: Vec<f64> = volume.values.iter().map(|logit| logit.exp()).collect();
    let mean = weights.iter().enumerate().map(|(i, weight)| i as f64 * weight).sum::<f64>();
    mean / weights.iter().sum::<f64>()
}

fn any_layers(seed: u64) -> Vec<Layer> {
    let random = &mut random(seed);
    let layer = |(inputs, outputs, kernel): (usize, usize, [usize; 3])| {
        let inputs = inputs * kernel.iter().product::<usize>();
        let range = (6.0 / inputs as f32).sqrt();
        let mut values =
            |count: usize, range: f32| (0..count).map(|_| random.random_range(-range..range)).collect();
        Layer { inputs, weight: values(inputs * outputs, range), bias: values(outputs, 0.1) }
    };
    COST_VOLUME_LAYERS.into_iter().map(layer).collect()
}

fn any_maps(count: usize, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    (0..count * MAP).map(|_| random.random_range(-0.3..0.3)).collect()
}

#[test]
fn equals_the_formula() {
    let (layers, source, target) = (any_layers(1), any_maps(2, 2), any_maps(3, 3));
    let matches = [[1, 0], [0, 2], [1, 1]];
    let row = |maps: &[f32], i: u32| maps[i as usize * MAP..][..MAP].to_vec();
    let expected = matches.map(|[s, t]| expected_cell(&layers, &row(&source, s), &row(&target, t)));
    let check = |found: Vec<f32>| {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
        }
    };
    for cpu in one_and_two_threads() {
        check(cells(&cpu, &layers, &source, &target, &matches));
        assert!(cells(&cpu, &layers, &source, &target, &[]).is_empty());
    }
    on_every_device!(|device| {
        check(cells(device, &layers, &source, &target, &matches));
        assert!(cells(device, &layers, &source, &target, &[]).is_empty());
    });
}

/// What an angle of some ten sectors may be off by on a real device, whose tensor cores cut off what is below the last bit
/// of a sum: on an H200 up to 3.7e-5.
const ON_TENSOR_CORES: f32 = 5e-5;

/// Maps as the network gives them: normalised in every cell. Their difference is smaller than its parts, which devices may
/// convolve one by one.
#[test]
fn agrees_with_the_cpu() {
    let (layers, mut maps) = (any_layers(7), any_maps(4, 8));
    for map in maps.chunks_mut(MAP) {
        for cell in 0..ELEVATIONS * AZIMUTHS {
            let norm =
                map.iter().skip(cell).step_by(ELEVATIONS * AZIMUTHS).map(|x| x * x).sum::<f32>().sqrt();
            map.iter_mut().skip(cell).step_by(ELEVATIONS * AZIMUTHS).for_each(|x| *x /= norm);
        }
    }
    // Nearly the same map, but turned.
    let turned: Vec<f32> = (0..MAP).map(|i| maps[i - i % AZIMUTHS + (i + 15) % AZIMUTHS] + 1e-3).collect();
    maps.extend(turned);
    let matches = [[0, 0], [0, 4], [1, 2], [3, 1]];
    let [cpu, _] = one_and_two_threads();
    let expected = cells(&cpu, &layers, &maps, &maps, &matches);
    let all = emulated().map(|device| cells(&device, &layers, &maps, &maps, &matches));
    assert!(all.iter().all(|found| largest_difference(found, &expected) < 1e-5), "{all:?} {expected:?}");
    // The order of threads does not show.
    assert!(all.iter().all(|found| *found == all[0]));
    for device in found() {
        let found = cells(device, &layers, &maps, &maps, &matches);
        assert!(largest_difference(&found, &expected) < ON_TENSOR_CORES, "{found:?} {expected:?}");
    }
}

#[test]
fn neither_threads_nor_places_show() {
    let (layers, maps) = (any_layers(4), any_maps(20, 5));
    let mut matches: Vec<Match> = (0..20).map(|i| [i, 19 - i]).collect();
    let [one, two] = one_and_two_threads().map(|cpu| cells(&cpu, &layers, &maps, &maps, &matches));
    assert_eq!(one, two);
    matches.reverse();
    let [cpu, _] = one_and_two_threads();
    let mut reversed = cells(&cpu, &layers, &maps, &maps, &matches);
    reversed.reverse();
    assert_eq!(one, reversed);
}

fn check_flat<B: AlignByCostVolume>(backend: &B) {
    let found = cells(backend, &any_layers(6), &[0.0; MAP], &[0.0; MAP], &[[0, 0]]);
    assert!((0.0..AZIMUTHS as f32).contains(&found[0]), "{found:?}");
}

#[test]
fn flat_maps_give_finite_angles() {
    let [cpu, _] = one_and_two_threads();
    check_flat(&cpu);
    on_one_device!(check_flat);
}

/// Maps of seven elevations from those that the reference hands on: the outermost are not looked at.
fn widened(inner: &[f32]) -> Vec<f32> {
    let channel = |rows: &[f32]| [&[f32::NAN; AZIMUTHS], rows, &[f32::NAN; AZIMUTHS]].concat();
    inner.chunks(INNER * AZIMUTHS).flat_map(channel).collect()
}

fn checkpoint() -> Vec<Layer> {
    let folder = std::env::var_os("COREGISTER_TESTDATA").expect("COREGISTER_TESTDATA names the test data");
    let path = PathBuf::from(folder).join("weights/buffer_3dmatch_folded.safetensors");
    Weights::parse(&std::fs::read(&path).unwrap(), &path).unwrap().cost_volume.unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn angles_equal_the_reference() {
    let cpu = Cpu::new(0).unwrap();
    let (golden, layers) = (Golden::open("scale1"), checkpoint());
    let source = widened(&golden.floats("match_src_equi"));
    let target = widened(&golden.floats("match_tgt_equi"));
    let volume = cpu.load_cost_volume(&layers).unwrap();
    let maps = source.chunks(MAP).zip(target.chunks(MAP));
    let logits: Vec<f32> = maps.flat_map(|(source, target)| volume.logits(source, target)).collect();
    let error = largest_difference(&logits, &golden.floats("cost_logits"));
    println!("logits: {error:.2e}");
    assert!(error < 2e-5, "{error}");
    let expected = golden.floats("azi_index");
    let matches: Vec<Match> = (0..expected.len() as u32).map(|i| [i, i]).collect();
    let error = largest_difference(&cells(&cpu, &layers, &source, &target, &matches), &expected);
    println!("index: {error:.2e}");
    assert!(error < 2e-5, "{error}");
    let few = &matches[..8.min(matches.len())];
    let error = |found: Vec<f32>| largest_difference(&found, &expected[..few.len()]);
    let [_, _, device] = emulated();
    let of_emulated = error(cells(&device, &layers, &source, &target, few));
    println!("index of an emulated device: {of_emulated:.2e}");
    assert!(of_emulated < 2e-5, "{of_emulated}");
    for device in found() {
        let of_found = error(cells(device, &layers, &source, &target, few));
        println!("index of {}: {of_found:.2e}", device.driver().name());
        assert!(of_found < ON_TENSOR_CORES, "{of_found}");
    }
}

/// Rotations and translations of the matches of all scales, from the reference's frames and indices.
#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn poses_from_its_index_equal_the_reference() {
    let cpu = Cpu::new(0).unwrap();
    let input = Golden::open("input");
    let (source, target) = (input.points("src_kpts"), input.points("tgt_kpts"));
    for scale in 0..3 {
        let golden = Golden::open(&format!("scale{scale}"));
        let frames = |name: &str| golden.floats(name).as_chunks().0.to_vec();
        let (source_frames, target_frames) = (frames("src_R"), frames("tgt_R"));
        let matches = golden.integers("match_src").into_iter().zip(golden.integers("match_tgt"));
        let matches: Vec<Match> = matches.map(|(s, t)| [s, t]).collect();
        let cells = golden.floats("azi_index");
        // The reference adds 1e-6, below the tolerance.
        let angles = cells.iter().map(|cell| cell * TAU / AZIMUTHS as f32).collect();
        let placed = |keypoints, frames| Placed { keypoints, frames };
        let (source, target) = (placed(&source, &source_frames), placed(&target, &target_frames));
        let found = cpu.recover_poses(source, target, &matches, &angles).unwrap();
        let rotations: Vec<f32> = found.poses.iter().flat_map(|pose| pose[..9].to_vec()).collect();
        let translations: Vec<f32> = found.poses.iter().flat_map(|pose| pose[9..].to_vec()).collect();
        let errors = [
            largest_difference(&rotations, &golden.floats("match_R")),
            largest_difference(&translations, &golden.floats("match_t")),
        ];
        println!("{scale}: {errors:?}");
        assert!(errors.iter().all(|error| *error < 1e-5), "{scale}: {errors:?}");
    }
}

/// The correlation of all seven elevations, as the original's alternative score has it, from our own maps.
#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn correlation_peaks_where_the_reference_scores_highest() {
    use coregister::stages::describe::minispinnet::DescribeMiniSpinNet;
    use coregister::stages::patch::GatherPatches;
    let cpu = Cpu::new(0).unwrap();
    let (input, golden) = (Golden::open("input"), Golden::open("scale1"));
    let folder = PathBuf::from(std::env::var_os("COREGISTER_TESTDATA").unwrap());
    let path = folder.join("weights/buffer_3dmatch_folded.safetensors");
    let weights = Weights::parse(&std::fs::read(&path).unwrap(), &path).unwrap();
    let network = cpu.load_minispinnet(&weights).unwrap();
    let maps = |cloud: &str| {
        let keypoints = input.points(&format!("{cloud}_kpts"));
        let frames = golden.floats(&format!("{cloud}_R")).as_chunks().0.to_vec();
        let points = input.points(&format!("{cloud}_pts"));
        let patches = cpu.gather_patches(&points, &keypoints, input.floats("radii")[1]).unwrap();
        cpu.describe_minispinnet(&patches, frames, &network).unwrap().equivariant
    };
    let matches = golden.integers("match_src").into_iter().zip(golden.integers("match_tgt"));
    let matches: Vec<Match> = matches.map(|(s, t)| [s, t]).collect();
    let angles = cpu.align_azimuth(&maps("src"), &maps("tgt"), MAP_RINGS, &matches).unwrap();
    let scores = golden.floats("equimatch_score");
    for (angle, scores) in angles.iter().zip(scores.chunks(AZIMUTHS)) {
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let cell = (angle * AZIMUTHS as f32 / TAU).round() as usize % AZIMUTHS;
        assert!(top - scores[cell] < 0.02 * top.abs(), "{cell}: {scores:?}");
    }
}
