// Refinement of poses on the surfaces. See src/stages/refine/.
#include "eigen.cuh"
#include "geometry.cuh"
#include "ordered.cuh"
#include "surface.cuh"

// Threads of the block that refines a pose, as on the host's side.
constexpr unsigned THREADS = 512;
// Threads that look for one nearest point: as many as the CPU has lanes. They read the points of a cell side by side.
constexpr unsigned LANES = 16;
// Pairs in shared memory.
constexpr unsigned TILE = 256;

// As on the host.
constexpr float LEAST_COSINE = 0.5f;
constexpr double POINT_SHARE = 0.02;
constexpr unsigned LEAST_PAIRS = 6;
// Running sums for each term. The host's side has as many.
constexpr unsigned PARTS = 8;
// What is summed up over the pairs, as in src/stages/refine/step.rs: two triangles, vectors and a number.
enum Term : unsigned {
    MATRIX,
    VECTOR = MATRIX + 21,
    TOTAL_WEIGHT = VECTOR + 6,
    ARMS,
    PRODUCTS = ARMS + 3,
    OFFSETS = PRODUCTS + 6,
    TURNS = OFFSETS + 3,
    TERMS = TURNS + 3
};
// A pair's numbers, of which each term is the product of two, and of the weight: one, arm from the centre, `arm × normal`,
// normal, offset, `arm × offset`, `normal · offset`. The length of the arm is for the largest of them.
enum Factor : unsigned {
    ONE,
    ARM,
    ROW = ARM + 3,
    NORMAL = ROW + 3,
    OFFSET = NORMAL + 3,
    TURN = OFFSET + 3,
    ALONG = TURN + 3,
    WEIGHT,
    LENGTH,
    FACTORS
};
static_assert((TERMS + 1) * PARTS <= THREADS && TILE <= THREADS, "each thread has at most one running sum and one pair");

// A surface, as the stages have it.
struct Samples {
    const Point* points;
    const Point* normals;
    // Where the samples are among the points.
    const unsigned* places;
};

struct Target {
    const Point* points;
    const Point* normals;
    // All x, all y, all z, `stride` apart.
    const float* columns;
    unsigned stride;
    const unsigned* cell_start;
    Grid grid;
};

// A sample and its nearest target point, or NO_POINT.
struct Pair {
    unsigned sample, target;
    float weight;
};

// `Surface::nearest` of the host by LANES threads, those of `mask`, which all get the answer.
//
// The threads look up a row of cells each, and then go through the points of one row after another. Reading past the end
// of a row, as the CPU does, costs nothing and makes the answers equal to the bit.
__device__ Nearest nearest_by_lanes(const Target& target, Point p, float limit, unsigned lane, unsigned mask) {
    const Grid& grid = target.grid;
    float least = limit * limit;
    unsigned index = NO_POINT;
    if (lies_outside(p.x, grid.low.x, grid.cell, grid.size[0], limit) || lies_outside(p.y, grid.low.y, grid.cell, grid.size[1], limit) ||
        lies_outside(p.z, grid.low.z, grid.cell, grid.size[2], limit))
        return {index, least};
    unsigned x0 = cell_along_x(grid, p.x - limit), x1 = cell_along_x(grid, p.x + limit);
    unsigned y0 = cell_along_y(grid, p.y - limit), ys = cell_along_y(grid, p.y + limit) - y0 + 1;
    unsigned z0 = cell_along_z(grid, p.z - limit), zs = cell_along_z(grid, p.z + limit) - z0 + 1;
    for (unsigned first_row = 0; first_row < ys * zs; first_row += LANES) {
        unsigned row = first_row + lane, first = 0, last = 0;
        if (row < ys * zs) {
            unsigned cell = row_of_cells(grid, y0 + row % ys, z0 + row / ys);
            first = target.cell_start[cell + x0];
            last = target.cell_start[cell + x1 + 1];
        }
        unsigned filled = __ballot_sync(mask, first < last);
        // The lanes of this half of the warp.
        filled = filled >> (lane_number() - lane) & ((1u << LANES) - 1);
        for (; filled != 0; filled &= filled - 1) {
            int owner = __ffs(filled) - 1;
            unsigned end = __shfl_sync(mask, last, owner, LANES);
            for (unsigned start = __shfl_sync(mask, first, owner, LANES); start < end; start += LANES) {
                unsigned i = start + lane;
                Point q = {target.columns[i], target.columns[target.stride + i], target.columns[2 * target.stride + i]};
                float squared = squared_length(q - p);
                // A point past the end of a row may be met again, after others: the lowest index wins a tie.
                if (squared < least || (squared == least && i < index && index != NO_POINT)) {
                    least = squared;
                    index = i;
                }
            }
        }
    }
    // Squares are not negative, so their bits are in the order of their values; NO_POINT comes last.
    unsigned long long rank = index == NO_POINT ? ~0ull : static_cast<unsigned long long>(__float_as_uint(least)) << 32 | index;
    for (unsigned distance = LANES / 2; distance > 0; distance /= 2) rank = min(rank, __shfl_xor_sync(mask, rank, distance, LANES));
    return {static_cast<unsigned>(rank), __uint_as_float(static_cast<unsigned>(rank >> 32))};
}

