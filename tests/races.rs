//! Every kernel once, on as little as shows all its branches between blocks and warps: what `emulator/race.sh` runs under
//! ThreadSanitizer. What the kernels compute is looked at in the tests of the stages; here it counts that they all ran.

mod common;

use std::path::Path;

use bytemuck::Zeroable;
use common::emulated::Emulated;
use common::patches::{UPRIGHT, any_frames, patches, upload_patches};
use common::{cube, pose_of, random, room, surface_on};
use coregister::backend::Device;
use coregister::backend::cuda::Cuda;
use coregister::cloud::Point;
use coregister::geometry::{IDENTITY, Pose};
use coregister::stages::azimuth::{AlignAzimuth, AlignByCostVolume};
use coregister::stages::consensus::{ScoreHypotheses, Support, Tolerance};
use coregister::stages::describe::classic::DescribeClassic;
use coregister::stages::describe::learned::{self, Architecture, DescribeLearned, Layer, SECTOR};
use coregister::stages::describe::minispinnet::{
    self, ATTENTION_CHANNELS, CHANNELS, COST_VOLUME_LAYERS, DescribeMiniSpinNet, MAP_RINGS, POINT_CHANNELS,
    WIDTH,
};
use coregister::stages::describe::{AZIMUTHS, RINGS};
use coregister::stages::estimate::{EstimateOptions, EstimatePoses};
use coregister::stages::frame::{Covariance, EstimateFrames, Frame, Orientation};
use coregister::stages::gravity::FindVertical;
use coregister::stages::matching::{By, Described, Match, MatchMutual};
use coregister::stages::patch::GatherPatches;
use coregister::stages::pose::{Hypotheses, Placed, RecoverPoses};
use coregister::stages::rank::{Judged, RankCandidates};
use coregister::stages::refine::{Errors, RefineOptions};
use coregister::stages::sample::SampleFarthest;
use coregister::stages::surface::BuildSurface;
use coregister::stages::verify::judge::Circumstances;
use coregister::stages::verify::{Agreement, AgreementOptions, MeasureAgreement, Scene};
use coregister::stages::viewpoint::EstimateViewpoint;
use coregister::stages::voxel::VoxelDownsample;
use coregister_emulator::Schedule;
use nalgebra::Rotation3;
use rand::RngExt;

// The emulator's own reader of kernel files.
#[path = "../emulator/build/sources.rs"]
#[allow(dead_code)]
mod sources;

type Emulator = Cuda<Emulated>;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// Names of the kernels in `kernels/<module>.cu`.
fn kernels_of(module: &str) -> Vec<String> {
    let source = std::fs::read_to_string(folder().join(module).with_extension("cu")).expect("a kernel file");
    sources::kernels(&source).into_iter().map(|kernel| kernel.name).collect()
}

/// Does the work, and expects every kernel of these files to have run.
fn run(work: fn(&Emulator), modules: &[&str]) {
    // These take long, and their blocks know nothing of each other, or do the same: a few show what all do.
    let emulated = Emulated::new(Schedule::Random(1));
    let emulated = emulated.with_most_blocks("rate_starts", 8).with_most_blocks("search_from_best", 1);
    let emulated = emulated.with_most_blocks("count_marks", 4);
    let device = Cuda::new(emulated);
    work(&device);
    let launched = device.driver().launched();
    for kernel in modules.iter().flat_map(|module| kernels_of(module)) {
        assert!(launched.contains(&*kernel), "{kernel} did not run");
    }
}

macro_rules! races {
    ($($name:ident: $work:ident runs $modules:expr,)+) => {
        /// The files whose kernels run.
        const RUN: &[&[&str]] = &[$(&$modules),+];
        $(#[test]
        fn $name() {
            run($work, &$modules);
        })+
    };
}

