//! Files with weights that nobody should use. Each gives one sentence that names the file, what is wrong and the remedy;
//! nothing panics.

use std::collections::HashMap;
use std::path::Path;

use coregister::config::{Azimuth, Descriptor};
use coregister::stages::describe::learned::Weights;
use coregister::stages::describe::minispinnet::{self, COST_VOLUME_LAYERS};
use coregister::{Cloud, Config, Engine, Error, evaluate};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// A file, tensor by tensor.
#[derive(Clone)]
struct Parts {
    config: Option<String>,
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn built_in() -> Self {
        let bytes = built_in();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let config = metadata.metadata().as_ref().and_then(|entries| entries.get("config").cloned());
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let part = |(name, tensor): (String, TensorView)| {
            (name, tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
        };
        Self { config, tensors: tensors.tensors().into_iter().map(part).collect() }
    }

    /// A converted checkpoint, all of its weights small.
    fn checkpoint() -> Self {
        let mut layers = vec![("Desc.pnt_layer.0".to_owned(), vec![16, 3, 1, 1])];
        layers.push(("Desc.conv_net.ops.0".into(), vec![64, 16, 3, 3, 3]));
        for (i, channels) in [64, 64, 128, 128, 64, 64, 32, 32].windows(2).enumerate() {
            let name = format!("Desc.conv_net.ops.{}", 3 * i + 3);
            layers.push((name, vec![channels[1], channels[0], 3, 3]));
        }
        layers.push(("Desc.pool_layer.0".into(), vec![16, 32, 1, 1]));
        layers.push(("Desc.pool_layer.3".into(), vec![1, 16, 1, 1]));
        for (i, (inputs, outputs, [shift, elevation, azimuth])) in COST_VOLUME_LAYERS.into_iter().enumerate()
        {
            let name = format!("Inlier.conv.ops.{}", 3 * i);
            layers.push((name, vec![outputs, inputs, shift, elevation, azimuth]));
        }
        let part = |name: String, shape: Vec<usize>| {
            let value = |i: usize| ((i * 7919 % 101) as f32 - 45.0) * 1e-3;
            let data = (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes()).collect();
            (name, Dtype::F32, shape, data)
        };
        let tensors = layers.into_iter().flat_map(|(name, shape)| {
            [part(format!("{name}.bias"), shape[..1].to_vec()), part(format!("{name}.weight"), shape)]
        });
        Self { config: None, tensors: tensors.collect() }
    }

    /// Without the tensors whose names begin like this.
    fn without(mut self, beginning: &str) -> Self {
        self.tensors.retain(|(name, ..)| !name.starts_with(beginning));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let view = |(name, dtype, shape, data): &'_ (String, Dtype, Vec<usize>, Vec<u8>)| {
            (name.clone(), *dtype, shape.clone(), data.clone())
        };
        let owned: Vec<_> = self.tensors.iter().map(view).collect();
        let views = owned.iter().map(|(name, dtype, shape, data)| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let metadata = self.config.clone().map(|config| HashMap::from([("config".to_owned(), config)]));
        safetensors::serialize(views, metadata).unwrap()
    }

    /// With another text in place of one of the config's.
    fn with_config(&self, from: &str, to: &str) -> Self {
        let config = self.config.clone().unwrap();
        assert!(config.contains(from), "{config}");
        Self { config: Some(config.replace(from, to)), ..self.clone() }
    }

    /// With a tensor changed.
    fn with(&self, wanted: &str, change: impl Fn(&mut Dtype, &mut Vec<usize>, &mut Vec<u8>)) -> Self {
        let mut parts = self.clone();
        let (_, dtype, shape, data) = parts.tensors.iter_mut().find(|(name, ..)| name == wanted).unwrap();
        change(dtype, shape, data);
        parts
    }
}

fn built_in() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/weights/compact.safetensors")).unwrap()
}

