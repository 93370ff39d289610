#!/usr/bin/env bash
# Installs the C interface into a fresh folder and uses it as other projects would: by CMake, by pkg-config, shared and
# static, under AddressSanitizer and valgrind. `capi/check.sh dev` does so with cargo's quick profile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${1:-release}
prefix=$PWD/target/c-check/installed
build=$PWD/target/c-check
pair=(data/demo_source.ply data/demo_target.ply)

step() { printf '\n== %s\n' "$*"; "$@"; }

# What is missing of the tools is installed where this runs as root on Debian or Ubuntu, as in CI.
missing=()
for tool in cmake valgrind pkg-config g++; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[ -d /usr/include/eigen3 ] || missing+=(libeigen3-dev)
if [ ${#missing[@]} -gt 0 ]; then
    step apt-get update -qq
    step env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

rm -rf "$build"
mkdir -p "$build"
step cargo xtask install-c --prefix "$prefix" --profile "$profile"

# The program in README.md, as it is printed.
awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' README.md >"$build/readme.cpp"
[ -s "$build/readme.cpp" ] || { echo "README.md shows no C++ program"; exit 1; }

step cmake -S capi/tests/cmake -B "$build/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DREADME_PROGRAM="$build/readme.cpp"
step cmake --build "$build/cmake"
step "$build/cmake/register_c" "${pair[@]}"
step "$build/cmake/register_c_static" "${pair[@]}"
step "$build/cmake/register_cpp"
step "$build/cmake/register_cpp_static"
step "$build/cmake/readme"

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
read -ra flags <<<"-g -Wall -Wextra -Werror -pedantic -Wshadow -Wconversion -pthread $(pkg-config --cflags coregister)"
read -ra libraries <<<"$(pkg-config --libs coregister) -Wl,-rpath,$prefix/lib"
sanitizers=(-O1 -fsanitize=address,undefined -fno-sanitize-recover=all)

step cc -std=c99 "${flags[@]}" "${sanitizers[@]}" capi/examples/register.c "${libraries[@]}" -o "$build/register_c_asan"
step c++ -std=c++17 "${flags[@]}" "${sanitizers[@]}" capi/examples/register.cpp "${libraries[@]}" -o "$build/register_cpp_asan"
step c++ -std=c++17 "${flags[@]}" "${sanitizers[@]}" capi/tests/wrapper.cpp "${libraries[@]}" -o "$build/wrapper_asan"
step "$build/register_c_asan" "${pair[@]}"
step "$build/register_cpp_asan"
step "$build/wrapper_asan"

# The library itself is not compiled for AddressSanitizer; valgrind sees what it does as well.
step c++ -std=c++17 "${flags[@]}" capi/tests/wrapper.cpp "${libraries[@]}" -o "$build/wrapper"
step valgrind --quiet --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite \
    --show-leak-kinds=definite "$build/wrapper"
