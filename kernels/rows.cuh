// The points of a cloud in rows of neighbours, so that furthest point sampling can pass over the rows that a new sample
// does not change. By a block of 1024 threads.
//
// Passing over a row is exact to the bit: rounding is monotonic, and the distance to a box is computed with the very
// operations of the distance to a point, so in f32 too it is never larger than the distance to any point in the box. Which
// row a point gets into does therefore not show in the result, nor does its place there: of points at the same distance
// the one of the lowest index in the cloud is taken.
#pragma once
#include "bounds.cuh"
#include "common.cuh"

constexpr unsigned THREADS = 1024;
static_assert(THREADS == WARP * WARP, "a lane for each warp");
constexpr unsigned WARPS = THREADS / WARP;

constexpr unsigned NONE = 0xffffffffu;

// The grid that puts points in order: cells along an axis, and all of them.
constexpr unsigned AXIS_CELLS = 16;
constexpr unsigned CELLS = AXIS_CELLS * AXIS_CELLS * AXIS_CELLS;
constexpr unsigned CELLS_OF_THREAD = CELLS / THREADS;
static_assert(CELLS % THREADS == 0, "each thread has as many cells");

// A point, and its index in the cloud. Read and written at once.
struct alignas(16) Placed {
    Point point;
    unsigned index;
};

// A point that may be the furthest, and its squared distance to the nearest sample. A distance is never negative, so the
// order of its bits is that of its values.
struct Candidate {
    float distance;
    Placed placed;
};

__device__ __forceinline__ Candidate no_candidate() { return {0.0f, {{0.0f, 0.0f, 0.0f}, NONE}}; }

__device__ __forceinline__ Candidate further(const Candidate& a, const Candidate& b) {
    bool is_a = a.distance > b.distance || (a.distance == b.distance && a.placed.index < b.placed.index);
    return is_a ? a : b;
}

// The furthest point of each warp.
struct Furthests {
    Placed placed[WARPS];
    float distances[WARPS];
};

// The lane, among those that are `eligible`, of the lowest index. There is one at least. Mostly there is no other, and then
// nobody looks at the indices.
__device__ __forceinline__ unsigned lane_of_lowest(bool eligible, const unsigned& index) {
    unsigned lanes = __ballot_sync(ALL_LANES, eligible);
    if ((lanes & (lanes - 1)) != 0) {
        unsigned own = eligible ? index : NONE;
        lanes &= __ballot_sync(ALL_LANES, own == __reduce_min_sync(ALL_LANES, own));
    }
    return __ffs(lanes) - 1;
}

// The largest of the lanes' distances, for all lanes.
__device__ __forceinline__ float largest_of_warp(float distance) {
    return __uint_as_float(__reduce_max_sync(ALL_LANES, __float_as_uint(distance)));
}

