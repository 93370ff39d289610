// The circular correlation of equivariant maps, by their Fourier coefficients in fixed point: as
// src/stages/matching/correlation.rs has it, which see for what is summed up.
#pragma once
#include "common.cuh"
#include "fixed_point.cuh"

// As in src/stages/describe/ and src/stages/matching/.
constexpr unsigned AZIMUTHS = 20;
constexpr unsigned FREQUENCIES = 4;

// The first quarter of cos(2 pi k / 20), in steps, and of the waves along which rings are taken apart.
constexpr unsigned QUARTER = AZIMUTHS / 4;
__constant__ const int COSINES[QUARTER + 1] = {16384, 15582, 13255, 9630, 5063, 0};
__constant__ const int WAVE[QUARTER + 1] = {5181, 4927, 4192, 3045, 1601, 0};
// sin(2 pi k / 20) = cos(2 pi (k + 15) / 20).
constexpr unsigned TO_SINE = 3 * QUARTER;

// What stands for one is two to the power of these.
constexpr unsigned STEP_BITS = 2 * LOW_BITS;
static_assert(FIXED_ONE == 1u << STEP_BITS, "coefficients have the steps of all values");

// A wave at any angle in sectors, from its first quarter.
__device__ __forceinline__ int wave_at(const int (&quarter)[QUARTER + 1], unsigned sectors) {
    unsigned k = sectors % AZIMUTHS;
    if (k > 2 * QUARTER) k = AZIMUTHS - k;
    return k > QUARTER ? -quarter[2 * QUARTER - k] : quarter[k];
}

// A sum of products as a value again: the nearest number of steps, halves upwards. Unsigned sums wrap.
__device__ __forceinline__ int rounded(unsigned sum) {
    int steps = static_cast<int>(sum + (1u << (STEP_BITS - 1))) >> STEP_BITS;
    return min(max(steps, -FIXED_MOST), FIXED_MOST);
}

// Of one ring, the coefficient along the cosine in the lower half and that along the sine in the upper, for each frequency
// from 1 on.
struct alignas(16) RingCoefficients {
    unsigned pairs[FREQUENCIES];
};

__device__ __forceinline__ int cosine_part(unsigned pair) { return static_cast<short>(pair); }
__device__ __forceinline__ int sine_part(unsigned pair) { return static_cast<int>(pair) >> 16; }

// Of a ring's values in steps.
__device__ __forceinline__ RingCoefficients coefficients_of_ring(const int (&steps)[AZIMUTHS]) {
    RingCoefficients ring;
#pragma unroll
    for (unsigned f = 0; f < FREQUENCIES; ++f) {
        unsigned cosine = 0, sine = 0;
#pragma unroll
        for (unsigned k = 0; k < AZIMUTHS; ++k) {
            cosine += static_cast<unsigned>(steps[k] * wave_at(WAVE, (f + 1) * k));
            sine += static_cast<unsigned>(steps[k] * wave_at(WAVE, (f + 1) * k + TO_SINE));
        }
        ring.pairs[f] = (static_cast<unsigned>(rounded(cosine)) & 0xffff) | static_cast<unsigned>(rounded(sine)) << 16;
    }
    return ring;
}

// Lanes that correlate a pair of maps together.
constexpr unsigned PAIR_LANES = 16;
static_assert(PAIR_LANES > AZIMUTHS / 2, "a lane for each turn to one side");

// Cosine and sine of each frequency at the turn of a lane: that of as many sectors.
struct Turn {
    int cosine[FREQUENCIES], sine[FREQUENCIES];
};

__device__ __forceinline__ Turn turn_of_lane() {
    Turn turn;
#pragma unroll
    for (unsigned f = 0; f < FREQUENCIES; ++f) {
        unsigned angle = (f + 1) * (lane_number() % PAIR_LANES);
        turn.cosine[f] = wave_at(COSINES, angle);
        turn.sine[f] = wave_at(COSINES, angle + TO_SINE);
    }
    return turn;
}

// The sum over the lanes of a pair.
__device__ __forceinline__ unsigned sum_of_pair(unsigned value) {
#pragma unroll
    for (unsigned distance = 1; distance < PAIR_LANES; distance *= 2)
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// The highest correlation of two maps at any turn, not less than zero, in steps squared; for PAIR_LANES lanes together,
// and for all of the warp at once.
__device__ __forceinline__ unsigned highest_correlation(const RingCoefficients* source, const RingCoefficients* target,
                                                        unsigned rings, const Turn& turn) {
    unsigned alike[FREQUENCIES] = {}, across[FREQUENCIES] = {};
    for (unsigned ring = lane_number() % PAIR_LANES; ring < rings; ring += PAIR_LANES) {
        RingCoefficients s = source[ring], t = target[ring];
#pragma unroll
        for (unsigned f = 0; f < FREQUENCIES; ++f) {
            int a = cosine_part(s.pairs[f]), b = sine_part(s.pairs[f]);
            int c = cosine_part(t.pairs[f]), d = sine_part(t.pairs[f]);
            alike[f] += static_cast<unsigned>(a * c) + static_cast<unsigned>(b * d);
            across[f] += static_cast<unsigned>(a * d) - static_cast<unsigned>(b * c);
        }
    }
    unsigned even = 0, odd = 0;
#pragma unroll
    for (unsigned f = 0; f < FREQUENCIES; ++f) {
        even += static_cast<unsigned>(rounded(sum_of_pair(alike[f])) * turn.cosine[f]);
        odd += static_cast<unsigned>(rounded(sum_of_pair(across[f])) * turn.sine[f]);
    }
    // Turns to the left and to the right have the same cosines and opposite sines.
    int higher = static_cast<int>(even + (static_cast<int>(odd) < 0 ? 0u - odd : odd));
#pragma unroll
    for (unsigned distance = 1; distance < PAIR_LANES; distance *= 2)
        higher = max(higher, __shfl_xor_sync(ALL_LANES, higher, distance));
    return static_cast<unsigned>(max(higher, 0));
}