races! {
    thinning: thin runs ["bounds", "voxel"],
    primitives: sum_and_sort runs ["primitives"],
    sampling: sample runs ["sample"],
    surfaces: build_surface runs ["surface"],
    patches_and_frames: orient runs ["patch", "frame"],
    verticals: find_vertical runs ["gravity"],
    viewpoints: see runs ["viewpoint"],
    classic_descriptors: describe_classic runs ["classic"],
    learned_descriptors: describe_learned runs ["learned"],
    published_descriptors: describe_as_published runs ["minispinnet"],
    cost_volumes: evaluate_volumes runs ["cost_volume"],
    matches: match_rows runs ["matching"],
    azimuths: align runs ["azimuth"],
    candidates: hypothesise runs ["pose", "consensus", "estimate"],
    refinement: refine_candidates runs ["refine"],
    verification: verify runs ["verify"],
    ranks: rank runs ["rank"],
}

#[test]
fn every_kernel_file_is_run() {
    let files =
        std::fs::read_dir(folder()).expect("the kernels").map(|entry| entry.expect("an entry").path());
    let kernels = files.filter(|path| path.extension().is_some_and(|extension| extension == "cu"));
    for path in kernels {
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name");
        assert!(RUN.concat().contains(&module), "{module} is not run");
    }
}

fn thin(device: &Emulator) {
    let points = device.upload(&room(900, 1)).unwrap();
    device.voxel_size(&points, 300).unwrap();
    assert!(device.len(&device.voxel_downsample(&points, 0.5).unwrap()) > 100);
}

fn sum_and_sort(device: &Emulator) {
    // As many as one block sums up or sorts, and more.
    for count in [700, 33_000] {
        let sums = device.prefix_sums(&device.upload(&vec![1; count]).unwrap()).unwrap();
        assert_eq!(device.last(&sums).unwrap() as usize, count);
    }
    for count in [500, 2_100] {
        let keys: Vec<u64> = (0..count).map(|i| i * 7919 % 251).collect();
        let (sorted, _) = device.sort_hashes(device.upload(&keys).unwrap()).unwrap();
        assert!(device.download(&sorted).unwrap().is_sorted());
    }
}

/// Clouds for each number of rows.
fn sample(device: &Emulator) {
    for count in [2_000, 33_000] {
        let points = device.upload(&room(count, 2)).unwrap();
        let chosen = device.sample_farthest(&points, 5).unwrap();
        assert_eq!(device.len(&device.gather_points(&points, &chosen.indices).unwrap()), 5);
    }
}

fn build_surface(device: &Emulator) {
    let points = device.upload(&room(300, 3)).unwrap();
    assert_eq!(device.len(&device.build_surface(&points, 0.3).unwrap().normals), 300);
}

fn orient(device: &Emulator) {
    let points = room(700, 4);
    let (points, keypoints) = (device.upload(&points).unwrap(), device.upload(&points[..20]).unwrap());
    let radius = device.neighbour_radii(&points, &keypoints, &[0.1, 0.05]).unwrap()[0];
    let patches = device.gather_patches(&points, &keypoints, radius).unwrap();
    let towards = Orientation::Towards([3.0, 2.0, 1.0]);
    let estimate = |covariance| device.estimate_frames(&patches, &keypoints, covariance, towards).unwrap();
    estimate(Covariance::AboutKeypoint);
    let frames = estimate(Covariance::Weighted);
    assert_eq!(device.len(&frames), 20);
}

/// A floor with little on it.
fn find_vertical(device: &Emulator) {
    let floor = cube(1_500, 6.0, 5).into_iter().map(|[x, y, z]| [x, y, 0.02 * z.abs()]);
    let points: Vec<Point> =
        floor.chain(cube(200, 2.0, 6).into_iter().map(|[x, y, z]| [x, y, z + 1.0])).collect();
    device.find_vertical(&surface_on(device, &points, 0.3)).unwrap();
}

fn see(device: &Emulator) {
    // More points than take part in the search, so that some are selected; all in one place, so that it ends early.
    let points = device.upload(&[[1.0, 2.0, 3.0]; 6_200]).unwrap();
    for blocks in [1, 8] {
        device.driver().set_largest_cluster(blocks);
        device.estimate_views(&[&points, &points]).unwrap();
    }
    device.driver().set_largest_cluster(1);
    let points = device.upload(&room(600, 7)).unwrap();
    device.range_image(&points, [3.0, 2.0, 1.0]).unwrap();
}

