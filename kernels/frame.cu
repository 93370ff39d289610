// Reference axes and frames. See src/stages/frame/.
#include "eigen.cuh"

// As in src/stages/patch/mod.rs.
constexpr unsigned PATCH_CAPACITY = 512;
// The lanes that sum up a patch. Their number is part of the result: it is the CPU's, see src/stages/frame/cpu.rs.
constexpr unsigned LANES = 8;
// Patches of a block, as in cuda.rs, and the threads that weigh the offsets of each.
constexpr unsigned PATCHES = 4;
constexpr unsigned THREADS_PER_PATCH = 64;
constexpr unsigned THREADS = PATCHES * THREADS_PER_PATCH;
static_assert(PATCHES * LANES == WARP, "one warp sums up the patches of a block");
// As in src/stages/frame/cpu.rs.
constexpr unsigned FEWEST_POINTS = 3;
constexpr double LINE = 1e-12;
constexpr double LEAST_SPREAD = 1e-4;

// Where the axis comes from and how its sign is chosen, as in src/stages/frame/cuda.rs.
enum Orientation : unsigned { FIXED, TOWARDS, AWAY_FROM };

__device__ __forceinline__ Vector widened(Point p) { return {p.x, p.y, p.z}; }

// The offsets of a block's patches and their weights. Rows are longer than needed, so that the lanes of different patches
// read from different memory banks.
struct Weighed {
    double weights[PATCHES][PATCH_CAPACITY + LANES];
    Point offsets[PATCHES][PATCH_CAPACITY + LANES];
};

// 1 - |d|.
__device__ double weight_of(Vector d) { return fmax(1.0 - sqrt(d.x * d.x + d.y * d.y + d.z * d.z), 0.0); }

// Every thread loads a share of a patch and weighs it.
__device__ void load_and_weigh(const Point* from, unsigned count, bool weighted, Point* offsets, double* weights) {
    unsigned thread = threadIdx.x % THREADS_PER_PATCH;
    // All loads are on their way before the first square root, which is long.
#pragma unroll 8
    for (unsigned i = thread; i < count; i += THREADS_PER_PATCH) offsets[i] = from[i];
    for (unsigned i = thread; i < count; i += THREADS_PER_PATCH) weights[i] = weighted ? weight_of(widened(offsets[i])) : 1.0;
}

// Sums of w, w d and w d d^T over offsets d and their weights w.
struct Sums {
    double weight;
    Vector first;
    Symmetric products;
};

// The sum over the lanes of a patch, first to last, for all of them.
__device__ double sum_of_lanes(double value) {
    double sum = 0.0;
    for (unsigned lane = 0; lane < LANES; ++lane) sum += __shfl_sync(ALL_LANES, value, lane, LANES);
    return sum;
}

// By the lanes of a patch. Products of two f32 are exact in f64, and a weight of one changes no bit.
__device__ Sums sums_of(const Point* offsets, const double* weights, unsigned count) {
    Sums sums = {};
#pragma unroll 4
    for (unsigned i = threadIdx.x % LANES; i < count; i += LANES) {
        Vector d = widened(offsets[i]);
        double weight = weights[i];
        Vector weighted = d * weight;
        sums.weight += weight;
        sums.first = sums.first + weighted;
        sums.products.xx += weighted.x * d.x;
        sums.products.xy += weighted.x * d.y;
        sums.products.xz += weighted.x * d.z;
        sums.products.yy += weighted.y * d.y;
        sums.products.yz += weighted.y * d.z;
        sums.products.zz += weighted.z * d.z;
    }
    __syncwarp();
    const Symmetric& products = sums.products;
    return {sum_of_lanes(sums.weight),
            {sum_of_lanes(sums.first.x), sum_of_lanes(sums.first.y), sum_of_lanes(sums.first.z)},
            {sum_of_lanes(products.xx), sum_of_lanes(products.xy), sum_of_lanes(products.xz),
             sum_of_lanes(products.yy), sum_of_lanes(products.yz), sum_of_lanes(products.zz)}};
}

