// Every atomic, by all threads on the same few places, in global memory and in shared memory.
#include "common.cuh"

__device__ int answer() { return 2; }

extern "C" __global__ void test_second_answer(int* result) { *result = answer(); }

struct Totals {
    unsigned long long added_wide;
    double added_double;
    unsigned long long least_wide, most_wide;
    int added, least_signed, most_signed;
    unsigned added_unsigned, least, most, either, both, one_of_two, subtracted;
    float added_float;
};

template <class T>
__device__ void add_to(Totals& totals, T value) {
    atomicAdd(&totals.added, static_cast<int>(value));
    atomicAdd(&totals.added_unsigned, value);
    atomicAdd(&totals.added_wide, value * 0x100000001ull);
    atomicAdd(&totals.added_float, static_cast<float>(value % 16));
    atomicAdd(&totals.added_double, static_cast<double>(value));
    atomicSub(&totals.subtracted, value);
    atomicMin(&totals.least_signed, static_cast<int>(value));
    atomicMax(&totals.most_signed, static_cast<int>(value));
    atomicMin(&totals.least, value);
    atomicMax(&totals.most, value);
    atomicMin(&totals.least_wide, value * 0x100000001ull);
    atomicMax(&totals.most_wide, value * 0x100000001ull);
    atomicOr(&totals.either, value);
    atomicAnd(&totals.both, value);
    atomicXor(&totals.one_of_two, value);
}

extern "C" __global__ void test_global_atomics(const unsigned* values, Totals* totals) {
    add_to(*totals, values[blockIdx.x * blockDim.x + threadIdx.x]);
}

// Starts from the totals given and adds the values of one block.
extern "C" __global__ void test_shared_atomics(const unsigned* values, Totals* totals) {
    __shared__ Totals shared;
    if (threadIdx.x == 0) shared = *totals;
    __syncthreads();
    add_to(shared, values[threadIdx.x]);
    __syncthreads();
    if (threadIdx.x == 0) *totals = shared;
}

// Every thread draws a number from a counter, by compare and swap, and leaves its own at the place of the number. Then
// it leaves its mark in an exchange; the marks that come back are those of all threads but the last, and the first one.
extern "C" __global__ void test_exchanges(unsigned* counter, unsigned* drawn_by, uint64_t* mark, uint64_t* seen) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned number = atomicAdd(counter, 0), found;
    while ((found = atomicCAS(counter, number, number + 1)) != number) number = found;
    drawn_by[number] = thread;
    seen[thread] = atomicExch(mark, static_cast<uint64_t>(thread) + 1);
}

// The last block to come adds up what all have written.
extern "C" __global__ void test_last_block(unsigned* partial, unsigned* arrived, unsigned* total) {
    if (threadIdx.x != 0) return;
    partial[blockIdx.x] = blockIdx.x + 1;
    __threadfence();
    if (atomicAdd(arrived, 1) != gridDim.x - 1) return;
    __threadfence();
    unsigned sum = 0;
    for (unsigned block = 0; block < gridDim.x; ++block) sum += partial[block];
    *total = sum;
}
