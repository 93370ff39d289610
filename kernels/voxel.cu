// Voxel downsampling. See src/stages/voxel/.
#include "bounds.cuh"

constexpr unsigned THREADS = 256;
// As in grid.rs.
constexpr unsigned AXIS_BITS = 21;
constexpr unsigned CELLS_PER_AXIS = 1u << AXIS_BITS;
// As in size.rs.
constexpr unsigned SKETCH_BITS = 21;
constexpr unsigned SKETCH_WORDS = 1u << (SKETCH_BITS - 5);
// Words of it that a thread looks at, as in cuda.rs.
constexpr unsigned MARK_WORDS = 16;

// `Grid` of grid.rs.
struct VoxelGrid {
    Point lowest;
    float size;
};

// The grid of cell edge `size`, or of a larger one where the cells would be too many.
__device__ __forceinline__ VoxelGrid grid_over(const Bounds& bounds, float size) {
    return {bounds.lowest, fmaxf(size, longest_side(bounds) / CELLS_PER_AXIS)};
}

__device__ __forceinline__ unsigned cell_along(float position, float lowest, float size) {
    float cell = (position - lowest) / size;
    constexpr float LAST = CELLS_PER_AXIS - 1;
    // The last one for NaN, too.
    return static_cast<unsigned>(cell < LAST ? cell : LAST);
}

__device__ __forceinline__ float centre_along(float position, float lowest, float size) {
    return lowest + (static_cast<float>(cell_along(position, lowest, size)) + 0.5f) * size;
}

// The finaliser of SplitMix64, as `mix` in grid.rs.
__device__ __forceinline__ unsigned long long mix(unsigned long long key) {
    unsigned long long x = key + 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// The place of a point's cell in the pseudo-random order of the output.
__device__ __forceinline__ unsigned long long place_of(Point p, const VoxelGrid& grid) {
    unsigned long long x = cell_along(p.x, grid.lowest.x, grid.size);
    unsigned long long y = cell_along(p.y, grid.lowest.y, grid.size);
    unsigned long long z = cell_along(p.z, grid.lowest.z, grid.size);
    return mix(x | y << AXIS_BITS | z << (2 * AXIS_BITS));
}

// places[i] = the place of the cell of points[i].
extern "C" __global__ void __launch_bounds__(THREADS)
find_voxel_places(const Point* points, unsigned length, const Bounds* bounds, float size, unsigned long long* places) {
    unsigned i = thread_number();
    if (i < length) places[i] = place_of(points[i], grid_over(*bounds, size));
}

// is_first[i] = 1 where a run of equal places begins, else 0.
extern "C" __global__ void __launch_bounds__(THREADS)
mark_first_of_voxels(const unsigned long long* places, unsigned length, unsigned* is_first) {
    unsigned i = thread_number();
    if (i < length) is_first[i] = i == 0 || places[i] != places[i - 1] ? 1 : 0;
}

// starts[c] = where run c begins, and at last the number of points; `numbers` are the prefix sums of `is_first`.
extern "C" __global__ void __launch_bounds__(THREADS)
find_voxel_starts(const unsigned* numbers, unsigned length, unsigned* starts) {
    unsigned i = thread_number();
    if (i < length && numbers[i + 1] != numbers[i]) starts[numbers[i]] = i;
    if (i == length) starts[numbers[i]] = length;
}

// The mean of each run of points. One thread adds up a run, since the contract fixes the order of the sum; its points lie
// side by side, so a line of the cache serves ten steps.
extern "C" __global__ void __launch_bounds__(THREADS)
average_voxels(const Point* points, const unsigned* starts, unsigned cells, const Bounds* bounds, float size, Point* means) {
    unsigned cell = thread_number();
    if (cell >= cells) return;
    VoxelGrid grid = grid_over(*bounds, size);
    unsigned first = starts[cell], last = starts[cell + 1];
    Point any = points[first];
    Point centre = {centre_along(any.x, grid.lowest.x, grid.size), centre_along(any.y, grid.lowest.y, grid.size),
                    centre_along(any.z, grid.lowest.z, grid.size)};
    Point sum = {0.0f, 0.0f, 0.0f};
    for (unsigned i = first; i < last; ++i) {
        Point offset = points[i] - centre;
        sum = {sum.x + offset.x, sum.y + offset.y, sum.z + offset.z};
    }
    float count = static_cast<float>(last - first);
    means[cell] = {centre.x + sum.x / count, centre.y + sum.y / count, centre.z + sum.z / count};
}

// Sets the bit at the leading bits of the place of every point's cell.
extern "C" __global__ void __launch_bounds__(THREADS)
mark_sketch(const Point* points, unsigned length, const Bounds* bounds, float size, unsigned* sketch) {
    unsigned i = thread_number();
    // The threads past the end repeat the last point: all lanes meet below.
    Point point = points[min(i, length - 1)];
    unsigned bit = static_cast<unsigned>(place_of(point, grid_over(*bounds, size)) >> (64 - SKETCH_BITS));
    // Neighbours in a scan often share a cell: one of them sets the bit.
    unsigned bit_before = __shfl_up_sync(ALL_LANES, bit, 1);
    if (lane_number() == 0 || bit != bit_before) atomicOr(&sketch[bit / 32], 1u << bit % 32);
}

// sketch[SKETCH_WORDS] += the number of bits set before it. Every thread counts MARK_WORDS of the words, by four.
extern "C" __global__ void __launch_bounds__(THREADS) count_marks(unsigned* sketch) {
    static_assert(SKETCH_WORDS % (THREADS * MARK_WORDS) == 0, "all threads have as many words");
    const uint4* words = reinterpret_cast<const uint4*>(sketch);
    unsigned set = 0;
    for (unsigned i = thread_number(); i < SKETCH_WORDS / 4; i += SKETCH_WORDS / MARK_WORDS)
        set += __popc(words[i].x) + __popc(words[i].y) + __popc(words[i].z) + __popc(words[i].w);
    set = __reduce_add_sync(ALL_LANES, set);
    if (lane_number() == 0) atomicAdd(&sketch[SKETCH_WORDS], set);
}
