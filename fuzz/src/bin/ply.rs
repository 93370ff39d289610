//! libFuzzer on `coregister_fuzz::ply`; see run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coregister_fuzz::ply(bytes));