// pairs[i] = sample `i` and what it meets within `reach`, for all samples.
__device__ void find_pairs(const Samples& samples, unsigned count, const Target& target, const Pose& pose, float reach, Pair* pairs) {
    unsigned lane = threadIdx.x % LANES;
    unsigned mask = ((1u << LANES) - 1) << (lane_number() - lane);
    for (unsigned sample = threadIdx.x / LANES; sample < count; sample += THREADS / LANES) {
        unsigned place = samples.places[sample];
        Nearest nearest = nearest_by_lanes(target, apply(pose, samples.points[place]), reach, lane, mask);
        if (lane != 0) continue;
        if (nearest.index != NO_POINT) {
            float facing = fabsf(dot(rotate(pose, samples.normals[place]), target.normals[nearest.index]));
            if (!(facing > LEAST_COSINE)) nearest.index = NO_POINT;
        }
        // Geman-McClure, width a third of the reach.
        float root = 1.0f + 9.0f * nearest.squared_distance / (reach * reach);
        pairs[sample] = {sample, nearest.index, 1.0f / (root * root)};
    }
    __syncthreads();
}

// Moves the samples that met something to the front, in their order; how many they are.
__device__ unsigned drop_unpaired(Pair* pairs, unsigned count) {
    __shared__ unsigned of_warps[THREADS / WARP];
    unsigned kept = 0;
    for (unsigned first = 0; first < count; first += THREADS) {
        unsigned i = first + threadIdx.x;
        Pair pair = {0, NO_POINT, 0.0f};
        if (i < count) pair = pairs[i];
        bool met = pair.target != NO_POINT;
        unsigned total;
        unsigned place = kept + place_among_present<THREADS>(met, of_warps, total);
        // All pairs up to here are read, and none of them moves backwards.
        if (met) pairs[place] = pair;
        kept += total;
    }
    __syncthreads();
    return kept;
}

__device__ __forceinline__ Vector widened(Point p) { return {p.x, p.y, p.z}; }

// A row of factors is a little longer than a tile, so that neighbouring rows begin in different banks.
using Factors = double[FACTORS][TILE + PARTS];

__device__ __forceinline__ void store(Factors& factors, unsigned row, unsigned i, Vector v) {
    factors[row][i] = v.x;
    factors[row + 1][i] = v.y;
    factors[row + 2][i] = v.z;
}

