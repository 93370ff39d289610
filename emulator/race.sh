#!/usr/bin/env bash
# Runs tests with kernels under ThreadSanitizer, which reports races that no schedule happens to show.
#
#   emulator/race.sh                  the tests of the emulator
#   emulator/race.sh --test races     every kernel of the project, tests/races.rs; any arguments of `cargo test` will do
#
# Needs Linux, GCC with its libtsan, and setarch of util-linux.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    set -- --package coregister-emulator
fi

# The lines of the kernels for the reports: cargo strips them from tests otherwise. Asked for the emulator alone, so that
# all other crates are those that were built without the sanitizer.
lines='profile.release.package.coregister-emulator.debug="line-tables-only"'
# Accesses of the kernels alone count: the sanitizer does not see how Rust's standard library synchronizes, and would
# report the memory that its threads hand to each other.
export TSAN_OPTIONS="ignore_interceptors_accesses=1 report_thread_leaks=0 ${TSAN_OPTIONS:-}"

# The sanitizer wants its memory at fixed addresses.
exec setarch "$(uname -m)" --addr-no-randomize \
    cargo test --config "$lines" --release --features coregister-emulator/tsan "$@"