fn frames_and_patches(
    device: &Emulator,
    count: usize,
) -> (Vec<Vec<Point>>, <Emulator as Device>::Buffer<Frame>) {
    (patches(count, 8), device.upload(&any_frames(count, 9)).unwrap())
}

fn describe_classic(device: &Emulator) {
    let (rows, frames) = frames_and_patches(device, 5);
    device.describe_classic(&upload_patches(device, &rows), frames).unwrap();
}

fn layer(inputs: usize, outputs: usize) -> Layer {
    let weight = (0..inputs * outputs).map(|i| (i * 7919 % 101) as f32 / 1e3 - 0.05).collect();
    Layer { inputs, weight, bias: vec![0.01; outputs] }
}

fn describe_learned(device: &Emulator) {
    let architecture = Architecture { channels: 8, dilations: vec![1, 2], rings: 4, hidden: 6, width: 16 };
    let (channels, pooled) = (architecture.channels, architecture.pooled());
    let network = device.load_network(&learned::Weights {
        stem: layer(SECTOR, channels),
        convolutions: architecture.dilations.iter().map(|_| layer(3 * channels, channels)).collect(),
        equivariant: layer(channels, architecture.rings),
        pooled_factor: vec![1.0; pooled],
        pooled_summand: vec![0.1; pooled],
        hidden: layer(pooled, architecture.hidden),
        output: layer(architecture.hidden, architecture.width),
        skip: layer(pooled, architecture.width),
        architecture,
    });
    let (rows, frames) = frames_and_patches(device, 3);
    device.describe_learned(&upload_patches(device, &rows), frames, &network.unwrap()).unwrap();
}

fn describe_as_published(device: &Emulator) {
    let network = device.load_minispinnet(&minispinnet::Weights {
        points: layer(3, POINT_CHANNELS),
        convolutions: CHANNELS.windows(2).map(|pair| layer(9 * pair[0], pair[1])).collect(),
        attention: [layer(WIDTH, ATTENTION_CHANNELS), layer(ATTENTION_CHANNELS, 1)],
        cost_volume: None,
    });
    let (rows, frames) = frames_and_patches(device, 2);
    device.describe_minispinnet(&upload_patches(device, &rows), frames, &network.unwrap()).unwrap();
}

/// Maps of these many rings.
fn maps(device: &Emulator, count: usize, rings: usize) -> <Emulator as Device>::Buffer<f32> {
    let mut random = random(10);
    let values: Vec<f32> = (0..count * rings * AZIMUTHS).map(|_| random.random_range(-0.3..0.3)).collect();
    device.upload(&values).unwrap()
}

fn evaluate_volumes(device: &Emulator) {
    let of_sizes = |(inputs, outputs, kernel): (usize, usize, [usize; 3])| {
        layer(inputs * kernel.iter().product::<usize>(), outputs)
    };
    let volume = device.load_cost_volume(&COST_VOLUME_LAYERS.map(of_sizes)).unwrap();
    let (maps, matches) = (maps(device, 2, MAP_RINGS), device.upload(&[[0, 1]]).unwrap());
    device.align_by_cost_volume(&maps, &maps, &volume, &matches).unwrap();
}

fn align(device: &Emulator) {
    let matches: Vec<Match> = (0..12).map(|i| [i, 11 - i]).collect();
    let (maps, matches) = (maps(device, 12, RINGS), device.upload(&matches).unwrap());
    device.align_azimuth(&maps, &maps, RINGS, &matches).unwrap();
}

fn match_rows(device: &Emulator) {
    let rows = |count: usize| {
        let mut random = random(11);
        let values: Vec<f32> = (0..count * 40).map(|_| random.random_range(-0.3..0.3)).collect();
        device.upload(&values).unwrap()
    };
    let clouds = [[rows(150), maps(device, 150, 3)], [rows(600), maps(device, 600, 3)]];
    for by in [By::Vectors, By::Either] {
        let described = |i: usize| {
            let [invariant, equivariant]: &[_; 2] = &clouds[i];
            [Described { invariant, width: 40, equivariant, rings: 3 }]
        };
        let matches = device.match_mutual(&described(0), &described(1), by).unwrap();
        assert!(device.len(&matches) > 100, "{} matches", device.len(&matches));
    }
}