__device__ void store_factors(Factors& factors, unsigned i, Vector arm, Vector normal, Vector offset, float weight) {
    factors[ONE][i] = 1.0;
    store(factors, ARM, i, arm);
    store(factors, ROW, i, cross(arm, normal));
    store(factors, NORMAL, i, normal);
    store(factors, OFFSET, i, offset);
    store(factors, TURN, i, cross(arm, offset));
    factors[ALONG][i] = dot(normal, offset);
    factors[WEIGHT][i] = weight;
    factors[LENGTH][i] = sqrt(dot(arm, arm));
}

// Row and column of the entry `i` of a lower triangle.
__device__ void row_and_column(unsigned i, unsigned& row, unsigned& column) {
    for (row = 0; i > row; ++row) i -= row + 1;
    column = i;
}

// The factors of a term, beside the weight.
__device__ void factors_of(unsigned term, unsigned& first, unsigned& second) {
    unsigned row, column;
    if (term < VECTOR) {
        row_and_column(term - MATRIX, row, column);
        first = ROW + row, second = ROW + column;
    } else if (term < TOTAL_WEIGHT) {
        first = ALONG, second = ROW + (term - VECTOR);
    } else if (term == TOTAL_WEIGHT) {
        first = ONE, second = ONE;
    } else if (term < PRODUCTS) {
        first = ARM + (term - ARMS), second = ONE;
    } else if (term < OFFSETS) {
        row_and_column(term - PRODUCTS, row, column);
        first = ARM + row, second = ARM + column;
    } else if (term < TURNS) {
        first = OFFSET + (term - OFFSETS), second = ONE;
    } else {
        first = TURN + (term - TURNS), second = ONE;
    }
}

// The sums over all pairs.
struct System {
    double sums[TERMS];
    Vector centre;
    // The longest arm.
    double radius;
};

// What a block needs to make the sums.
struct Workspace {
    Factors factors;
    double parts[TERMS + 1][PARTS];
};

// The mean of the moved samples of all pairs.
__device__ Vector centre_of(const Samples& samples, const Pose& pose, const Pair* pairs, unsigned count, Workspace& workspace) {
    unsigned axis = threadIdx.x / PARTS, part = threadIdx.x % PARTS;
    double sum = 0.0;
    for (unsigned first = 0; first < count; first += TILE) {
        unsigned length = min(TILE, count - first);
        if (threadIdx.x < length) {
            Point point = samples.points[samples.places[pairs[first + threadIdx.x].sample]];
            store(workspace.factors, ARM, threadIdx.x, widened(apply(pose, point)));
        }
        __syncthreads();
        if (axis < 3)
            for (unsigned i = part; i < length; i += PARTS) sum += workspace.factors[ARM + axis][i];
        __syncthreads();
    }
    if (axis < 3) workspace.parts[axis][part] = sum;
    __syncthreads();
    double whole[3] = {0.0, 0.0, 0.0};
    for (unsigned k = 0; k < 3; ++k)
        for (unsigned other = 0; other < PARTS; ++other) whole[k] += workspace.parts[k][other];
    __syncthreads();
    double pair_count = count;
    return {whole[0] / pair_count, whole[1] / pair_count, whole[2] / pair_count};
}

