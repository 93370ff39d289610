//! The building blocks of the CUDA stages.

mod common;

use common::found::{on_every_device, on_one_device};
use common::random;
use coregister::backend::cuda::{Cuda, CudaBuffer, Driver};
use coregister::backend::{Cpu, Device};
use rand::RngExt;

/// Around the sizes of a warp, a block, a tile, and of what one block does by itself.
const LENGTHS: [usize; 14] = [0, 1, 2, 31, 255, 256, 257, 1023, 1025, 2047, 2048, 2049, 8193, 66_000];

fn check_prefix_sums<D: Driver>(device: &Cuda<D>) {
    for length in LENGTHS.into_iter().chain([32_768, 32_769]) {
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
        for bits in [0..8, 5..14, 0..64] {
            let mask = u64::MAX >> (64 - bits.len()) << bits.start;
            let found = device.sort(device.upload(&keys).unwrap(), bits.start..bits.end).unwrap();
            assert_sorted(device, &keys, mask, found);
        }
        // Of these, many have the same upper half.
        let found = device.sort_hashes(device.upload(&keys).unwrap()).unwrap();
        assert_sorted(device, &keys, u64::MAX, found);
    }
}

fn assert_sorted<D: Driver>(
    device: &Cuda<D>,
    keys: &[u64],
    mask: u64,
    (sorted, order): (CudaBuffer<u64, D>, CudaBuffer<u32, D>),
) {
    let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
    expected.sort_by_key(|&i| keys[i as usize] & mask);
    assert_eq!(device.download(&order).unwrap(), expected, "{} keys, bits {mask:x}", keys.len());
    let moved: Vec<u64> = expected.iter().map(|&i| keys[i as usize]).collect();
    assert_eq!(device.download(&sorted).unwrap(), moved, "{} keys, bits {mask:x}", keys.len());
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

fn check_first<B: Device>(device: &B) {
    let all = device.upload(&[1u32, 2, 3]).unwrap();
    for (count, expected) in [(0, &[][..]), (2, &[1, 2]), (3, &[1, 2, 3]), (4, &[1, 2, 3])] {
        let first = device.first(&all, count).unwrap();
        assert_eq!(device.download(&first).unwrap(), expected, "the first {count}");
    }
    assert_eq!(device.download(&all).unwrap(), [1, 2, 3]);
}

#[test]
fn the_first_elements_are_copied() {
    check_first(&Cpu::new(1).unwrap());
    on_one_device!(check_first);
}
