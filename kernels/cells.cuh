// The grid of cells of a patch, and where a point lies in it: spread over eight cells, as in
// src/stages/describe/places.rs, operation by operation.
#pragma once
#include "common.cuh"

// The grid, as in src/stages/describe/mod.rs, and the most points of a patch.
constexpr unsigned RADII = 4;
constexpr unsigned ELEVATIONS = 7;
constexpr unsigned AZIMUTHS = 20;
constexpr unsigned RINGS = RADII * ELEVATIONS;
constexpr unsigned CELLS = RINGS * AZIMUTHS;
constexpr unsigned PATCH_CAPACITY = 512;
// Shells and bands that are lowest for some points: all but the last.
constexpr unsigned LOWER_SHELLS = RADII - 1;
constexpr unsigned LOWER_BANDS = ELEVATIONS - 1;

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

// The lowest of the eight cells that a point is spread over, and the shares of the next shell, band and sector.
struct Place {
    unsigned sector, shell, band;
    float radial, elevation, azimuth;
};

// What a point adds to one of its eight cells: the lowest, or the next along each of shell, band and sector.
__device__ __forceinline__ float share_of(const Place& place, bool next_shell, bool next_band, bool next_sector) {
    float radial = next_shell ? place.radial : 1.0f - place.radial;
    float elevation = next_band ? place.elevation : 1.0f - place.elevation;
    float azimuth = next_sector ? place.azimuth : 1.0f - place.azimuth;
    return radial * elevation * azimuth;
}

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

// A cell of the grid.
struct Cell {
    unsigned sector, shell, band;

    __device__ explicit Cell(unsigned number)
        : sector(number / RINGS), shell(number % RINGS / ELEVATIONS), band(number % ELEVATIONS) {}

    __device__ unsigned ring() const { return shell * ELEVATIONS + band; }
};
