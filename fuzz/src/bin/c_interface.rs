//! libFuzzer on `coregister_fuzz::c_interface`; see run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coregister_fuzz::c_interface(bytes));
