// The points of a patch in the grid of cells: where they lie, and which of them add to a cell.
//
// Where a point lies is computed as in src/stages/describe/places.rs, operation by operation. Each point is filed under
// the lowest of the eight cells that it is spread over, as a bit of a mask. So a cell's thread finds the points that it
// gets in eight sets of masks, in the order of the points, which is the order in which the CPU adds them up: all sums
// are equal to the bit, and nothing is sorted.
#pragma once
#include "common.cuh"

// The grid, as in src/stages/describe/mod.rs, and the most points of a patch.
constexpr unsigned RADII = 4;
constexpr unsigned ELEVATIONS = 7;
constexpr unsigned AZIMUTHS = 20;
constexpr unsigned RINGS = RADII * ELEVATIONS;
constexpr unsigned CELLS = RINGS * AZIMUTHS;
constexpr unsigned PATCH_CAPACITY = 512;
// Threads of a block that works on one patch: at least one for each cell, and for each point.
constexpr unsigned PATCH_THREADS = 576;
static_assert(PATCH_THREADS >= CELLS && PATCH_THREADS >= PATCH_CAPACITY, "one thread for each");

// Shells and bands that are lowest for some points: all but the last.
constexpr unsigned LOWER_SHELLS = RADII - 1;
constexpr unsigned LOWER_BANDS = ELEVATIONS - 1;
constexpr unsigned FILES = AZIMUTHS * LOWER_SHELLS * LOWER_BANDS;
constexpr unsigned WORDS = PATCH_CAPACITY / WARP;

// The points filed under each lowest cell: bit `i % 32` of word `i / 32` for the `i`-th point.
typedef unsigned PointMasks[WORDS][FILES];

// Shares of the next shell, band and sector in each point.
struct PointShares {
    float radial[PATCH_CAPACITY];
    float elevation[PATCH_CAPACITY];
    float azimuth[PATCH_CAPACITY];
};

__device__ __forceinline__ unsigned file_of(unsigned sector, unsigned shell, unsigned band) {
    return (sector * LOWER_SHELLS + shell) * LOWER_BANDS + band;
}

// p_patch = R^T d: the columns of R are its rows.
__device__ __forceinline__ Point in_frame(const float* frame, Point d) {
    return {frame[0] * d.x + frame[3] * d.y + frame[6] * d.z, frame[1] * d.x + frame[4] * d.y + frame[7] * d.z,
            frame[2] * d.x + frame[5] * d.y + frame[8] * d.z};
}

// atan2(y, x) in 0..2 pi. Polynomial in the ratio of the smaller to the larger coordinate (Abramowitz and Stegun,
// 4.4.49).
__device__ __forceinline__ float azimuth_of(float y, float x) {
    constexpr float PI = 3.14159274f, HALF_PI = 1.57079637f, TWO_PI = 6.28318548f, LEAST_NORMAL = 1.17549435e-38f;
    float ax = fabsf(x), ay = fabsf(y);
    float t = fminf(ax, ay) / fmaxf(fmaxf(ax, ay), LEAST_NORMAL);
    float t2 = t * t;
    float series = -0.016165737f + t2 * 0.002866226f;
    series = 0.042909613f + t2 * series;
    series = -0.07528964f + t2 * series;
    series = 0.10656264f + t2 * series;
    series = -0.142089f + t2 * series;
    series = 0.19993551f + t2 * series;
    series = -0.33333145f + t2 * series;
    float angle = t + t * t2 * series;
    if (ay > ax) angle = HALF_PI - angle;
    if (x < 0.0f) angle = PI - angle;
    return y < 0.0f ? TWO_PI - angle : angle;
}

__device__ __forceinline__ float clamped(float value, float highest) { return fminf(fmaxf(value, 0.0f), highest); }

// By the whole block; masks of words beyond the points are not used.
__device__ __forceinline__ void clear_masks(unsigned count, PointMasks masks) {
    unsigned used = (count + WARP - 1) / WARP * FILES;
    for (unsigned i = threadIdx.x; i < used; i += blockDim.x) masks[i / FILES][i % FILES] = 0;
}

// The lowest of the eight cells that a point is spread over, and the shares of the next shell, band and sector.
struct Place {
    unsigned sector, shell, band;
    float radial, elevation, azimuth;
};

