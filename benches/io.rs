//! Throughput of the readers in bytes of file per second, from a warm cache.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use coregister::cloud::Cloud;
use coregister::io::{read_cloud, write_cloud};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const POINTS: usize = 1_000_000;

fn cloud() -> Cloud {
    let coordinate = |i: usize, k: usize| ((i * (k + 7) * 7919) % 100_003) as f32 * 1e-3 - 50.0;
    Cloud::from_f32((0..POINTS).map(|i| [0, 1, 2].map(|k| coordinate(i, k))).collect())
}

/// A binary PLY whose vertices have `extra` bytes after x, y and z.
fn binary_ply(cloud: &Cloud, kind: &str, extra: usize, bytes_of: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    let mut header = format!("ply\nformat binary_little_endian 1.0\nelement vertex {}\n", cloud.len());
    ["x", "y", "z"].iter().for_each(|name| header += &format!("property {kind} {name}\n"));
    (0..extra).for_each(|i| header += &format!("property uchar extra_{i}\n"));
    let mut file = (header + "end_header\n").into_bytes();
    for point in &cloud.points {
        point.iter().for_each(|x| file.extend(bytes_of(*x)));
        file.resize(file.len() + extra, 0);
    }
    file
}

fn ascii_ply(cloud: &Cloud) -> Vec<u8> {
    let header = format!(
        "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\nend_header\n",
        cloud.len()
    );
    let rows = cloud.points.iter().map(|[x, y, z]| format!("{x} {y} {z}\n"));
    rows.fold(header, |file, row| file + &row).into_bytes()
}

fn reading(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cloud = cloud();
    let f32_bytes = |x: f32| x.to_le_bytes().to_vec();
    let f64_bytes = |x: f32| f64::from(x).to_le_bytes().to_vec();
    let files = [
        ("binary_12.ply", binary_ply(&cloud, "float", 0, f32_bytes)),
        ("binary_16.ply", binary_ply(&cloud, "float", 4, f32_bytes)),
        ("binary_27.ply", binary_ply(&cloud, "float", 15, f32_bytes)),
        ("binary_f64.ply", binary_ply(&cloud, "double", 0, f64_bytes)),
        ("ascii.ply", ascii_ply(&cloud)),
    ];
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("room for the file");
    }
    write_cloud(&folder.path().join("binary.pcd"), &cloud).expect("room for the file");

    let mut group = criterion.benchmark_group("read");
    group.sample_size(20);
    for name in
        ["binary_12.ply", "binary_16.ply", "binary_27.ply", "binary_f64.ply", "binary.pcd", "ascii.ply"]
    {
        let path = folder.path().join(name);
        assert_eq!(read_cloud(&path).expect("a valid file").points.len(), POINTS);
        let size = fs::metadata(&path).expect("the file exists").len();
        group.throughput(Throughput::Bytes(size));
        let read = |path: &Path| read_cloud(path).expect("a valid file");
        group.bench_with_input(BenchmarkId::from_parameter(name), &path, |bencher, path| {
            bencher.iter(|| black_box(read(path)));
        });
    }
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
