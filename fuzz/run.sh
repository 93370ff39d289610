#!/usr/bin/env bash
# Looks for inputs that break a target (ply, pcd, c_interface), by libFuzzer on a stable toolchain:
#     fuzz/run.sh ply 600
# for 600 seconds. New inputs go to target/fuzz/ply; one that breaks it to target/fuzz/ply-crash-*, for corpus/.
# `fuzz/run.sh --keep ply` then adds to corpus/ply those that reach something new.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --keep ]; then
    keep=1
    shift
fi
target=${1:?give ply, pcd or c_interface}
seconds=${2:-600}
found=target/fuzz/$target
mkdir -p "$found"

# Only the crates of this workspace are watched while they run; the others stay as they are.
RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/rustc_with_coverage.sh \
    cargo build --locked --package coregister-fuzz --features libfuzzer --bin "fuzz_$target"
program=target/debug/fuzz_$target

if [ -n "${keep:-}" ]; then
    exec "$program" -set_cover_merge=1 "fuzz/corpus/$target" "$found"
fi
exec nice -n 19 "$program" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -max_len=4096 \
    -artifact_prefix="$found-" -print_final_stats=1 "$found" "fuzz/corpus/$target"
