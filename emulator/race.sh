#!/usr/bin/env bash
# Runs tests with kernels under ThreadSanitizer, which reports races that no schedule happens to show.
#
#   emulator/race.sh                  the tests of the emulator
#   emulator/race.sh --test sample    tests/sample.rs of the main crate; any arguments of `cargo test` will do
#
# Needs the library of the sanitizer that comes with the C++ compiler (libtsan of GCC) and setarch (util-linux).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    set -- --package coregister-emulator
fi
host=$(rustc --version --verbose | sed -n 's/^host: //p')

# A folder of its own, since all that is linked with the sanitizer differs.
export CARGO_TARGET_DIR=target/tsan
export RUSTFLAGS="-C link-arg=-fsanitize=thread"
# The lines of the kernels for the reports: cargo strips them from a release otherwise.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
export CARGO_PROFILE_RELEASE_STRIP=none
# Accesses of the kernels alone count: the sanitizer does not see how Rust's standard library synchronizes, and would
# report the memory that its threads hand to each other.
export TSAN_OPTIONS="ignore_interceptors_accesses=1 report_thread_leaks=0 history_size=7 ${TSAN_OPTIONS:-}"

# The sanitizer wants memory at fixed addresses, hence setarch. With an explicit target the flags are for the tests
# only: procedural macros that carry the sanitizer cannot be loaded into the compiler.
exec setarch "$(uname -m)" --addr-no-randomize \
    cargo test --release --target "$host" --features coregister-emulator/tsan "$@"