/// Matches of points with themselves, in frames that agree.
fn hypothesise(device: &Emulator) {
    let count = 80;
    let keypoints = device.upload(&cube(count, 4.0, 12)).unwrap();
    let frames = device.upload(&vec![UPRIGHT; count]).unwrap();
    let matches: Vec<Match> = (0..count as u32).map(|i| [i, i]).collect();
    let (matches, angles) = (device.upload(&matches).unwrap(), device.upload(&vec![0.0; count]).unwrap());
    let placed = || Placed { keypoints: &keypoints, frames: &frames };
    let hypotheses: Hypotheses<Emulator> =
        device.recover_poses(placed(), placed(), &matches, &angles).unwrap();
    let tolerance = Tolerance { base: 0.06, slope: 0.06 };
    let support =
        device.score_hypotheses(&hypotheses.poses, Some(&hypotheses.source), &hypotheses, tolerance).unwrap();
    let joined = device.join_hypotheses(&[&hypotheses, &hypotheses]).unwrap();
    assert_eq!(device.len(&joined.poses), 2 * count);
    let options = EstimateOptions { candidates: 4, tolerance, precision: 0.04, distinct: 0.2 };
    assert_eq!(device.len(&device.estimate_poses(&hypotheses, &support, options).unwrap()), 1);
}

/// Poses next to the right one, which moves nothing.
fn near_poses(device: &Emulator) -> <Emulator as Device>::Buffer<Pose> {
    let turned = pose_of(&Rotation3::from_euler_angles(0.01, -0.02, 0.01), [0.05, 0.0, -0.03]);
    device.upload(&[IDENTITY, turned]).unwrap()
}

fn refine_candidates(device: &Emulator) {
    let [source, target] = [13, 14].map(|seed| surface_on(device, &room(1_500, seed), 0.3));
    let errors = [Errors::EVEN; 2];
    let options = RefineOptions {
        samples: 300,
        rounds: 2,
        first_reach: 3.0,
        last_reach: 1.5,
        point_share: 0.02,
        errors,
    };
    for blocks in [1, 2] {
        device.refine_by_clusters(&source, &target, &near_poses(device), options, blocks).unwrap();
    }
}

fn verify(device: &Emulator) {
    let points = [15, 16].map(|seed| room(1_500, seed));
    let surfaces = points.each_ref().map(|points| surface_on(device, points, 0.3));
    let views = points.map(|points| {
        let points = device.upload(&points).unwrap();
        device.range_image(&points, [3.0, 2.0, 1.0]).unwrap()
    });
    let scene = |i: usize| Scene { surface: &surfaces[i], view: &views[i], spacing: 0.3 };
    let options = AgreementOptions { samples: 600, reach: 0.3, margin: 0.6 };
    device.measure_agreement(scene(0), scene(1), &near_poses(device), options).unwrap();
    device.observe(&surfaces[0], &surfaces[1], &device.upload(&[IDENTITY]).unwrap(), options).unwrap();
}

/// More candidates than a block has threads.
fn rank(device: &Emulator) {
    let count = 70;
    let (estimated, poses) =
        (device.upload(&[IDENTITY; 70]).unwrap(), device.upload(&[IDENTITY; 70]).unwrap());
    let support: Vec<Support> =
        (0..count).map(|i| Support { count: i, score: (i * 31 % 17) as f32 }).collect();
    let agreement = device.upload(&[Agreement::zeroed(); 70]).unwrap();
    let support = device.upload(&support).unwrap();
    let judged = Judged {
        estimated: &estimated,
        poses: &poses,
        agreement: &agreement,
        support: &support,
        circumstances: Circumstances {
            source_reliance: 1.0,
            target_reliance: 1.0,
            chance: 0.1,
            hold_of_one: 0.0005,
        },
    };
    let ranked = device.rank_candidates(judged, 66).unwrap();
    assert_eq!(device.len(&ranked.poses), 66);
}
