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

// The search for an edge that leaves a wanted number of cells: size.rs, step by step and operation by operation. What
// follows is as there.
constexpr double SURFACE_SLOPE = -2.0, LEAST_SLOPE = -3.5, MOST_SLOPE = -0.7;
constexpr double TOLERANCE = 1.08, LARGEST_SHARE = 0.75, FINEST_BRACKET = 1.002;
constexpr unsigned MOST_STEPS = 40, STEPS_BEFORE_BISECTION = 10;
constexpr double LEAST_FALL = 1.2, FEWEST_CELLS = 2000.0;
constexpr unsigned MOST_COARSENINGS = 10;
constexpr double ROOT_OF_TWO = 1.41421356237309504880;

// What the next count is for.
enum Purpose : unsigned { HOW_MANY_OF_SOME, HOW_MANY_OF_ALL, SECANT, COARSENING };

struct VoxelSearch {
    unsigned is_over;
    // The answer, when it is over.
    float found;
    // What is to be counted: cells of edge `next` that the first `length` points occupy.
    double next;
    unsigned length;
    // Bits that are set for them.
    unsigned marks;
    Purpose purpose;
    // Steps of the secant search or of coarsening so far.
    unsigned steps;
    unsigned points, wanted;
    double target;
    // Edges with too many and with too few cells.
    double low, high;
    // The last edge, 0 at first, and its count.
    double latest, latest_cells;
    // Count over edge, both as logarithms, as far as known.
    double slope;
    // The best edge so far, and its count.
    double edge, cells, error;

    __device__ void look_at(Purpose what, double at) {
        purpose = what;
        next = at;
    }

    __device__ void end_with(double answer) {
        is_over = 1;
        found = static_cast<float>(answer);
    }

    // `high` is twice the longest side, and this a 32nd of that side.
    __device__ void begin_secant(double wanted_cells) {
        target = wanted_cells;
        length = points;
        edge = high / 64.0;
        cells = INFINITY;
        look_at(SECANT, edge);
    }

    __device__ void step_secant(double count) {
        double off = fabs(log(count / target));
        if (off < error) {
            error = off;
            edge = next;
            cells = count;
        }
        bool settled = off <= log(TOLERANCE);
        if (!settled) {
            learn(count);
            settled = high / low < FINEST_BRACKET || steps + 1 == MOST_STEPS;
        }
        if (settled) {
            steps = 0;
            look_at(COARSENING, edge * ROOT_OF_TWO);
        } else {
            next = next_edge(count);
            ++steps;
        }
    }

    __device__ void learn(double count) {
        if (count > target) low = fmax(low, next);
        else high = fmin(high, next);
        if (latest != 0.0) {
            double between = log(count / latest_cells) / log(next / latest);
            if (isfinite(between)) slope = fmin(fmax(between, LEAST_SLOPE), MOST_SLOPE);
        }
        latest = next;
        latest_cells = count;
    }

    __device__ double next_edge(double count) const {
        double secant = next * pow(target / count, 1.0 / slope);
        bool trusted = steps < STEPS_BEFORE_BISECTION && low < secant && secant < high;
        return trusted ? secant : sqrt(low * high);
    }

    __device__ void step_coarsening(double fewer) {
        double fall = log(cells / fewer) / log(ROOT_OF_TWO);
        if (fall >= LEAST_FALL || fewer < FEWEST_CELLS) return end_with(edge);
        edge = next;
        cells = fewer;
        if (++steps == MOST_COARSENINGS) return end_with(edge);
        next = edge * ROOT_OF_TWO;
    }

    // Moves on after a count of the marks.
    __device__ void advance() {
        constexpr double BITS = 1u << SKETCH_BITS;
        double count = -BITS * log1p(-static_cast<double>(marks) / BITS);
        double possible = LARGEST_SHARE * count;
        marks = 0;
        switch (purpose) {
            case HOW_MANY_OF_SOME:
                if (possible >= wanted) return begin_secant(wanted);
                purpose = HOW_MANY_OF_ALL;
                length = points;
                return;
            case HOW_MANY_OF_ALL:
                return begin_secant(fmin(possible, static_cast<double>(wanted)));
            case SECANT:
                return step_secant(count);
            case COARSENING:
                return step_coarsening(count);
        }
    }
};

static_assert(sizeof(VoxelSearch) == 112, "as on the host");

// One thread: a search in a cloud of `points` points.
extern "C" __global__ void begin_search(const Bounds* bounds, unsigned points, unsigned wanted, VoxelSearch* result) {
    VoxelSearch search = {};
    double longest = longest_side(*bounds);
    search.points = points;
    search.wanted = max(wanted, 1u);
    search.low = longest / CELLS_PER_AXIS;
    search.high = 2.0 * longest;
    search.slope = SURFACE_SLOPE;
    search.error = INFINITY;
    // A few points mostly settle whether there are as many cells as wanted.
    search.length = static_cast<unsigned>(min(static_cast<unsigned long long>(points), 2ull * search.wanted));
    search.look_at(HOW_MANY_OF_SOME, search.low);
    if (longest == 0.0 || !isfinite(longest)) search.end_with(0.0);
    *result = search;
}

// Sets the bit at the leading bits of the place of every point's cell.
extern "C" __global__ void __launch_bounds__(THREADS)
mark_sketch(const Point* points, const Bounds* bounds, const VoxelSearch* search, unsigned* sketch) {
    unsigned length = search->length;
    // The whole block alike.
    if (search->is_over || blockIdx.x * THREADS >= length) return;
    // The threads past the end repeat the last point: all lanes meet below.
    Point point = points[min(thread_number(), length - 1)];
    VoxelGrid grid = grid_over(*bounds, static_cast<float>(search->next));
    unsigned bit = static_cast<unsigned>(place_of(point, grid) >> (64 - SKETCH_BITS));
    // Neighbours in a scan often share a cell: one of them sets the bit.
    unsigned bit_before = __shfl_up_sync(ALL_LANES, bit, 1);
    if (lane_number() == 0 || bit != bit_before) atomicOr(&sketch[bit / 32], 1u << bit % 32);
}

// Counts the bits that are set, and clears them; every thread MARK_WORDS of the words, by four. The last block to finish
// moves the search on. The word behind the sketch is the number of blocks that have finished in all launches.
extern "C" __global__ void __launch_bounds__(THREADS) count_marks(unsigned* sketch, VoxelSearch* search) {
    static_assert(SKETCH_WORDS % (THREADS * MARK_WORDS) == 0, "all threads have as many words");
    if (search->is_over) return;
    uint4* words = reinterpret_cast<uint4*>(sketch);
    unsigned set = 0;
    for (unsigned i = thread_number(); i < SKETCH_WORDS / 4; i += SKETCH_WORDS / MARK_WORDS) {
        uint4 four = words[i];
        words[i] = {0, 0, 0, 0};
        set += __popc(four.x) + __popc(four.y) + __popc(four.z) + __popc(four.w);
    }
    set = __reduce_add_sync(ALL_LANES, set);
    if (lane_number() == 0) atomicAdd(&search->marks, set);
    __syncthreads();
    if (threadIdx.x > 0) return;
    __threadfence();
    if (atomicAdd(&sketch[SKETCH_WORDS], 1u) % gridDim.x != gridDim.x - 1) return;
    __threadfence();
    VoxelSearch next = *search;
    next.advance();
    *search = next;
}
