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

// The furthest point of each warp, and the distance of the furthest of its others.
struct Furthests {
    Placed placed[WARPS];
    float distances[WARPS];
    float rests[WARPS];
};

// Up to MOST samples in their order; how many they are is the same for all threads.
template <unsigned MOST>
struct Samples {
    Placed placed[MOST];
    unsigned number;

    // The squared distance from a point to the nearest of them. There is one at least.
    __device__ float distance_to(Point point) const {
        float nearest = squared_length(point - placed[0].point);
#pragma unroll
        for (unsigned k = 1; k < MOST; ++k)
            if (k < number) nearest = fminf(nearest, squared_length(point - placed[k].point));
        return nearest;
    }
};

// The furthest of some points, and the distance of the second.
struct Leading {
    Candidate first;
    float second;

    __device__ __forceinline__ void add(const Candidate& other) {
        second = fmaxf(second, fminf(first.distance, other.distance));
        first = further(other, first);
    }
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
// number of times as wide as a warp. Up to AT_ONCE samples are taken at once.
template <unsigned SLOTS, bool ARE_SHORT, unsigned AT_ONCE>
struct Rows {
    static constexpr unsigned MOST = SLOTS * THREADS;
    static constexpr unsigned MOST_AT_ONCE = AT_ONCE;
    using NextSamples = Samples<AT_ONCE>;

    // In memory: the points in order, and their squared distances to the nearest sample. A distance is read and written
    // by one thread alone.
    Placed* placed;
    float* nearest;
    unsigned length;
    // Points of a row.
    unsigned width;
    // In shared memory, and written and read by the row's warp alone: the furthest point of each row, and the distance of
    // the second.
    Placed* furthest_of_rows;
    float* second_of_rows;
    // Of the lane's rows. A row that there is not has the distance zero, so that it is never reached and never wins.
    Bounds boxes[SLOTS];
    float furthest[SLOTS];
    // The lane one of whose rows has the furthest point of the warp, the distance of that point and of the second.
    unsigned holder;
    float furthest_of_warp, rest_of_warp;

