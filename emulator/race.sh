#!/usr/bin/env bash
# Runs tests with kernels under ThreadSanitizer, which reports races that no schedule happens to show.
#
#   emulator/race.sh                  the tests of the emulator
#   emulator/race.sh --test sample    tests/sample.rs of the main crate; any arguments of `cargo test` will do
#
# Needs GCC with its libtsan, and setarch of util-linux.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    set -- --package coregister-emulator
fi

# A folder of its own, for the two kinds of builds not to replace each other.
export CARGO_TARGET_DIR=target/tsan
# The lines of the kernels for the reports: cargo strips them from a release otherwise.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
export CARGO_PROFILE_RELEASE_STRIP=none
# Accesses of the kernels alone count: the sanitizer does not see how Rust's standard library synchronizes, and would
# report the memory that its threads hand to each other.
export TSAN_OPTIONS="ignore_interceptors_accesses=1 report_thread_leaks=0 ${TSAN_OPTIONS:-}"

# The sanitizer wants its memory at fixed addresses.
exec setarch "$(uname -m)" --addr-no-randomize cargo test --release --features coregister-emulator/tsan "$@"
