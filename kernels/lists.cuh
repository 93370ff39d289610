// The points of every cell of a patch in a list, in their order and with their shares.
//
// Where there is much to do for each point of a cell, a search for it through masks of all points keeps the other lanes of a
// warp waiting, and so do cells of many points beside those of few; most cells have none. With a list, every step is
// for a point; and the cells are put in order, those of many points first, so that the lanes of a warp have about as many.
//
// All sums over a list are the CPU's to the bit. The order of cells of about as many points, and of lists in memory, may
// differ from run to run, but nothing that is computed.
#pragma once
#include "cells.cuh"

// As on the CPU, a sector more than there are takes what the first one gets from the last one, which is summed up apart.
constexpr unsigned SLOTS = CELLS + RINGS;
// Cells that a point is spread over: this or the next sector, shell and band.
constexpr unsigned CORNERS = 8;
// Masks of so many points are read in one access.
constexpr unsigned QUARTER = 4 * WARP;
constexpr unsigned QUARTERS = PATCH_CAPACITY / QUARTER;
// Cells are sorted by half their number of points, all beyond the last bucket alike.
constexpr unsigned BUCKETS = WARP;

struct alignas(8) Entry {
    float share;
    unsigned point;
};

struct CellLists {
    union {
        // Bit `i % 32` of a word for the `i`-th point, as it was found to lie in a cell.
        unsigned masks[QUARTERS][SLOTS][4];
        // Then the lists, and cells with points, those of most points first.
        struct {
            Entry entries[CORNERS * PATCH_CAPACITY];
            unsigned short order[CELLS];
        };
    };
    // The place of the first entry of each quarter of the points, and behind them the end of each list.
    unsigned short begins[QUARTERS + 1][SLOTS];
    // Cells of each bucket, then the place of the first of them in the order.
    unsigned buckets[BUCKETS];
    unsigned entries_used, cells_used;
};

static_assert(sizeof(CellLists) % 16 == 0, "what follows is aligned");

__device__ __forceinline__ unsigned slot_of(const Place& place, unsigned corner) {
    return (place.sector + corner / 4) * RINGS + (place.shell + corner / 2 % 2) * ELEVATIONS + place.band + corner % 2;
}

__device__ __forceinline__ float share_of(const Place& place, unsigned corner) {
    return share_of(place, corner / 2 % 2 == 1, corner % 2 == 1, corner / 4 == 1);
}

__device__ __forceinline__ uint4 mask_of_quarter(const CellLists& lists, unsigned quarter, unsigned slot) {
    return *reinterpret_cast<const uint4*>(lists.masks[quarter][slot]);
}

__device__ __forceinline__ unsigned count(uint4 mask) {
    return __popc(mask.x) + __popc(mask.y) + __popc(mask.z) + __popc(mask.w);
}

__device__ __forceinline__ unsigned count_in(const CellLists& lists, unsigned slot) {
    unsigned sum = 0;
#pragma unroll
    for (unsigned quarter = 0; quarter < QUARTERS; ++quarter) sum += count(mask_of_quarter(lists, quarter, slot));
    return sum;
}

// Builds the lists of a patch, by a block of THREADS threads; each has some points, slots and cells.
template <unsigned THREADS>
class ListBuilder {
    static constexpr unsigned POINTS_EACH = PATCH_CAPACITY / THREADS;
    static constexpr unsigned SLOTS_EACH = (SLOTS + THREADS - 1) / THREADS;
    static constexpr unsigned CELLS_EACH = (CELLS + THREADS - 1) / THREADS;
    static_assert(POINTS_EACH * THREADS == PATCH_CAPACITY, "all threads have as many points");

    CellLists& lists;
    Place places[POINTS_EACH];
    bool placed[POINTS_EACH];
    unsigned entries[POINTS_EACH][CORNERS];
    // The bucket of each cell, 0 if it has no points, and its number there.
    unsigned buckets[CELLS_EACH], numbers[CELLS_EACH];

    static __device__ __forceinline__ unsigned number(unsigned i) { return threadIdx.x + i * THREADS; }

    __device__ __forceinline__ void clear() {
        uint4* masks = reinterpret_cast<uint4*>(lists.masks);
        for (unsigned i = threadIdx.x; i < QUARTERS * SLOTS; i += THREADS) masks[i] = {};
        if (threadIdx.x < BUCKETS) lists.buckets[threadIdx.x] = 0;
        if (threadIdx.x == 0) lists.entries_used = 0;
    }

    // Finds the cells of the thread's points, which go to `points` in the patch's frame.
    __device__ __forceinline__ void file(const Point* offsets, unsigned count, const float* frame, float4* points) {
#pragma unroll
        for (unsigned i = 0; i < POINTS_EACH; ++i) {
            unsigned point = number(i);
            placed[i] = false;
            if (point >= count) continue;
            Point p = in_frame(frame, offsets[point]);
            points[point] = {p.x, p.y, p.z, 0.0f};
            placed[i] = find_place(p, places[i]);
            if (!placed[i]) continue;
#pragma unroll
            for (unsigned corner = 0; corner < CORNERS; ++corner) {
                unsigned* mask = lists.masks[point / QUARTER][slot_of(places[i], corner)];
                atomicOr(mask + point / WARP % 4, 1u << point % WARP);
            }
        }
    }

