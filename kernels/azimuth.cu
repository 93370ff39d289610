// The angle about the axis at which two equivariant maps correlate best. See src/stages/azimuth/.
#include "common.cuh"

// As in src/stages/describe/.
constexpr unsigned AZIMUTHS = 20;
// A thread has one shift of one match and sums up in the order of the CPU, so peaks that are nearly as high fall alike.
// Reads of shared memory bound it, two for every product; a few thousand matches keep all of a device busy.
constexpr unsigned MATCHES = 8;
constexpr unsigned THREADS = MATCHES * AZIMUTHS;
// Rings of every match that are in shared memory at a time.
constexpr unsigned RINGS = 8;

struct Maps {
    float source[MATCHES][RINGS][AZIMUTHS];
    // Twice, so that no shift reaches beyond the end.
    float target[MATCHES][RINGS][2 * AZIMUTHS];
};

// Brings up to RINGS rings of both maps of this thread's match to shared memory, each thread one azimuth.
__device__ __forceinline__ void load_rings(const float* source, const float* target, unsigned rings, unsigned match,
                                           unsigned azimuth, Maps& maps) {
    for (unsigned ring = 0; ring < rings; ++ring) {
        maps.source[match][ring][azimuth] = source[ring * AZIMUTHS + azimuth];
        float value = target[ring * AZIMUTHS + azimuth];
        maps.target[match][ring][azimuth] = value;
        maps.target[match][ring][azimuth + AZIMUTHS] = value;
    }
}

// Position of the largest value in cells, 0..AZIMUTHS, with the vertex of the parabola through its neighbours.
__device__ float peak(const float* sums) {
    unsigned top = 0;
    for (unsigned shift = 1; shift < AZIMUTHS; ++shift) {
        if (sums[shift] > sums[top]) top = shift;
    }
    float before = sums[(top + AZIMUTHS - 1) % AZIMUTHS], after = sums[(top + 1) % AZIMUTHS];
    float curvature = before - 2.0f * sums[top] + after;
    float fraction = curvature < -1e-12f ? 0.5f * (before - after) / curvature : 0.0f;
    // By comparisons, so that NaN stays NaN.
    fraction = fraction < -0.5f ? -0.5f : fraction > 0.5f ? 0.5f : fraction;
    float position = static_cast<float>(top) + fraction;
    if (position < 0.0f) position += static_cast<float>(AZIMUTHS);
    // What lies before zero by less than half an f32 step has been rounded up to a full turn.
    return position < static_cast<float>(AZIMUTHS) ? position : 0.0f;
}

// angles[i] = the turn of match i. A block has MATCHES matches.
extern "C" __global__ void __launch_bounds__(THREADS)
align_azimuth(const float* source, const float* target, unsigned rings, const uint2* matches, unsigned count,
              float* angles) {
    __shared__ Maps maps;
    __shared__ float sums[MATCHES][AZIMUTHS];
    unsigned match = threadIdx.x / AZIMUTHS, shift = threadIdx.x % AZIMUTHS;
    unsigned number = blockIdx.x * MATCHES + match;
    // Threads beyond the last match do as the last one's, since barriers want all.
    uint2 pair = matches[min(number, count - 1)];
    source += static_cast<size_t>(pair.x) * rings * AZIMUTHS;
    target += static_cast<size_t>(pair.y) * rings * AZIMUTHS;
    float sum = 0.0f;
    for (unsigned first = 0; first < rings; first += RINGS) {
        unsigned present = min(RINGS, rings - first);
        __syncthreads();
        load_rings(source + first * AZIMUTHS, target + first * AZIMUTHS, present, match, shift, maps);
        __syncthreads();
        for (unsigned ring = 0; ring < present; ++ring) {
#pragma unroll
            for (unsigned k = 0; k < AZIMUTHS; ++k)
                sum += maps.source[match][ring][k] * maps.target[match][ring][k + shift];
        }
    }
    sums[match][shift] = sum;
    __syncthreads();
    // 2 pi / AZIMUTHS.
    if (shift == 0 && number < count) angles[number] = peak(sums[match]) * (6.2831853f / AZIMUTHS);
}
