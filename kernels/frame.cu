// Reference axes and frames. See src/stages/frame/.
#include "eigen.cuh"

constexpr unsigned THREADS = 128;
// The lanes that sum up a patch. Their number is part of the result: it is the CPU's, see src/stages/frame/cpu.rs.
constexpr unsigned LANES = 8;
// As in src/stages/patch/mod.rs.
constexpr unsigned PATCH_CAPACITY = 512;
// As in src/stages/frame/cpu.rs.
constexpr unsigned FEWEST_POINTS = 3;
constexpr double LINE = 1e-12;
constexpr double LEAST_SPREAD = 1e-4;

// Where the axis comes from and how its sign is chosen, as in src/stages/frame/cuda.rs.
enum Orientation : unsigned { FIXED, TOWARDS, AWAY_FROM };

__device__ __forceinline__ Vector widened(Point p) { return {p.x, p.y, p.z}; }

// The sum over the lanes of a patch, first to last, for all of them.
__device__ double sum_of_lanes(double value) {
    double sum = 0.0;
    for (unsigned lane = 0; lane < LANES; ++lane) sum += __shfl_sync(ALL_LANES, value, lane, LANES);
    return sum;
}

// The sum of d d^T over the offsets d, by the lanes of a patch. Products of two f32 are exact in f64.
__device__ Symmetric products_of(const Point* offsets, unsigned count) {
    Symmetric sums = {};
    for (unsigned i = threadIdx.x % LANES; i < count; i += LANES) {
        Vector d = widened(offsets[i]);
        sums.xx += d.x * d.x;
        sums.xy += d.x * d.y;
        sums.xz += d.x * d.z;
        sums.yy += d.y * d.y;
        sums.yz += d.y * d.z;
        sums.zz += d.z * d.z;
    }
    __syncwarp();
    return {sum_of_lanes(sums.xx), sum_of_lanes(sums.xy), sum_of_lanes(sums.xz),
            sum_of_lanes(sums.yy), sum_of_lanes(sums.yz), sum_of_lanes(sums.zz)};
}

// The sum of w (d - m)(d - m)^T with w = 1 - |d| and the weighted mean m, by the lanes of a patch.
__device__ Symmetric weighted_products_of(const Point* offsets, unsigned count) {
    Symmetric sums = {};
    Vector first = {};
    double weights = 0.0;
    for (unsigned i = threadIdx.x % LANES; i < count; i += LANES) {
        Vector d = widened(offsets[i]);
        double weight = fmax(1.0 - sqrt(d.x * d.x + d.y * d.y + d.z * d.z), 0.0);
        Vector weighted = {d.x * weight, d.y * weight, d.z * weight};
        weights += weight;
        first.x += weighted.x;
        first.y += weighted.y;
        first.z += weighted.z;
        sums.xx += weighted.x * d.x;
        sums.xy += weighted.x * d.y;
        sums.xz += weighted.x * d.z;
        sums.yy += weighted.y * d.y;
        sums.yz += weighted.y * d.z;
        sums.zz += weighted.z * d.z;
    }
    __syncwarp();
    double weight = sum_of_lanes(weights), x = sum_of_lanes(first.x), y = sum_of_lanes(first.y), z = sum_of_lanes(first.z);
    Symmetric total = {sum_of_lanes(sums.xx), sum_of_lanes(sums.xy), sum_of_lanes(sums.xz),
                       sum_of_lanes(sums.yy), sum_of_lanes(sums.yz), sum_of_lanes(sums.zz)};
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

// Frames of `patches` patches; `place` is the axis of all of them where the orientation is FIXED. The lanes of a patch
// load neighbouring offsets; what bounds this is the latency of these loads.
extern "C" __global__ void __launch_bounds__(THREADS)
estimate_frames(const Point* offsets, const unsigned* counts, const Point* keypoints, unsigned patches,
                unsigned weighted, unsigned orientation, Point place, float* frames) {
    unsigned patch = thread_number() / LANES;
    bool first = threadIdx.x % LANES == 0;
    Vector axis = widened(place);
    if (orientation != FIXED) {
        unsigned count = patch < patches ? min(counts[patch], PATCH_CAPACITY) : 0;
        const Point* own = offsets + static_cast<size_t>(patch) * PATCH_CAPACITY;
        Symmetric products = weighted ? weighted_products_of(own, count) : products_of(own, count);
        if (patch < patches && first)
            axis = oriented(least_axis(products, count), keypoints[patch], orientation, place);
    }
    if (patch < patches && first) write_frame(axis, frames + static_cast<size_t>(patch) * 9);
}