    // Takes room for the lists of the thread's slots.
    __device__ __forceinline__ void begin_lists() {
        unsigned counts[SLOTS_EACH][QUARTERS], total = 0;
#pragma unroll
        for (unsigned i = 0; i < SLOTS_EACH; ++i) {
#pragma unroll
            for (unsigned quarter = 0; quarter < QUARTERS; ++quarter) {
                bool present = number(i) < SLOTS;
                counts[i][quarter] = present ? count(mask_of_quarter(lists, quarter, number(i))) : 0;
                total += counts[i][quarter];
            }
        }
        unsigned up_to_lane = sum_up_to_lane(total), of_warp = 0;
        if (lane_number() == WARP - 1) of_warp = atomicAdd(&lists.entries_used, up_to_lane);
        unsigned next = __shfl_sync(ALL_LANES, of_warp, WARP - 1) + up_to_lane - total;
#pragma unroll
        for (unsigned i = 0; i < SLOTS_EACH; ++i) {
            if (number(i) >= SLOTS) continue;
#pragma unroll
            for (unsigned quarter = 0; quarter < QUARTERS; ++quarter) {
                lists.begins[quarter][number(i)] = static_cast<unsigned short>(next);
                next += counts[i][quarter];
            }
            lists.begins[QUARTERS][number(i)] = static_cast<unsigned short>(next);
        }
    }

    __device__ __forceinline__ void count_cells() {
#pragma unroll
        for (unsigned i = 0; i < CELLS_EACH; ++i) {
            buckets[i] = 0;
            unsigned cell = number(i);
            if (cell >= CELLS) continue;
            unsigned points = count_in(lists, cell) + (cell < RINGS ? count_in(lists, cell + CELLS) : 0);
            if (points == 0) continue;
            buckets[i] = min((points + 1) / 2, BUCKETS - 1);
            numbers[i] = atomicAdd(&lists.buckets[buckets[i]], 1);
        }
    }

    // Places of the thread's points in the lists: behind the points of the cell that come before.
    __device__ __forceinline__ void find_entries() {
#pragma unroll
        for (unsigned i = 0; i < POINTS_EACH; ++i) {
            if (!placed[i]) continue;
            unsigned point = number(i), quarter = point / QUARTER, word = point / WARP % 4;
            unsigned before = (1u << point % WARP) - 1;
            auto before_in = [&](unsigned other) { return other < word ? ALL_LANES : other == word ? before : 0; };
            uint4 earlier = {before_in(0), before_in(1), before_in(2), before_in(3)};
#pragma unroll
            for (unsigned corner = 0; corner < CORNERS; ++corner) {
                unsigned slot = slot_of(places[i], corner);
                uint4 mask = mask_of_quarter(lists, quarter, slot);
                mask = {mask.x & earlier.x, mask.y & earlier.y, mask.z & earlier.z, mask.w & earlier.w};
                entries[i][corner] = lists.begins[quarter][slot] + count(mask);
            }
        }
    }

    // By one warp: from the last bucket to the first.
    __device__ __forceinline__ void begin_buckets() {
        unsigned bucket = BUCKETS - 1 - lane_number(), cells = lists.buckets[bucket], up_to_lane = sum_up_to_lane(cells);
        lists.buckets[bucket] = up_to_lane - cells;
        if (bucket == 0) lists.cells_used = up_to_lane;
    }

    __device__ __forceinline__ void write() {
#pragma unroll
        for (unsigned i = 0; i < POINTS_EACH; ++i) {
            if (!placed[i]) continue;
#pragma unroll
            for (unsigned corner = 0; corner < CORNERS; ++corner)
                lists.entries[entries[i][corner]] = {share_of(places[i], corner), number(i)};
        }
#pragma unroll
        for (unsigned i = 0; i < CELLS_EACH; ++i) {
            if (buckets[i] == 0) continue;
            lists.order[lists.buckets[buckets[i]] + numbers[i]] = static_cast<unsigned short>(number(i));
        }
    }

public:
    __device__ __forceinline__ explicit ListBuilder(CellLists& lists) : lists(lists) {}

    // `count` points, which go to `points` in the patch's frame. Ends with a barrier.
    __device__ __forceinline__ void build(const Point* offsets, unsigned count, const float* frame, float4* points) {
        clear();
        __syncthreads();
        file(offsets, count, frame, points);
        __syncthreads();
        begin_lists();
        count_cells();
        __syncthreads();
        find_entries();
        if (warp_number() == 0) begin_buckets();
        __syncthreads();
        write();
        __syncthreads();
    }
};

// Calls `add(share, point)` for all entries of a list.
template <class Add>
__device__ __forceinline__ void for_each_entry(const CellLists& lists, unsigned slot, const float4* points, Add add) {
    // Some entries are read at once, since each read takes long.
#pragma unroll 4
    for (unsigned i = lists.begins[0][slot]; i < lists.begins[QUARTERS][slot]; ++i) {
        Entry entry = lists.entries[i];
        float4 p = points[entry.point];
        add(entry.share, Point{p.x, p.y, p.z});
    }
}