    // `memory` has room for five values for each of the `length` points; there is one point at least.
    __device__ Rows(const Point* points, float* memory, unsigned length)
        : placed(reinterpret_cast<Placed*>(memory)),
          nearest(memory + 4 * static_cast<size_t>(length)),
          length(length),
          width(ARE_SHORT ? WARP : 2 * WARP * ((length - 1) / (2 * WARP * MOST) + 1)) {
        DYNAMIC_SHARED(Placed, shared);
        furthest_of_rows = shared;
        second_of_rows = reinterpret_cast<float*>(shared + MOST);
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

    // Takes note of new samples, of which there is one at least.
    __device__ void update(const NextSamples& samples) {
        bool any = false;
#pragma unroll
        for (unsigned slot = 0; slot < SLOTS; ++slot) {
            bool is_reached = squared_distance_to(boxes[slot], samples.placed[0].point) < furthest[slot];
#pragma unroll
            for (unsigned k = 1; k < AT_ONCE; ++k)
                if (k < samples.number)
                    is_reached = is_reached || squared_distance_to(boxes[slot], samples.placed[k].point) < furthest[slot];
            unsigned reached = __ballot_sync(ALL_LANES, is_reached);
            any = any || reached != 0;
            update_rows(slot, reached, samples);
        }
        if (any) find_furthest();
    }

    // The next samples, `wanted` at most, for all threads of the block; none where all that is left lies on samples.
    // `of_warps` may be used again after the next barrier.
    //
    // The furthest point is the next sample. The furthest of the other warps' points is the one after that, if it is not so
    // near to the first that its distance shrinks, and no other point of the first one's warp was as far: all distances but
    // its own may only have shrunk. And so on.
    __device__ NextSamples next(Furthests& of_warps, unsigned wanted) const {
        if (lane_number() == holder) {
            of_warps.distances[warp_number()] = furthest_of_warp;
            if (AT_ONCE > 1) of_warps.rests[warp_number()] = rest_of_warp;
            of_warps.placed[warp_number()] = furthest_of_rows[furthest_row()];
        }
        __syncthreads();
        float own = of_warps.distances[lane_number()], hidden = 0.0f;
        NextSamples samples;
        samples.number = 0;
        bool is_known = true;
#pragma unroll
        for (unsigned k = 0; k < AT_ONCE; ++k) {
            if (!is_known) break;
            float most = largest_of_warp(own);
            unsigned warp = lane_of_lowest(own == most, of_warps.placed[lane_number()].index);
            Placed furthest = of_warps.placed[warp];
            is_known = k < wanted && most > hidden && (k == 0 || samples.distance_to(furthest.point) >= most);
            if (!is_known) break;
            samples.placed[k] = furthest;
            samples.number = k + 1;
            if (k + 1 < AT_ONCE) hidden = fmaxf(hidden, of_warps.rests[warp]);
            if (lane_number() == warp) own = 0.0f;
        }
        return samples;
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
        Leading leading = {no_candidate(), 0.0f};
        unsigned begin = start(slot, lane), end = min(begin + width, length);
        for (unsigned position = begin + lane_number(); position < end; position += WARP) {
            Candidate own = {INFINITY, placed[position]};
            nearest[position] = INFINITY;
            leading.add(own);
            Point p = own.placed.point, low = box.lowest, high = box.highest;
            box = {{fminf(low.x, p.x), fminf(low.y, p.y), fminf(low.z, p.z)},
                   {fmaxf(high.x, p.x), fmaxf(high.y, p.y), fmaxf(high.z, p.z)}};
        }
        box = bounds_of_warp(box);
        if (lane_number() == lane) boxes[slot] = box;
        settle(slot, lane, leading);
    }

    // Goes through the rows that are set in the mask. Where it can, a warp reads twice before it waits for what it read.
    __device__ void update_rows(unsigned slot, unsigned reached, const NextSamples& samples) {
        while (reached != 0) {
            unsigned lane = take_lowest(reached);
            if (!ARE_SHORT) {
                update_long_row(slot, lane, samples);
            } else if (reached == 0) {
                settle(slot, lane, {updated(read(start(slot, lane)), samples), 0.0f});
            } else {
                update_two_rows(slot, lane, take_lowest(reached), samples);
            }
        }
    }

    __device__ void update_two_rows(unsigned slot, unsigned one, unsigned other, const NextSamples& samples) {
        Read of_one = read(start(slot, one)), of_other = read(start(slot, other));
        settle(slot, one, {updated(of_one, samples), 0.0f});
        settle(slot, other, {updated(of_other, samples), 0.0f});
    }

    __device__ void update_long_row(unsigned slot, unsigned lane, const NextSamples& samples) {
        Leading leading = {no_candidate(), 0.0f};
        unsigned begin = start(slot, lane), end = min(begin + width, length);
        for (unsigned part = begin; part < end; part += 2 * WARP) {
            Read first = read(part), second = read(part + WARP);
            leading.add(updated(first, samples));
            leading.add(updated(second, samples));
        }
        settle(slot, lane, leading);
    }

    static __device__ unsigned take_lowest(unsigned& mask) {
        unsigned lowest = __ffs(mask) - 1;
        mask &= mask - 1;
        return lowest;
    }

    // Takes note of new samples for a point that was read.
    __device__ Candidate updated(Read read, const NextSamples& samples) {
        float distance = samples.distance_to(read.candidate.placed.point);
        if (distance < read.candidate.distance) {
            read.candidate.distance = distance;
            nearest[read.position] = distance;
        }
        return read.candidate;
    }

    // Notes the furthest of the lanes' points as that of a row.
    __device__ void settle(unsigned slot, unsigned lane, const Leading& own) {
        const Candidate& first = own.first;
        float most = largest_of_warp(first.distance);
        unsigned at = lane_of_lowest(first.distance == most, first.placed.index);
        if (lane_number() == at) furthest_of_rows[row(slot, lane)] = first.placed;
        if (AT_ONCE > 1) {
            float next = largest_of_warp(lane_number() == at ? own.second : first.distance);
            if (lane_number() == at) second_of_rows[row(slot, lane)] = next;
        }
        if (lane_number() == lane) furthest[slot] = most;
    }

    // Which of the lane's rows has the furthest of its points.
    __device__ unsigned furthest_slot() const {
        float most = furthest[0];
        unsigned found = 0;
#pragma unroll
        for (unsigned slot = 1; slot < SLOTS; ++slot) {
            bool is_further = furthest[slot] > most || (furthest[slot] == most && index_of(slot) < index_of(found));
            if (!is_further) continue;
            most = furthest[slot];
            found = slot;
        }
        return found;
    }

    __device__ unsigned furthest_row() const { return row(furthest_slot(), lane_number()); }

    // The index of the furthest point of one of the lane's rows.
    __device__ unsigned index_of(unsigned slot) const { return furthest_of_rows[row(slot, lane_number())].index; }

    // The furthest distance of the lane's points, but for the one that is furthest of the warp.
    __device__ float rest_of_lane() const {
        unsigned slot_of_furthest = lane_number() == holder ? furthest_slot() : SLOTS;
        float rest = 0.0f;
#pragma unroll
        for (unsigned slot = 0; slot < SLOTS; ++slot)
            if (slot != slot_of_furthest) rest = fmaxf(rest, furthest[slot]);
        if (lane_number() == holder) rest = fmaxf(rest, second_of_rows[row(slot_of_furthest, lane_number())]);
        return rest;
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
        if (AT_ONCE > 1) rest_of_warp = largest_of_warp(rest_of_lane());
    }
};