// Fills `system` in. Each thread adds up one term of every eighth pair, which is the order of the host's sums, or finds
// their longest arm.
__device__ void accumulate(const Samples& samples, const Target& target, const Pose& pose, const Pair* pairs, unsigned count,
                           Workspace& workspace, System& system) {
    Vector centre = centre_of(samples, pose, pairs, count, workspace);
    unsigned term = threadIdx.x / PARTS, part = threadIdx.x % PARTS, one = ONE, other = ONE;
    if (term < TERMS) factors_of(term, one, other);
    const Factors& factors = workspace.factors;
    double sum = 0.0;
    for (unsigned first = 0; first < count; first += TILE) {
        unsigned length = min(TILE, count - first);
        if (threadIdx.x < length) {
            Pair pair = pairs[first + threadIdx.x];
            Point moved = apply(pose, samples.points[samples.places[pair.sample]]);
            Vector offset = widened(moved - target.points[pair.target]);
            store_factors(workspace.factors, threadIdx.x, widened(moved) - centre, widened(target.normals[pair.target]), offset, pair.weight);
        }
        __syncthreads();
        if (term < TERMS)
            for (unsigned i = part; i < length; i += PARTS) sum += factors[WEIGHT][i] * factors[one][i] * factors[other][i];
        else if (term == TERMS)
            for (unsigned i = part; i < length; i += PARTS) sum = fmax(sum, factors[LENGTH][i]);
        __syncthreads();
    }
    if (term <= TERMS) workspace.parts[term][part] = sum;
    __syncthreads();
    if (threadIdx.x <= TERMS) {
        double whole = 0.0;
        const double(&parts)[PARTS] = workspace.parts[threadIdx.x];
        for (unsigned k = 0; k < PARTS; ++k) whole = threadIdx.x < TERMS ? whole + parts[k] : fmax(whole, parts[k]);
        if (threadIdx.x < TERMS) system.sums[threadIdx.x] = whole;
        else system.radius = whole;
    }
    if (threadIdx.x == 0) system.centre = centre;
    __syncthreads();
}

__device__ __forceinline__ unsigned lower(unsigned row, unsigned column) { return row * (row + 1) / 2 + column; }

// The entry of the point-to-point part of the normal equations, in its lower triangle.
__device__ double point_entry(const double* sums, unsigned row, unsigned column) {
    const double* products = sums + PRODUCTS;
    if (row < 3) {
        double product = products[lower(row, column)];
        return row == column ? products[lower(0, 0)] + products[lower(1, 1)] + products[lower(2, 2)] - product : -product;
    }
    if (column >= 3) return row == column ? sums[TOTAL_WEIGHT] : 0.0;
    if (row - 3 == column) return 0.0;
    return (row - 2) % 3 == column ? sums[ARMS + (row - 1) % 3] : -sums[ARMS + (row - 2) % 3];
}

// The turn and the shift that solve the normal equations, by Cholesky's method; false where they are singular.
__device__ bool solve(const double* sums, double (&x)[6]) {
    double factor[6][6];
    for (unsigned i = 0; i < 6; ++i) {
        for (unsigned j = 0; j <= i; ++j) {
            double rest = sums[MATRIX + lower(i, j)] + POINT_SHARE * point_entry(sums, i, j);
            for (unsigned k = 0; k < j; ++k) rest -= factor[i][k] * factor[j][k];
            if (i > j) {
                factor[i][j] = rest / factor[j][j];
            } else if (rest > 0.0) {
                factor[i][i] = sqrt(rest);
            } else {
                return false;
            }
        }
    }
    for (unsigned i = 0; i < 6; ++i) {
        double part = i < 3 ? sums[TURNS + i] : sums[OFFSETS + i - 3];
        double rest = -(sums[VECTOR + i] + POINT_SHARE * part);
        for (unsigned k = 0; k < i; ++k) rest -= factor[i][k] * x[k];
        x[i] = rest / factor[i][i];
    }
    for (unsigned i = 6; i-- > 0;) {
        double rest = x[i];
        for (unsigned k = i + 1; k < 6; ++k) rest -= factor[k][i] * x[k];
        x[i] = rest / factor[i][i];
    }
    return true;
}

// The rows of the rotation about the axis `turn` by its length, which is at most 1.
__device__ void rotation_of(Vector turn, Vector (&rows)[3]) {
    double x = turn.x, y = turn.y, z = turn.z;
    double square = dot(turn, turn);
    // Power series instead of functions that each device rounds in its own way.
    double sine = 1.0, cosine = 1.0;
    for (int k = 9; k > 0; --k) {
        double n = 2 * k;
        sine = 1.0 - sine * square / (n * (n + 1.0));
        cosine = 1.0 - cosine * square / ((n + 1.0) * (n + 2.0));
    }
    cosine *= 0.5;
    double xy = cosine * x * y, xz = cosine * x * z, yz = cosine * y * z;
    rows[0] = {1.0 - cosine * (y * y + z * z), xy - sine * z, xz + sine * y};
    rows[1] = {xy + sine * z, 1.0 - cosine * (x * x + z * z), yz - sine * x};
    rows[2] = {xz - sine * y, yz + sine * x, 1.0 - cosine * (x * x + y * y)};
}