// False for a point so close to the keypoint that it has no direction.
__device__ __forceinline__ bool find_place(Point p, Place& place) {
    constexpr float NO_DIRECTION = 1e-4f;
    constexpr float SECTORS_PER_RADIAN = AZIMUTHS / 6.28318548f;
    float r = sqrtf(p.x * p.x + p.y * p.y + p.z * p.z);
    if (!(r > NO_DIRECTION)) return false;
    float sine = p.z / r;
    float u = clamped(r * RADII - 0.5f, RADII - 1);
    float v = clamped((sine + 1.0f) * 0.5f * ELEVATIONS - 0.5f, ELEVATIONS - 1);
    float a = clamped(azimuth_of(p.y, p.x) * SECTORS_PER_RADIAN, AZIMUTHS);
    place.shell = min(static_cast<unsigned>(u), LOWER_SHELLS - 1);
    place.band = min(static_cast<unsigned>(v), LOWER_BANDS - 1);
    place.sector = min(static_cast<unsigned>(a), AZIMUTHS - 1);
    place.radial = u - place.shell;
    place.elevation = v - place.band;
    place.azimuth = a - place.sector;
    return true;
}

// Files the `i`-th point, unless it has no direction.
__device__ void file_point(unsigned i, Point p, PointMasks masks, PointShares& shares) {
    Place place;
    if (!find_place(p, place)) return;
    shares.radial[i] = place.radial;
    shares.elevation[i] = place.elevation;
    shares.azimuth[i] = place.azimuth;
    atomicOr(&masks[i / WARP][file_of(place.sector, place.shell, place.band)], 1u << i % WARP);
}

// A cell of the grid. Sectors come last, so the points that the first sector gets from the last one, which the CPU sums
// up apart, concern the lanes of one warp.
struct Cell {
    unsigned sector, shell, band;

    __device__ explicit Cell(unsigned number)
        : sector(number / RINGS), shell(number % RINGS / ELEVATIONS), band(number % ELEVATIONS) {}

    __device__ unsigned ring() const { return shell * ELEVATIONS + band; }
    __device__ unsigned sector_before() const { return (sector + AZIMUTHS - 1) % AZIMUTHS; }
};

// Points of one word of masks that a cell gets, by the cells they are filed under.
struct Found {
    unsigned all = 0, from_shell_below = 0, from_band_below = 0, from_sector_before = 0;

    __device__ void add(const unsigned* masks, unsigned sector, const Cell& cell, bool sector_before) {
        for (unsigned below = 0; below < 2; ++below) {
            // The last shell and the last band are no lowest ones, and below the first there is none.
            if (below == 0 ? cell.shell == LOWER_SHELLS : cell.shell == 0) continue;
            unsigned shell = cell.shell - below;
            unsigned level = cell.band < LOWER_BANDS ? masks[file_of(sector, shell, cell.band)] : 0;
            unsigned beneath = cell.band > 0 ? masks[file_of(sector, shell, cell.band - 1)] : 0;
            unsigned both = level | beneath;
            all |= both;
            from_band_below |= beneath;
            if (below == 1) from_shell_below |= both;
            if (sector_before) from_sector_before |= both;
        }
    }
};

// Calls `add(point, share)` for all points that a cell gets from its own sector and from the one before, or from one of
// them, in the order of the points.
template <class Add>
__device__ void for_each_point(const Cell& cell, bool own, bool before, unsigned count, const PointMasks masks,
                               const PointShares& shares, Add add) {
    for (unsigned word = 0; word * WARP < count; ++word) {
        Found found;
        if (own) found.add(masks[word], cell.sector, cell, false);
        if (before) found.add(masks[word], cell.sector_before(), cell, true);
        for (unsigned left = found.all; left != 0; left &= left - 1) {
            unsigned bit = left & -left;
            unsigned i = word * WARP + __ffs(bit) - 1;
            float u = shares.radial[i], v = shares.elevation[i], a = shares.azimuth[i];
            float radial = found.from_shell_below & bit ? u : 1.0f - u;
            float elevation = found.from_band_below & bit ? v : 1.0f - v;
            float azimuth = found.from_sector_before & bit ? a : 1.0f - a;
            add(i, radial * elevation * azimuth);
        }
    }
}
