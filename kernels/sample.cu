// Furthest point sampling and gathering. See src/stages/sample/.
// spills: allowed, at most 8 bytes of what a thread of `sample_farthest_large` needs once a sample, on some devices.
#include "extent.cuh"
#include "rows.cuh"

// A cloud, and where to put the indices of up to `count` of its `length` points, and these points. `memory` holds five
// values for each point.
struct Cloud {
    const Point* points;
    float* memory;
    unsigned* indices;
    Point* chosen;
    unsigned length, count;
};

// What became of it, as the host has it.
struct Outcome {
    // How many points were chosen.
    unsigned number;
    Extent extent;
};

// For a whole block: neighbouring points are put next to each other, and a sample looks only at the rows of points that it
// may be nearest to. See kernels/rows.cuh.
//
// What bounds it: samples follow from each other, but for some that are far apart, which are taken together, three at most.
// Each time a warp tests the boxes of all its rows at once, goes through those that a sample reaches, and meets the other
// warps at one barrier. So it is the time that each of these
// steps takes to answer: a read of the row from a cache, three reductions over a warp, the barrier. Rows are dealt to the
// warps in turn, so the few neighbouring rows that a sample reaches, 18 of 938 in a cloud of 30 000 points, are spread over
// the warps. Half as many warps with two rows a lane took an eighth longer on an H200.
//
// `cloud` is a copy, so that what it says stays in registers while results are written.
template <class CloudInRows>
__device__ void sample_by_rows(Cloud cloud, Outcome& outcome) {
    __shared__ Furthests furthests[2];
    if (cloud.count == 0) {
        if (threadIdx.x == 0) outcome.number = 0;
        return;
    }
    CloudInRows rows(cloud.points, cloud.memory, cloud.length);
    typename CloudInRows::NextSamples latest;
    latest.placed[0] = {cloud.points[0], 0};
    latest.number = 1;
    unsigned number = 0;
    for (unsigned round = 0;; ++round) {
#pragma unroll
        for (unsigned k = 0; k < CloudInRows::MOST_AT_ONCE; ++k) {
            if (threadIdx.x != k || (k > 0 && k >= latest.number)) continue;
            cloud.indices[number + k] = latest.placed[k].index;
            cloud.chosen[number + k] = latest.placed[k].point;
        }
        number += latest.number;
        if (number == cloud.count) break;
        rows.update(latest);
        // Two are used in turn, so one barrier suffices: one is written again only after the barrier of the other.
        latest = rows.next(furthests[round % 2], cloud.count - number);
        if (latest.number == 0) break;
    }
    if (threadIdx.x == 0) outcome.number = number;
}

// A block for each cloud of at most 32 points a thread: a row for each lane.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_small(const Cloud* clouds, Outcome* outcomes) {
    sample_by_rows<Rows<1, true, 3>>(clouds[blockIdx.x], outcomes[blockIdx.x]);
}

// The same with two rows for each lane, and any number of points; a sample at a time, for which there are registers.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_large(const Cloud* clouds, Outcome* outcomes) {
    sample_by_rows<Rows<2, false, 1>>(clouds[blockIdx.x], outcomes[blockIdx.x]);
}

// A block for each cloud: the extent of the points that were chosen of it.
extern "C" __global__ void __launch_bounds__(EXTENT_THREADS) measure_samples(const Cloud* clouds, Outcome* outcomes) {
    Extent extent = extent_of_block(clouds[blockIdx.x].chosen, outcomes[blockIdx.x].number);
    if (threadIdx.x == 0) outcomes[blockIdx.x].extent = extent;
}

// gathered[i] = points[indices[i]].
extern "C" __global__ void gather_points(const Point* points, const unsigned* indices, unsigned count, Point* gathered) {
    unsigned i = thread_number();
    if (i < count) gathered[i] = points[indices[i]];
}