// Turns about the centre, then shifts.
__device__ void move_pose(Vector turn, Vector shift, Vector centre, Pose& pose) {
    Vector rows[3];
    rotation_of(turn, rows);
    Pose old = pose;
    Vector from_centre = Vector{old.t[0], old.t[1], old.t[2]} - centre;
    double centres[3] = {centre.x, centre.y, centre.z}, shifts[3] = {shift.x, shift.y, shift.z};
    for (unsigned row = 0; row < 3; ++row) {
        for (unsigned column = 0; column < 3; ++column) {
            Vector axis = {old.r[column], old.r[3 + column], old.r[6 + column]};
            pose.r[3 * row + column] = static_cast<float>(dot(rows[row], axis));
        }
        pose.t[row] = static_cast<float>(dot(rows[row], from_centre) + centres[row] + shifts[row]);
    }
}

// Applies to the pose the step that the system asks for, if it is a small one; whether that moved anything, and further
// than is negligible.
__device__ bool step(const System& system, double negligible, Pose& pose) {
    double x[6];
    if (!solve(system.sums, x)) return false;
    bool small = true;
    for (unsigned i = 0; i < 6; ++i) small = small && fabs(x[i]) < INFINITY;
    Vector turn = {x[0], x[1], x[2]}, shift = {x[3], x[4], x[5]};
    double angle = sqrt(dot(turn, turn));
    if (!(small && angle <= 1.0)) return false;
    move_pose(turn, shift, system.centre, pose);
    return !(angle * system.radius + sqrt(dot(shift, shift)) < negligible);
}

// refined[b] = poses[b] after up to `rounds` rounds, in which pairs may be reaches[round] apart; from the round `settled`
// on it ends when a step is negligible. A block refines a pose, and stops when that is done; `pairs` holds `samples`
// entries for each.
//
// Half of the time goes to the searches, which wait for points of neighbouring cells in the caches: 32 of them are under
// way at once. The rest is sums in f64, some 130 operations for each pair, and a solution by one thread.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
refine_poses(const Point* source_points, const Point* source_normals, const unsigned* places, unsigned samples,
             const Point* target_points, const Point* target_normals, const float* columns, unsigned stride,
             const unsigned* cell_start, Grid grid, const float* reaches, unsigned rounds, unsigned settled, double negligible,
             const Pose* poses, Pair* pairs, Pose* refined) {
    __shared__ Workspace workspace;
    __shared__ System system;
    __shared__ Pose pose;
    __shared__ bool goes_on;
    Samples source = {source_points, source_normals, places};
    Target target = {target_points, target_normals, columns, stride, cell_start, grid};
    Pair* own_pairs = pairs + static_cast<size_t>(blockIdx.x) * samples;
    if (threadIdx.x == 0) pose = poses[blockIdx.x];
    __syncthreads();
    for (unsigned round = 0; round < rounds; ++round) {
        find_pairs(source, samples, target, pose, reaches[round], own_pairs);
        unsigned count = drop_unpaired(own_pairs, samples);
        if (count < LEAST_PAIRS) break;
        accumulate(source, target, pose, own_pairs, count, workspace, system);
        // Before the reach is the last one, a step that moves nothing is no reason to stop.
        if (threadIdx.x == 0) goes_on = step(system, round < settled ? 0.0 : negligible, pose);
        __syncthreads();
        if (!goes_on) break;
    }
    if (threadIdx.x == 0) refined[blockIdx.x] = pose;
}