// The sum of w (d - m)(d - m)^T with the weighted mean m.
__device__ Symmetric about_mean(const Sums& sums) {
    double weight = sums.weight, x = sums.first.x, y = sums.first.y, z = sums.first.z;
    const Symmetric& total = sums.products;
    if (weight == 0.0) return {};
    Symmetric central = {total.xx - x * x / weight, total.xy - x * y / weight, total.xz - x * z / weight,
                         total.yy - y * y / weight, total.yz - y * z / weight, total.zz - z * z / weight};
    bool spread = central.xx + central.yy + central.zz > LEAST_SPREAD * (total.xx + total.yy + total.zz);
    return spread ? central : Symmetric{};
}

// The component of largest magnitude, the first one on ties.
__device__ double leading(Vector a) {
    double largest = a.x;
    if (fabs(a.y) > fabs(largest)) largest = a.y;
    if (fabs(a.z) > fabs(largest)) largest = a.z;
    return largest;
}

// The eigenvector of the least eigenvalue, its largest component positive.
__device__ Vector least_axis(const Symmetric& products, unsigned count) {
    LeastEigenvector least = least_eigenvector(products);
    if (!least.found || count < FEWEST_POINTS || !(least.values[1] > LINE * least.values[2])) return {0.0, 0.0, 1.0};
    return least.vector * copysign(1.0, leading(least.vector));
}

// The axis with the sign that the orientation asks for.
__device__ Vector oriented(Vector axis, Point keypoint, unsigned orientation, Point place) {
    if (dot(axis, widened(place) - widened(keypoint)) < 0.0) axis = axis * -1.0;
    return orientation == AWAY_FROM ? axis * -1.0 : axis;
}

// The shortest rotation that takes e_z to the unit vector `axis`: with v = e_z x axis and c = e_z . axis,
// R = I + [v]x + [v]x^2 / (1 + c) (Rodrigues).
__device__ void write_frame(Vector axis, float* frame) {
    double x = axis.x, y = axis.y, z = axis.z;
    double sine_squared = x * x + y * y;
    // 1 / (1 + c), where c near -1 would cancel; half a turn about x when the axis is -e_z.
    double factor = z >= 0.0 ? 1.0 / (1.0 + z) : (1.0 - z) / sine_squared;
    double cross = -x * y * factor;
    double turn[9] = {1.0 - x * x * factor, cross, x, cross, 1.0 - y * y * factor, y, -x, -y, z};
    const double half_turn[9] = {1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0};
    bool down = !(z >= 0.0) && !(sine_squared > 0.0);
    for (unsigned k = 0; k < 9; ++k) frame[k] = static_cast<float>(down ? half_turn[k] : turn[k]);
}

// Frames of `patches` patches; `place` is the axis of all of them where the orientation is FIXED.
//
// What bounds this is the latency of what comes one after another: a patch's sums in their order and its eigenvector. So
// square roots and loads, which need no order, are spread over more threads than sum up; of these, the first of each
// patch goes on to the eigenvector.
extern "C" __global__ void __launch_bounds__(THREADS, 3)
estimate_frames(const Point* offsets, const unsigned* counts, const Point* keypoints, unsigned patches,
                unsigned weighted, unsigned orientation, Point place, float* frames) {
    __shared__ Weighed weighed;
    __shared__ unsigned count_of[PATCHES];
    unsigned first = blockIdx.x * PATCHES;
    if (orientation != FIXED) {
        unsigned own = threadIdx.x / THREADS_PER_PATCH, patch = first + own;
        unsigned count = patch < patches ? min(counts[patch], PATCH_CAPACITY) : 0;
        if (threadIdx.x % THREADS_PER_PATCH == 0) count_of[own] = count;
        load_and_weigh(offsets + static_cast<size_t>(patch) * PATCH_CAPACITY, count, weighted, weighed.offsets[own], weighed.weights[own]);
        __syncthreads();
    }
    if (warp_number() > 0) return;
    unsigned own = lane_number() / LANES, patch = first + own;
    Vector axis = widened(place);
    bool writes = patch < patches && lane_number() % LANES == 0;
    if (orientation != FIXED) {
        unsigned count = count_of[own];
        Sums sums = sums_of(weighed.offsets[own], weighed.weights[own], count);
        Symmetric products = weighted ? about_mean(sums) : sums.products;
        if (writes) axis = oriented(least_axis(products, count), keypoints[patch], orientation, place);
    }
    if (writes) write_frame(axis, frames + static_cast<size_t>(patch) * 9);
}