// Numbers in the order of the values, also of negative ones.
__device__ __forceinline__ unsigned sortable(float value) {
    unsigned bits = __float_as_uint(value);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_sortable(unsigned bits) {
    return __uint_as_float((bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits);
}

__device__ __forceinline__ float least_of_warp(float value) {
    return from_sortable(__reduce_min_sync(ALL_LANES, sortable(value)));
}

__device__ __forceinline__ float most_of_warp(float value) {
    return from_sortable(__reduce_max_sync(ALL_LANES, sortable(value)));
}

__device__ __forceinline__ Bounds bounds_of_warp(const Bounds& bounds) {
    const Point &low = bounds.lowest, &high = bounds.highest;
    return {{least_of_warp(low.x), least_of_warp(low.y), least_of_warp(low.z)},
            {most_of_warp(high.x), most_of_warp(high.y), most_of_warp(high.z)}};
}

// The value of the lane that has half of the others below it.
__device__ inline float median_of_warp(float value) {
    unsigned own = sortable(value), before = 0;
    // Once for each cloud, so it is not worth much code.
#pragma unroll 1
    for (unsigned lane = 0; lane < WARP; ++lane) {
        unsigned other = __shfl_sync(ALL_LANES, own, lane);
        if (other < own || (other == own && lane < lane_number())) ++before;
    }
    return __shfl_sync(ALL_LANES, value, __ffs(__ballot_sync(ALL_LANES, before == WARP / 2)) - 1);
}

// A box around most of the points, by the whole block: each warp looks at 32 of them, and the median of the warps' bounds
// is taken. So points that lie far outside do not throw all others into one cell.
__device__ inline Bounds bounds_of_most(const Point* points, unsigned length, Bounds* of_warps) {
    unsigned long long probe = static_cast<unsigned long long>(threadIdx.x) * length / THREADS;
    Point point = points[probe];
    Bounds bounds = bounds_of_warp({point, point});
    if (lane_number() == 0) of_warps[warp_number()] = bounds;
    __syncthreads();
    bounds = of_warps[lane_number()];
    const Point &low = bounds.lowest, &high = bounds.highest;
    return {{median_of_warp(low.x), median_of_warp(low.y), median_of_warp(low.z)},
            {median_of_warp(high.x), median_of_warp(high.y), median_of_warp(high.z)}};
}

// A grid over a box, whose cells are numbered along a Morton curve. Points outside count as its border.
struct CurvedGrid {
    Point lowest, per_unit;

    __device__ explicit CurvedGrid(const Bounds& bounds) : lowest(bounds.lowest) {
        Point extent = bounds.highest - bounds.lowest;
        // Cells of flat clouds are flat, but a side that is as short as noise is not cut at all.
        float shortest = longest_side(bounds) / 4.0f;
        per_unit = {AXIS_CELLS / fmaxf(extent.x, shortest), AXIS_CELLS / fmaxf(extent.y, shortest),
                    AXIS_CELLS / fmaxf(extent.z, shortest)};
    }

    __device__ unsigned cell(Point point) const {
        Point from_lowest = point - lowest;
        return spread(along(from_lowest.x * per_unit.x)) | spread(along(from_lowest.y * per_unit.y)) << 1 |
               spread(along(from_lowest.z * per_unit.z)) << 2;
    }

private:
    // Whatever the value: what is no number comes to the first cell.
    static __device__ unsigned along(float value) {
        return static_cast<unsigned>(fminf(fmaxf(value, 0.0f), static_cast<float>(AXIS_CELLS - 1)));
    }

    // Moves bit `i` of four to bit `3 i`.
    static __device__ unsigned spread(unsigned coordinate) {
        unsigned x = (coordinate | coordinate << 4) & 0xc3u;
        return (x | x << 2) & 0x249u;
    }
};

// Replaces the number of points of each cell by that of the points in the cells before, by the whole block.
__device__ inline void start_cells(unsigned* cells, unsigned* of_warps) {
    unsigned* own = cells + CELLS_OF_THREAD * threadIdx.x;
    unsigned sum = 0;
    for (unsigned k = 0; k < CELLS_OF_THREAD; ++k) sum += own[k];
    unsigned up_to_this = sum_up_to_lane(sum);
    if (lane_number() == WARP - 1) of_warps[warp_number()] = up_to_this;
    __syncthreads();
    unsigned of_warp = of_warps[lane_number()];
    unsigned start = __shfl_sync(ALL_LANES, sum_up_to_lane(of_warp) - of_warp, warp_number()) + up_to_this - sum;
    for (unsigned k = 0; k < CELLS_OF_THREAD; ++k) {
        unsigned count = own[k];
        own[k] = start;
        start += count;
    }
    __syncthreads();
}

// Puts the points in the order of their cells, by the whole block; within a cell as the threads come. `cells` is shared
// memory for CELLS numbers.
__device__ inline void put_in_order(const Point* points, unsigned length, unsigned* cells, Placed* placed) {
    __shared__ Bounds bounds_of_warps[WARPS];
    __shared__ unsigned sums_of_warps[WARPS];
    for (unsigned i = threadIdx.x; i < CELLS; i += THREADS) cells[i] = 0;
    CurvedGrid grid(bounds_of_most(points, length, bounds_of_warps));
    for (unsigned i = threadIdx.x; i < length; i += THREADS) atomicAdd(&cells[grid.cell(points[i])], 1u);
    __syncthreads();
    start_cells(cells, sums_of_warps);
    for (unsigned i = threadIdx.x; i < length; i += THREADS) {
        Point point = points[i];
        placed[atomicAdd(&cells[grid.cell(point)], 1u)] = {point, i};
    }
    __syncthreads();
}

__device__ __forceinline__ float outside(float x, float low, float high) { return fmaxf(fmaxf(low - x, x - high), 0.0f); }

__device__ __forceinline__ float squared_distance_to(const Bounds& box, Point p) {
    const Point &low = box.lowest, &high = box.highest;
    return squared_length({outside(p.x, low.x, high.x), outside(p.y, low.y, high.y), outside(p.z, low.z, high.z)});
}

// The cloud in rows. Row `r` is that of warp `r % WARPS`, which has its box and furthest distance in lane
// `r / WARPS % WARP`; a lane has SLOTS of them. Short rows are as wide as a warp, others as wide as it takes, an even
// number of times as wide as a warp.
template <unsigned SLOTS, bool ARE_SHORT>
struct Rows {
    static constexpr unsigned MOST = SLOTS * THREADS;

    // In memory: the points in order, and their squared distances to the nearest sample. A distance is read and written
    // by one thread alone.
    Placed* placed;
    float* nearest;
    unsigned length;
    // Points of a row.
    unsigned width;
    // In shared memory, and written and read by the row's warp alone: the furthest point of each row.
    Placed* furthest_of_rows;
    // Of the lane's rows. A row that there is not has the distance zero, so that it is never reached and never wins.
    Bounds boxes[SLOTS];
    float furthest[SLOTS];
    // The lane one of whose rows has the furthest point of the warp, and the distance of that point.
    unsigned holder;
    float furthest_of_warp;

    // `memory` has room for five values for each of the `length` points; there is one point at least.
    __device__ Rows(const Point* points, float* memory, unsigned length)
        : placed(reinterpret_cast<Placed*>(memory)),
          nearest(memory + 4 * static_cast<size_t>(length)),
          length(length),
          width(ARE_SHORT ? WARP : 2 * WARP * ((length - 1) / (2 * WARP * MOST) + 1)) {
        DYNAMIC_SHARED(Placed, shared);
        furthest_of_rows = shared;
        // The cells are used before there are rows.
        put_in_order(points, length, reinterpret_cast<unsigned*>(shared), placed);
#pragma unroll
        for (unsigned slot = 0; slot < SLOTS; ++slot) {
            furthest[slot] = 0.0f;
            boxes[slot] = {{0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f}};
            for (unsigned lane = 0; lane < WARP && start(slot, lane) < length; ++lane) begin_row(slot, lane);
        }
        find_furthest();
        // Before an update writes about the rows.
        __syncwarp();
    }

    // Takes note of a new sample.
    __device__ void update(Point sample) {
        bool any = false;
#pragma unroll
        for (unsigned slot = 0; slot < SLOTS; ++slot) {
            bool is_reached = squared_distance_to(boxes[slot], sample) < furthest[slot];
            unsigned reached = __ballot_sync(ALL_LANES, is_reached);
            any = any || reached != 0;
            update_rows(slot, reached, sample);
        }
        if (any) find_furthest();
    }

    // The furthest point of all, for all threads of the block. `of_warps` may be used again after the next barrier.
    __device__ Candidate furthest_of_all(Furthests& of_warps) const {
        if (lane_number() == holder) {
            of_warps.distances[warp_number()] = furthest_of_warp;
            of_warps.placed[warp_number()] = furthest_of_rows[furthest_row()];
        }
        __syncthreads();
        float own = of_warps.distances[lane_number()], most = largest_of_warp(own);
        unsigned warp = lane_of_lowest(own == most, of_warps.placed[lane_number()].index);
        return {most, of_warps.placed[warp]};
    }

private:
    // What a lane read of a row; past the end of the cloud nothing, at the distance zero.
    struct Read {
        unsigned position;
        Candidate candidate;
    };

    __device__ unsigned row(unsigned slot, unsigned lane) const { return (slot * WARP + lane) * WARPS + warp_number(); }

    // Where the row begins in the order, which may be past the end.
    __device__ unsigned start(unsigned slot, unsigned lane) const {
        return row(slot, lane) * (ARE_SHORT ? WARP : width);
    }

    __device__ Read read(unsigned start) const {
        Read read = {start + lane_number(), no_candidate()};
        if (read.position < length) read.candidate = {nearest[read.position], placed[read.position]};
        return read;
    }

    // Finds the box of a row, and its point of the lowest index, all points being infinitely far from the samples.
    __device__ void begin_row(unsigned slot, unsigned lane) {
        Bounds box = {{INFINITY, INFINITY, INFINITY}, {-INFINITY, -INFINITY, -INFINITY}};
        Candidate first = no_candidate();
        unsigned begin = start(slot, lane), end = min(begin + width, length);
        for (unsigned position = begin + lane_number(); position < end; position += WARP) {
            Candidate own = {INFINITY, placed[position]};
            nearest[position] = INFINITY;
            first = further(own, first);
            Point p = own.placed.point, low = box.lowest, high = box.highest;
            box = {{fminf(low.x, p.x), fminf(low.y, p.y), fminf(low.z, p.z)},
                   {fmaxf(high.x, p.x), fmaxf(high.y, p.y), fmaxf(high.z, p.z)}};
        }
        box = bounds_of_warp(box);
        if (lane_number() == lane) boxes[slot] = box;
        settle(slot, lane, first);
    }

    // Goes through the rows that are set in the mask. Where it can, a warp reads twice before it waits for what it read.
    __device__ void update_rows(unsigned slot, unsigned reached, Point sample) {
        while (reached != 0) {
            unsigned lane = take_lowest(reached);
            if (!ARE_SHORT) {
                update_long_row(slot, lane, sample);
            } else if (reached == 0) {
                settle(slot, lane, updated(read(start(slot, lane)), sample));
            } else {
                update_two_rows(slot, lane, take_lowest(reached), sample);
            }
        }
    }

    __device__ void update_two_rows(unsigned slot, unsigned one, unsigned other, Point sample) {
        Read of_one = read(start(slot, one)), of_other = read(start(slot, other));
        settle(slot, one, updated(of_one, sample));
        settle(slot, other, updated(of_other, sample));
    }

    __device__ void update_long_row(unsigned slot, unsigned lane, Point sample) {
        Candidate furthest_of_lane = no_candidate();
        unsigned begin = start(slot, lane), end = min(begin + width, length);
        for (unsigned part = begin; part < end; part += 2 * WARP) {
            Read first = read(part), second = read(part + WARP);
            furthest_of_lane = further(updated(first, sample), furthest_of_lane);
            furthest_of_lane = further(updated(second, sample), furthest_of_lane);
        }
        settle(slot, lane, furthest_of_lane);
    }

    static __device__ unsigned take_lowest(unsigned& mask) {
        unsigned lowest = __ffs(mask) - 1;
        mask &= mask - 1;
        return lowest;
    }

    // Takes note of a new sample for a point that was read.
    __device__ Candidate updated(Read read, Point sample) {
        float distance = squared_length(read.candidate.placed.point - sample);
        if (distance < read.candidate.distance) {
            read.candidate.distance = distance;
            nearest[read.position] = distance;
        }
        return read.candidate;
    }

    // Notes the furthest of the lanes' points as that of a row.
    __device__ void settle(unsigned slot, unsigned lane, const Candidate& own) {
        float most = largest_of_warp(own.distance);
        unsigned at = lane_of_lowest(own.distance == most, own.placed.index);
        if (lane_number() == at) furthest_of_rows[row(slot, lane)] = own.placed;
        if (lane_number() == lane) furthest[slot] = most;
    }

    // The lane's row that has the furthest of its points.
    __device__ unsigned furthest_row() const {
        float most = furthest[0];
        unsigned found = row(0, lane_number());
#pragma unroll
        for (unsigned slot = 1; slot < SLOTS; ++slot) {
            unsigned other = row(slot, lane_number());
            bool is_further = furthest[slot] > most ||
                              (furthest[slot] == most && furthest_of_rows[other].index < furthest_of_rows[found].index);
            if (!is_further) continue;
            most = furthest[slot];
            found = other;
        }
        return found;
    }

    // Finds who has the furthest point of the warp.
    __device__ void find_furthest() {
        // What other lanes have written about the lane's rows.
        __syncwarp();
        float own = furthest[0];
#pragma unroll
        for (unsigned slot = 1; slot < SLOTS; ++slot) own = fmaxf(own, furthest[slot]);
        furthest_of_warp = largest_of_warp(own);
        holder = lane_of_lowest(own == furthest_of_warp, furthest_of_rows[furthest_row()].index);
    }
};
