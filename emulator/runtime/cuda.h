// The part of CUDA that kernels use, as plain C++. Every kernel is compiled with this header before its first line.
//
// The standard headers come first: a kernel is compiled within a namespace, where including them anew must do nothing.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __align__(bytes) alignas(bytes)
// Read by the build, which checks launches against it.
#define __launch_bounds__(...)
// All threads of a block run on one thread of the operating system, so what is local to that is shared by the block.
#define __shared__ static thread_local

#include "vectors.h"
#include "threads.h"
#include "atomics.h"
#include "arithmetic.h"
