//! libFuzzer on `coregister_fuzz::pcd`; see run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coregister_fuzz::pcd(bytes));
