#!/usr/bin/env bash
# rustc, with the instrumentation that guides libFuzzer for what is tested; build scripts and the like stay as they are.
set -euo pipefail
coverage=()
if [[ " $* " =~ " --crate-name "(coregister|coregister_c)" " ]]; then
    coverage=(-C passes=sancov-module
        -C llvm-args=-sanitizer-coverage-level=4
        -C llvm-args=-sanitizer-coverage-inline-8bit-counters
        -C llvm-args=-sanitizer-coverage-pc-table
        -C llvm-args=-sanitizer-coverage-trace-compares)
fi
exec "$@" "${coverage[@]}"
