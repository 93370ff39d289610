// The surface that a cloud samples. See src/stages/surface/.
#include "eigen.cuh"
#include "surface.cuh"

constexpr unsigned THREADS = 128;
// Cells whose starts a block finds, as in cuda.rs.
constexpr unsigned CELLS_PER_BLOCK = 2048;
// As in src/stages/lanes.rs: what a neighbourhood's sums are made of, and the length of the columns' spare blocks.
constexpr unsigned LANES = 16;
// Number, sum of offsets and sum of their products: 1, x, y, z, xx, xy, xz, yy, yz, zz. As in cuda.rs.
constexpr unsigned SUMS = 10;
// As in cpu.rs.
constexpr float FEW_NEIGHBOURS = 8.0f;
constexpr float FEWEST_NEIGHBOURS = 4.0f;
constexpr double LEAST_WIDTH = 0.02;

// keys[i] = the cell of points[i].
extern "C" __global__ void __launch_bounds__(THREADS)
find_surface_cells(const Point* points, unsigned length, Grid grid, unsigned long long* keys) {
    unsigned i = thread_number();
    if (i < length) keys[i] = cell_of(grid, points[i]);
}

// The first of keys[first..last], ascending, that is at least `least`, or `last`.
__device__ __forceinline__ unsigned first_at_least(const unsigned long long* keys, unsigned first, unsigned last, unsigned least) {
    while (first < last) {
        unsigned middle = first + (last - first) / 2;
        if (keys[middle] < least) first = middle + 1;
        else last = middle;
    }
    return first;
}

// The same among all keys, by a warp: every step looks at a key of each of its lanes, since each takes as long as memory.
__device__ __forceinline__ unsigned first_at_least_by_warp(const unsigned long long* keys, unsigned length, unsigned least) {
    unsigned first = 0, last = length;
    while (first < last) {
        // Each lane has a part, which lies below where its last key does.
        unsigned part = (last - first + WARP - 1) / WARP;
        unsigned end = first + (lane_number() + 1) * part;
        bool below = end <= last && keys[end - 1] < least;
        first = min(first + __popc(__ballot_sync(ALL_LANES, below)) * part, last);
        last = min(first + part - 1, last);
    }
    return first;
}

// cell_start[c] = where the points of cell c begin in order of `keys`, for c < starts. Most cells of a large grid are empty:
// what lies in all cells of a block is searched first, and mostly there is nothing left to search.
extern "C" __global__ void __launch_bounds__(THREADS)
find_cell_starts(const unsigned long long* keys, unsigned length, unsigned starts, unsigned* cell_start) {
    unsigned first = blockIdx.x * CELLS_PER_BLOCK, last = min(first + CELLS_PER_BLOCK, starts);
    __shared__ unsigned ends[2];
    if (warp_number() < 2) {
        unsigned end = first_at_least_by_warp(keys, length, warp_number() == 0 ? first : last);
        if (lane_number() == 0) ends[warp_number()] = end;
    }
    __syncthreads();
    for (unsigned cell = first + threadIdx.x; cell < last; cell += THREADS)
        cell_start[cell] = first_at_least(keys, ends[0], ends[1], cell);
}

// Puts points[order[j]] to place j, in rows and in columns, and says so in `place`. The columns' spare blocks are filled by
// LANES more threads than there are points.
extern "C" __global__ void __launch_bounds__(THREADS)
sort_surface_points(const Point* points, const unsigned* order, unsigned length, Point* sorted, float* columns, unsigned* place) {
    unsigned j = thread_number();
    if (j >= length + LANES) return;
    Point point = {INFINITY, INFINITY, INFINITY};
    if (j < length) {
        unsigned i = order[j];
        point = points[i];
        sorted[j] = point;
        place[i] = j;
    }
    float* column = columns + j;
    column[0] = point.x;
    column[length + LANES] = point.y;
    column[2 * (length + LANES)] = point.z;
}

