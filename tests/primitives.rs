//! The building blocks of the CUDA stages.

mod common;

use common::found::{on_every_device, on_one_device};
use common::random;
use coregister::backend::Device;
use coregister::backend::cuda::{Cuda, Driver};
use rand::RngExt;

/// Around the sizes of a warp, a block, a tile, and of a block of blocks.
const LENGTHS: [usize; 12] = [0, 1, 31, 255, 256, 257, 1023, 1024, 1025, 8193, 65_535, 66_000];

fn check_prefix_sums<D: Driver>(device: &Cuda<D>) {
    for length in LENGTHS {
        let mut random = random(length as u64);
        let values: Vec<u32> = (0..length).map(|_| random.random_range(0..5)).collect();
        let sums = device.prefix_sums(&device.upload(&values).unwrap()).unwrap();
        let mut expected = vec![0];
        expected.extend(values.iter().scan(0, |sum, value| {
            *sum += value;
            Some(*sum)
        }));
        assert_eq!(device.last(&sums).unwrap(), expected[length], "{length}");
        assert_eq!(device.download(&sums).unwrap(), expected, "{length}");
    }
}

#[test]
fn prefix_sums_are_those_of_a_loop() {
    on_every_device!(check_prefix_sums);
}

fn check_sort<D: Driver>(device: &Cuda<D>) {
    for length in LENGTHS {
        let mut random = random(length as u64);
        let keys: Vec<u64> = (0..length).map(|_| random.random::<u64>() & 0xff00_0000_0000_3f07).collect();
        for bits in [8, 16, 64] {
            let mask = u64::MAX >> (64 - bits);
            let mut expected: Vec<u32> = (0..length as u32).collect();
            expected.sort_by_key(|&i| keys[i as usize] & mask);
            let (sorted, order) = device.sort(device.upload(&keys).unwrap(), bits).unwrap();
            assert_eq!(device.download(&order).unwrap(), expected, "{length}, {bits} bits");
            let moved: Vec<u64> = expected.iter().map(|&i| keys[i as usize]).collect();
            assert_eq!(device.download(&sorted).unwrap(), moved, "{length}, {bits} bits");
        }
    }
}

#[test]
fn equal_keys_keep_their_order() {
    on_every_device!(check_sort);
}

fn check_concatenation<D: Driver>(device: &Cuda<D>) {
    let parts = [vec![1u32, 2, 3], vec![], vec![4]].map(|part| device.upload(&part).unwrap());
    let whole = device.concatenate(&parts.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(device.download(&whole).unwrap(), [1, 2, 3, 4]);
    assert_eq!(device.len(&device.concatenate::<u32>(&[]).unwrap()), 0);
}

#[test]
fn what_is_concatenated_comes_back() {
    on_one_device!(check_concatenation);
}