fn assert_refused(bytes: &[u8], expected: &str) {
    let message = Weights::parse(bytes, "weights.safetensors".as_ref()).unwrap_err().to_string();
    assert!(message.starts_with("weights.safetensors: ") && message.contains(expected), "{message}");
    assert!(message.contains("give the weights of a compact network"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn the_built_in_weights_are_whole() {
    let weights = Weights::built_in().unwrap();
    assert_eq!(weights.architecture.width, 64);
    assert!(Weights::parse(&Parts::built_in().bytes(), "a copy".as_ref()).is_ok());
}

#[test]
fn foreign_files() {
    for foreign in [&b""[..], b"ply\nformat ascii 1.0\n", &[0; 1000], &[255; 1000], b"\x02\0\0\0\0\0\0\0{}"] {
        assert_refused(foreign, "");
    }
    assert_refused(b"ply\nformat ascii 1.0\n", "is no whole safetensors file");
    assert_refused(&Parts { config: None, ..Parts::built_in() }.bytes(), "has no `config`");
    assert_refused(&Parts { config: Some("[1]".into()), ..Parts::built_in() }.bytes(), "`config`");
}

#[test]
fn truncated_files() {
    let bytes = built_in();
    for length in (0..bytes.len()).step_by(bytes.len() / 60).chain([7, 8, 9, bytes.len() - 1]) {
        assert_refused(&bytes[..length], "is no whole safetensors file");
    }
}

#[test]
fn damaged_headers() {
    let bytes = built_in();
    for place in (0..2000).step_by(7) {
        for value in [0, b'9', b'"', 255] {
            let mut damaged = bytes.clone();
            damaged[place] = value;
            // Some damage does not show; none may panic.
            if let Err(error) = Weights::parse(&damaged, "weights.safetensors".as_ref()) {
                assert_eq!(error.to_string().lines().count(), 1, "{error}");
            }
        }
    }
}

#[test]
fn configs_that_lie() {
    let parts = Parts::built_in();
    let cases = [
        ("\"C\": 64", "\"C\": 128", "`stem.w` has the shape [64, 308], but its config asks for [128, 308]"),
        ("\"C\": 64", "\"C\": 0", "C = 0, which must be 1 to 4096"),
        ("\"C\": 64", "\"C\": 1000000000000", "C = 1000000000000"),
        ("\"C\": 64", "\"C\": -1", "`config`"),
        ("\"C\": 64, ", "", "missing field `C`"),
        ("\"C\": 64", "\"C\": 64, \"layers\": 2", "unknown field `layers`"),
        ("[1, 2, 4, 1]", "[1, 2, 4, 1, 1]", "has no tensor `conv.4.w`"),
        ("[1, 2, 4, 1]", "[1, 2, 20, 1]", "a dilation of 20, which must be 1 to 19"),
        ("[1, 2, 4, 1]", "[1, 0, 4, 1]", "a dilation of 0"),
        ("\"E\": 32", "\"E\": 31", "`equi.w` has the shape [32, 64], but its config asks for [31, 64]"),
        ("\"D\": 64", "\"D\": 63", "`h2.w`"),
        ("\"nin\": 308", "\"nin\": 309", "nin = 309, but this program needs 308"),
        ("\"k\": 3", "\"k\": 5", "k = 5, but this program needs 3"),
        ("\"rf\": 7", "\"rf\": 8", "rf = 8, but this program needs 7"),
    ];
    for (from, to, expected) in cases {
        assert_refused(&parts.with_config(from, to).bytes(), expected);
    }
    let many = format!("[{}1]", "1, ".repeat(64));
    assert_refused(&parts.with_config("[1, 2, 4, 1]", &many).bytes(), "has 65 dilations, but at most 64");
}

#[test]
fn tensors_that_lie() {
    let parts = Parts::built_in();
    let turned = parts.with("h2.w", |_, shape, _| shape.reverse());
    assert_refused(&turned.bytes(), "`h2.w` has the shape [256, 64], but its config asks for [64, 256]");
    let other = parts.with("pg", |dtype, _, _| *dtype = Dtype::BF16);
    assert_refused(&other.bytes(), "`pg` is of the type BF16, not F32 or F16");
    let not_a_number = parts.with("stem.b", |_, _, data| data[6..8].copy_from_slice(&[0, 0x7e]));
    assert_refused(&not_a_number.bytes(), "`stem.b` holds NaN at place 3");
    let infinite = parts.with("skip.w", |_, _, data| data[..2].copy_from_slice(&[0, 0x7c]));
    assert_refused(&infinite.bytes(), "`skip.w` holds inf at place 0");
    assert_refused(&parts.without("pb").bytes(), "has no tensor `pb`");
}

#[test]
fn the_engine_says_what_is_wrong_with_a_file() {
    let engine = |descriptor, weights: &Path| {
        let config = Config { descriptor, weights: Some(weights.into()), ..Config::default() };
        Engine::new(config).err()
    };
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.safetensors");
    let error = engine(Descriptor::Learned, &missing).unwrap();
    assert!(matches!(error, Error::File { .. }), "{error}");
    assert!(error.to_string().contains("missing.safetensors"), "{error}");
    assert!(matches!(engine(Descriptor::Learned, folder.path()).unwrap(), Error::File { .. }));
    let error = engine(Descriptor::Classic, &missing).unwrap();
    assert!(error.to_string().contains("weights are for the learned descriptor"), "{error}");
    let copy = folder.path().join("copy.safetensors");
    std::fs::write(&copy, built_in()).unwrap();
    assert!(engine(Descriptor::Learned, &copy).is_none());
}

/// The engine with the content of a file as its weights.
fn engine_with(bytes: &[u8], config: Config) -> Result<Engine, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted.safetensors");
    std::fs::write(&path, bytes).unwrap();
    Engine::new(Config { weights: Some(path), ..config })
}

#[test]
fn converted_checkpoints_are_recognised() {
    let cost_volume = Config { azimuth: Azimuth::CostVolume, ..Config::default() };
    let whole = Parts::checkpoint();
    assert!(engine_with(&whole.bytes(), cost_volume.clone()).is_ok());
    let without = Parts::checkpoint().without("Inlier.");
    assert!(engine_with(&without.bytes(), Config::default()).is_ok());
    let message = engine_with(&without.bytes(), cost_volume).err().unwrap().to_string();
    assert!(message.contains("converted.safetensors has no cost volume; give weights"), "{message}");
}

#[test]
fn converted_checkpoints_that_lie() {
    let parts = Parts::checkpoint();
    let refused = |parts: &Parts, expected: &str| {
        let message = engine_with(&parts.bytes(), Config::default()).err().unwrap().to_string();
        assert!(message.contains("converted.safetensors: ") && message.contains(expected), "{message}");
        assert!(
            message.contains("training/convert_checkpoint.py") && message.lines().count() == 1,
            "{message}"
        );
    };
    refused(&parts.clone().without("Desc.pool_layer.3.bias"), "has no tensor `Desc.pool_layer.3.bias`");
    refused(&parts.clone().without("Inlier.conv.ops.27"), "has no tensor `Inlier.conv.ops.27.weight`");
    let turned = parts.with("Desc.conv_net.ops.6.weight", |_, shape, _| shape.reverse());
    refused(&turned, "has the shape [3, 3, 64, 128], but MiniSpinNet asks for [128, 64, 3, 3]");
    let infinite =
        parts.with("Desc.pnt_layer.0.bias", |_, _, data| data[..4].copy_from_slice(&[0, 0, 0x80, 0x7f]));
    refused(&infinite, "`Desc.pnt_layer.0.bias` holds inf at place 0");
    let renamed = ("Desc.conv_net.ops.1.running_var".to_owned(), Dtype::F32, vec![1], vec![0; 4]);
    let mut unfolded = parts.clone();
    unfolded.tensors.push(renamed);
    refused(
        &unfolded,
        "`Desc.conv_net.ops.1.running_var` belongs to a batch normalisation that is not folded",
    );
    let error = minispinnet::Weights::parse(b"ply", "a.safetensors".as_ref()).unwrap_err().to_string();
    assert!(error.contains("is no whole safetensors file"), "{error}");
}

#[test]
fn the_cost_volume_needs_its_network() {
    for (descriptor, expected) in [
        (Descriptor::Auto, "the built-in network has no cost volume; give weights of a converted checkpoint"),
        (Descriptor::Learned, "the built-in network has no cost volume"),
        (Descriptor::Classic, "the cost volume is for the learned descriptor"),
    ] {
        let config = Config { descriptor, azimuth: Azimuth::CostVolume, ..Config::default() };
        let message = Engine::new(config).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// Whatever the weights, the pipeline runs through.
#[test]
fn small_clouds_are_registered_with_a_converted_checkpoint() {
    let point = |i: usize| [i * 31 % 17, i * 57 % 23, i * i % 5].map(|x| x as f32);
    let cloud = Cloud::from_f32((0..60).map(point).collect());
    for azimuth in [Azimuth::Correlation, Azimuth::CostVolume] {
        let config = Config { azimuth, descriptor: Descriptor::Learned, ..Config::default() };
        let engine = engine_with(&Parts::checkpoint().bytes(), config).unwrap();
        let answer = engine.register(&cloud, &cloud).unwrap();
        assert!(answer.target_from_source.to_row_major().iter().all(|x| x.is_finite()), "{azimuth:?}");
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn the_demo_pair_is_registered_with_the_published_weights() {
    let folder = std::env::var_os("COREGISTER_TESTDATA").expect("COREGISTER_TESTDATA names the test data");
    let weights = Path::new(&folder).join("weights/buffer_3dmatch_folded.safetensors");
    let pairs =
        evaluate::read_pairs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo_pair.csv")).unwrap();
    for azimuth in [Azimuth::Correlation, Azimuth::CostVolume] {
        let weights = Some(weights.clone());
        let config = Config { azimuth, weights, descriptor: Descriptor::Learned, ..Config::default() };
        let report = evaluate::evaluate(&Engine::new(config).unwrap(), &pairs, |_| ());
        assert_eq!((report.rows[0].status, report.rows[0].success), ("accepted", Some(true)), "{azimuth:?}");
    }
}