// This lane's share of the sums over the points within `reach` of `p`: of every run it takes each LANES-th point. Lanes
// read side by side. The host adds up in the same order.
__device__ __forceinline__ void add_up_lane(const Grid& grid, const unsigned* cell_start, const float* columns, unsigned stride,
                                            Point p, float reach, unsigned lane, float (&sums)[SUMS]) {
    float limit = reach * reach;
    for (unsigned k = 0; k < SUMS; ++k) sums[k] = 0.0f;
    for_runs(grid, cell_start, p, reach, [&](unsigned first, unsigned last) {
        for (unsigned i = first + lane; i < last; i += LANES) {
            Point d = Point{columns[i], columns[stride + i], columns[2 * stride + i]} - p;
            if (!(squared_length(d) < limit)) continue;
            float terms[SUMS] = {1.0f, d.x, d.y, d.z, d.x * d.x, d.x * d.y, d.x * d.z, d.y * d.y, d.y * d.z, d.z * d.z};
            for (unsigned k = 0; k < SUMS; ++k) sums[k] += terms[k];
        }
    });
}

// sums[i * SUMS ...] = the sums over the neighbours of points[i] within `reach`, or, where these are few, within twice of
// it. Half a warp, LANES lanes, works on a point; most of the time it waits for the points of the next run.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
sum_neighbourhoods(const Point* points, unsigned length, const float* columns, const unsigned* cell_start, Grid grid, float reach,
                   float* sums) {
    // One row longer than needed, so that lanes that each read a row do not meet in a bank.
    __shared__ float of_lanes[THREADS / LANES][SUMS][LANES + 1];
    unsigned group = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    unsigned i = blockIdx.x * (THREADS / LANES) + group;
    if (i >= length) return;
    unsigned lanes_of_group = ((1u << LANES) - 1) << group % (WARP / LANES) * LANES;
    Point p = points[i];
    float total = 0.0f;
    for (unsigned attempt = 1; attempt <= 2; ++attempt) {
        float of_lane[SUMS];
        add_up_lane(grid, cell_start, columns, length + LANES, p, static_cast<float>(attempt) * reach, lane, of_lane);
        for (unsigned k = 0; k < SUMS; ++k) of_lanes[group][k][lane] = of_lane[k];
        __syncwarp(lanes_of_group);
        // Each of the first lanes adds up one of the sums, from the first lane to the last.
        total = 0.0f;
        if (lane < SUMS)
            for (unsigned other = 0; other < LANES; ++other) total += of_lanes[group][lane][other];
        float count = __shfl_sync(lanes_of_group, total, 0, LANES);
        if (count >= FEW_NEIGHBOURS) break;
        // No lane reads what the next attempt writes.
        __syncwarp(lanes_of_group);
    }
    if (lane < SUMS) sums[i * SUMS + lane] = total;
}

// The unit normal of each neighbourhood, or zero where it spans no plane.
extern "C" __global__ void __launch_bounds__(THREADS) find_normals(const float* sums, unsigned length, Point* normals) {
    unsigned i = thread_number();
    if (i >= length) return;
    const float* of_point = sums + i * SUMS;
    normals[i] = {0.0f, 0.0f, 0.0f};
    if (of_point[0] < FEWEST_NEIGHBOURS) return;
    double mean[SUMS];
    for (unsigned k = 0; k < SUMS; ++k) mean[k] = static_cast<double>(of_point[k]) / static_cast<double>(of_point[0]);
    double x = mean[1], y = mean[2], z = mean[3];
    Symmetric covariance = {mean[4] - x * x, mean[5] - x * y, mean[6] - x * z, mean[7] - y * y, mean[8] - y * z, mean[9] - z * z};
    LeastEigenvector least = least_eigenvector(covariance);
    if (!least.found || !(least.values[1] > LEAST_WIDTH * least.values[2])) return;
    normals[i] = {static_cast<float>(least.vector.x), static_cast<float>(least.vector.y), static_cast<float>(least.vector.z)};
}
