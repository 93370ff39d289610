// Refinement of poses on the surfaces. See src/stages/refine/.
#include "cluster.cuh"
#include "eigen.cuh"
#include "geometry.cuh"
#include "ordered.cuh"
#include "surface.cuh"

// Threads of a block, and most blocks that refine a pose together, as on the host's side. A multiprocessor has room for two
// blocks, so that one searches while the other waits for its sums.
constexpr unsigned THREADS = 512;
constexpr unsigned MOST_BLOCKS = 8;
// Threads that look for one nearest point. They read the points of a row of cells side by side, which mostly are few.
constexpr unsigned LANES = 8;
constexpr unsigned GROUPS = THREADS / LANES;
// Points that each of them has under way.
constexpr unsigned AT_ONCE = 2;
// Pairs whose factors are in shared memory, twice.
constexpr unsigned TILE = 128;

// As on the host.
constexpr unsigned MOST_REACHES = 32;
constexpr float LIMIT_MARGIN = 1.0f / 65536.0f;
constexpr float LEAST_COSINE = 0.5f;
constexpr unsigned LEAST_PAIRS = 6;
// Running sums for each term. The host's side has as many.
constexpr unsigned PARTS = 8;

// The variance of a cloud's points, as on the host: a part that does not grow, and one that grows with the fourth power of
// the range from a point.
struct Errors {
    Point seen_from;
    float constant, growth;

    __device__ __forceinline__ float variance(Point p) const {
        float grown = growth * squared_length(p - seen_from);
        return constant + grown * grown;
    }
};

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
// The threads from this one on make factors. Those before it sum up: first those for the terms, then, in a warp of their
// own, those that look for the longest arm.
constexpr unsigned FIRST_WITH_FACTORS = THREADS - TILE;
constexpr unsigned FIRST_FOR_RADIUS = (TERMS * PARTS + WARP - 1) / WARP * WARP;
static_assert(FIRST_FOR_RADIUS + PARTS <= FIRST_WITH_FACTORS, "each thread has one task");
static_assert(PARTS % MOST_BLOCKS == 0 && TILE % PARTS == 0, "each block has as many running sums");

// The blocks that refine a pose: one, or those of a cluster.
struct Team {
    unsigned blocks, rank;

    // Waits for all threads of all blocks; what they have written, to any memory, is seen by all after that.
    __device__ __forceinline__ void sync() const {
#ifdef HAS_CLUSTERS
        if (blocks > 1) {
            cluster_sync();
            return;
        }
#endif
        __syncthreads();
    }

    // Writes to this place in the static shared memory of every block.
    template <class T>
    __device__ __forceinline__ void tell(T* place, T value) const {
#ifdef HAS_CLUSTERS
        for (unsigned block = 0; block < blocks; ++block) *in_block(place, block) = value;
#else
        *place = value;
#endif
    }

    // How many of so many items fall to this block, which has every `blocks`-th, from that of its rank on.
    __device__ __forceinline__ unsigned own_of(unsigned count) const { return (count + blocks - 1 - rank) / blocks; }

    // The running sums of each term that fall to it: those of its own pairs.
    __device__ __forceinline__ unsigned own_parts() const { return PARTS / blocks; }

    // Which of all running sums its own one of this number is.
    __device__ __forceinline__ unsigned part(unsigned own) const { return own * blocks + rank; }
};

// A surface, as the stages have it.
struct Samples {
    const Point* points;
    const Point* normals;
    // Where the samples are among the points.
    const unsigned* places;
    Errors errors;
};

struct Target {
    const Point* points;
    const Point* normals;
    // All x, all y, all z, `stride` apart.
    const float* columns;
    unsigned stride;
    const unsigned* cell_start;
    Grid grid;
    Errors errors;
};

// A moved sample, its offset from the nearest target point, and the normal there. The weight of a pair is more than zero;
// it is zero where a sample meets nothing.
struct Pair {
    Point moved, offset, normal;
    float weight;
};

// The rows of cells that a cube touches, `ys` of them beside one another, and the first and the last cell of each.
struct Rows {
    unsigned x0, x1, y0, ys, z0, count;
};

__device__ Rows rows_about(const Grid& grid, Point p, float reach) {
    if (lies_outside(p.x, grid.low.x, grid.cell, grid.size[0], reach) || lies_outside(p.y, grid.low.y, grid.cell, grid.size[1], reach) ||
        lies_outside(p.z, grid.low.z, grid.cell, grid.size[2], reach))
        return {0, 0, 0, 1, 0, 0};
    unsigned x0 = cell_along_x(grid, p.x - reach), x1 = cell_along_x(grid, p.x + reach);
    unsigned y0 = cell_along_y(grid, p.y - reach), ys = cell_along_y(grid, p.y + reach) - y0 + 1;
    unsigned z0 = cell_along_z(grid, p.z - reach), zs = cell_along_z(grid, p.z + reach) - z0 + 1;
    return {x0, x1, y0, ys, z0, ys * zs};
}

// The points of a row.
struct Run {
    unsigned first, last;
};

__device__ __forceinline__ Run run_of(const Target& target, const Rows& rows, unsigned row) {
    if (row >= rows.count) return {0, 0};
    unsigned cell = row_of_cells(target.grid, rows.y0 + row % rows.ys, rows.z0 + row / rows.ys);
    return {target.cell_start[cell + rows.x0], target.cell_start[cell + rows.x1 + 1]};
}

// A search for the point nearest to `p` within `limit` by LANES threads, each of which has looked up one of the first rows.
struct Search {
    Point p;
    float limit;
    Rows rows;
    Run run;
};

// A moved sample, and a distance within which its nearest point is sure to lie, if it has one.
struct Query {
    Point p;
    float limit;
};

// The search for what the lane `of` asks, or for nothing.
__device__ Search begin_search(const Target& target, const Query& own, unsigned of, bool is_wanted) {
    Point p = {__shfl_sync(ALL_LANES, own.p.x, of, LANES), __shfl_sync(ALL_LANES, own.p.y, of, LANES),
               __shfl_sync(ALL_LANES, own.p.z, of, LANES)};
    float limit = __shfl_sync(ALL_LANES, own.limit, of, LANES);
    Rows rows = {0, 0, 0, 1, 0, 0};
    if (is_wanted) rows = rows_about(target.grid, p, limit);
    return {p, limit, rows, run_of(target, rows, threadIdx.x % LANES)};
}

// The sum over the lanes of a search up to this one, itself included.
__device__ __forceinline__ unsigned sum_up_to(unsigned value) {
    for (unsigned distance = 1; distance < LANES; distance *= 2) {
        unsigned before = __shfl_up_sync(ALL_LANES, value, distance, LANES);
        if (threadIdx.x % LANES >= distance) value += before;
    }
    return value;
}

// The points of the runs of all lanes of a search in steps of LANES points, one for each lane. Reading past the end of a
// run costs nothing, and does no harm: these are points of other cells, which are further away than the limit.
struct Steps {
    unsigned total;
    // Steps of the runs up to that of this lane, and where the first step of all would begin, were it one of that run.
    unsigned up_to, base;

    __device__ explicit Steps(Run run) {
        unsigned own = (run.last - run.first + LANES - 1) / LANES;
        up_to = sum_up_to(own);
        base = run.first - LANES * (up_to - own);
        total = __shfl_sync(ALL_LANES, up_to, LANES - 1, LANES);
    }

    // The index that this lane has in a step.
    __device__ __forceinline__ unsigned index(unsigned step) const {
        unsigned lane = threadIdx.x % LANES;
        unsigned done = __ballot_sync(ALL_LANES, up_to <= step) >> (lane_number() - lane) & ((1u << LANES) - 1);
        return __shfl_sync(ALL_LANES, base, __popc(done), LANES) + LANES * step + lane;
    }
};

// Goes through the runs of all lanes; several points of each are under way at once, as the caches answer late.
__device__ void search_runs(const Target& target, Point p, Run run, Nearest& nearest) {
    Steps steps(run);
    unsigned most = __reduce_max_sync(ALL_LANES, steps.total);
    for (unsigned first = 0; first < most; first += AT_ONCE) {
        unsigned indices[AT_ONCE];
        Point points[AT_ONCE];
#pragma unroll
        for (unsigned k = 0; k < AT_ONCE; ++k) {
            unsigned i = indices[k] = steps.index(first + k);
            // What is infinitely far is never the nearest.
            points[k] = {INFINITY, INFINITY, INFINITY};
            if (first + k < steps.total)
                points[k] = {target.columns[i], target.columns[target.stride + i], target.columns[2 * target.stride + i]};
        }
#pragma unroll
        for (unsigned k = 0; k < AT_ONCE; ++k) {
            float squared = squared_length(points[k] - p);
            // A point past the end of a run may be met again, after others: the lowest index wins a tie.
            if (squared < nearest.squared_distance ||
                (squared == nearest.squared_distance && indices[k] < nearest.index && nearest.index != NO_POINT))
                nearest = {indices[k], squared};
        }
    }
}

// `Surface::nearest` of the host by a whole warp, every LANES lanes of which end a search and get its answer.
__device__ Nearest end_search(const Target& target, const Search& search) {
    Nearest nearest = {NO_POINT, search.limit * search.limit};
    search_runs(target, search.p, search.run, nearest);
    for (unsigned row = LANES; __any_sync(ALL_LANES, row < search.rows.count); row += LANES)
        search_runs(target, search.p, run_of(target, search.rows, row + threadIdx.x % LANES), nearest);
    // Squares are not negative, so their bits are in the order of their values; NO_POINT comes last.
    unsigned long long rank = ~0ull;
    if (nearest.index != NO_POINT) {
        unsigned bits = __float_as_uint(nearest.squared_distance);
        rank = static_cast<unsigned long long>(bits) << 32 | nearest.index;
    }
    for (unsigned distance = LANES / 2; distance > 0; distance /= 2) rank = min(rank, __shfl_xor_sync(ALL_LANES, rank, distance));
    return {static_cast<unsigned>(rank), __uint_as_float(static_cast<unsigned>(rank >> 32))};
}

// What the first `wanted` lanes ask for, of at most `batch`, which is the same for the whole warp. The cells of a search
// are looked up while the one before is under way.
__device__ Nearest search_batch(const Target& target, const Query& own, unsigned batch, unsigned wanted) {
    Nearest nearest = {NO_POINT, 0.0f};
    Search next = begin_search(target, own, 0, 0 < wanted);
    for (unsigned of = 0; of < batch; ++of) {
        Search current = next;
        next = begin_search(target, own, of + 1, of + 1 < wanted);
        Nearest found = end_search(target, current);
        if (threadIdx.x % LANES == of) nearest = found;
    }
    return nearest;
}

// The pair of a moved sample, of its turned normal and its variance.
__device__ Pair pair_of(Point moved, Point turned_normal, float variance, const Target& target, Nearest nearest, float reach) {
    if (nearest.index == NO_POINT) return {moved, moved, moved, 0.0f};
    Point normal = target.normals[nearest.index], point = target.points[nearest.index];
    Point offset = moved - point;
    bool is_usable = fabsf(dot(turned_normal, normal)) > LEAST_COSINE;
    // Geman-McClure, width a third of the reach.
    float root = 1.0f + 9.0f * nearest.squared_distance / (reach * reach);
    float robust = 1.0f / (root * root);
    return {moved, offset, normal, is_usable ? robust / (variance + target.errors.variance(point)) : 0.0f};
}

// The distance within which to look for the point nearest to `moved`: no further than `reach`, nor than the point that was
// nearest in the round before, if there was any.
__device__ float limit_of(const Target& target, Point moved, unsigned known, float reach) {
    if (known == NO_POINT) return reach;
    return fminf(reach, sqrtf(squared_length(moved - target.points[known])) + LIMIT_MARGIN * reach);
}

// What a block of the team looks at.
struct Share {
    // Samples of each block, the first of them and how many this block has, which are fewer at the end.
    unsigned length, first, count;
    // Memory for the pairs of the pose, and for the index of each sample's nearest point, or NO_POINT.
    Pair* pairs;
    unsigned* nearest;
};

__device__ __forceinline__ Share share_of(const Team& team, unsigned samples, Pair* pairs, unsigned* nearest) {
    unsigned length = (samples + team.blocks - 1) / team.blocks, first = min(team.rank * length, samples);
    return {length, first, min(length, samples - first), pairs, nearest};
}

// What the block's samples meet within `reach`. A group of LANES threads takes as many samples at a time as it has lanes,
// or fewer where all groups have something to do then. In the first round nothing is known of the nearest points.
__device__ void find_pairs(const Samples& samples, const Share& share, const Target& target, const Pose& pose, float reach,
                           bool is_first) {
    unsigned lane = threadIdx.x % LANES;
    unsigned batch = min(LANES, (share.count + GROUPS - 1) / GROUPS);
    for (unsigned start = 0; start < share.count; start += GROUPS * batch) {
        unsigned of_group = start + threadIdx.x / LANES * batch;
        unsigned wanted = of_group < share.count ? min(batch, share.count - of_group) : 0;
        unsigned sample = share.first + of_group + lane, place = 0;
        Query query = {{0.0f, 0.0f, 0.0f}, reach};
        if (lane < wanted) {
            place = samples.places[sample];
            query.p = apply(pose, samples.points[place]);
            if (!is_first) query.limit = limit_of(target, query.p, share.nearest[sample], reach);
        }
        Nearest found = search_batch(target, query, batch, wanted);
        if (lane < wanted) {
            share.nearest[sample] = found.index;
            Point normal = rotate(pose, samples.normals[place]);
            float variance = samples.errors.variance(samples.points[place]);
            share.pairs[sample] = pair_of(query.p, normal, variance, target, found, reach);
        }
    }
    __syncthreads();
}

// Moves the samples that met something to the front, in their order; how many they are.
__device__ unsigned drop_unpaired(Pair* pairs, unsigned count) {
    __shared__ unsigned of_warps[THREADS / WARP];
    unsigned kept = 0;
    for (unsigned first = 0; first < count; first += THREADS) {
        unsigned i = first + threadIdx.x;
        Pair pair = {};
        if (i < count) pair = pairs[i];
        bool met = pair.weight > 0.0f;
        unsigned total;
        unsigned place = kept + place_among_present<THREADS>(met, of_warps, total);
        // All pairs up to here are read, and none of them moves backwards.
        if (met) pairs[place] = pair;
        kept += total;
    }
    return kept;
}

// What a block has in its shared memory, beside the factors.
struct Workspace {
    // What every block tells all others: how many pairs it has found, and its running sums of moved samples and of terms.
    // Between two rounds, and between reading one of them and writing it again, all blocks meet.
    unsigned counts[MOST_BLOCKS];
    double moved[3][PARTS];
    double parts[TERMS + 1][PARTS];
    // The sums over all pairs, and the longest arm.
    double sums[TERMS + 1];
    // The normal equations: a lower triangle, and the right side as its last row.
    double equations[27];
    // The centre of the pairs, and the step about it.
    double centre[3], rotation[3][3], shift[3];
    // How far it moves a sample at most.
    double furthest;
    // Weight of the point-to-point part beside the point-to-plane part.
    double point_share;
    Pose pose;
    bool has_moved;
};

// The pairs that the blocks have found, one after another. Each block has a part of the memory, `share` pairs long.
struct Pairs {
    const Pair* memory;
    unsigned share;
    const unsigned* counts;

    __device__ Pair operator[](unsigned i) const {
        unsigned block = 0;
        for (; i >= counts[block]; ++block) i -= counts[block];
        return memory[block * share + i];
    }
};

__device__ __forceinline__ Vector widened(Point p) { return {p.x, p.y, p.z}; }

// The factors of a tile's pairs. A row is longer than a tile by as many as the block has running sums of a term, so that
// the threads of a warp read neighbouring rows from different banks.
struct Factors {
    double* memory;
    unsigned stride;

    __device__ __forceinline__ double* row(unsigned row) const { return memory + row * stride; }

    __device__ __forceinline__ void store(unsigned first, unsigned i, Vector v) const {
        row(first)[i] = v.x;
        row(first + 1)[i] = v.y;
        row(first + 2)[i] = v.z;
    }
};

__device__ void store_factors(const Factors& factors, unsigned i, const Pair& pair, Vector centre) {
    Vector arm = widened(pair.moved) - centre, normal = widened(pair.normal), offset = widened(pair.offset);
    factors.row(ONE)[i] = 1.0;
    factors.store(ARM, i, arm);
    factors.store(ROW, i, cross(arm, normal));
    factors.store(NORMAL, i, normal);
    factors.store(OFFSET, i, offset);
    factors.store(TURN, i, cross(arm, offset));
    factors.row(ALONG)[i] = dot(normal, offset);
    factors.row(WEIGHT)[i] = pair.weight;
    factors.row(LENGTH)[i] = sqrt(dot(arm, arm));
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

// Calls `make(factors, slot, i)` for the block's own items and `sum(factors, length)` for each tile of them, in their order.
// Some threads make the factors of a tile while others sum up those of the one before.
template <class Make, class Sum>
__device__ __forceinline__ void for_tiles(const Team& team, unsigned count, Make make, Sum sum) {
    DYNAMIC_SHARED(double, memory);
    unsigned stride = TILE + team.own_parts();
    bool has_factors = threadIdx.x >= FIRST_WITH_FACTORS;
    for (unsigned first = 0; first < count + TILE; first += TILE) {
        unsigned turn = first / TILE % 2;
        Factors making = {memory + turn * FACTORS * stride, stride};
        Factors made = {memory + (1 - turn) * FACTORS * stride, stride};
        unsigned slot = threadIdx.x - FIRST_WITH_FACTORS;
        if (has_factors && first + slot < count) make(making, slot, first + slot);
        if (!has_factors && first > 0) sum(made, min(TILE, count - (first - TILE)));
        __syncthreads();
    }
}

// Tells all blocks this block's running sums of the moved samples.
__device__ void sum_moved(const Team& team, const Pairs& pairs, unsigned count, Workspace& workspace) {
    unsigned parts = team.own_parts(), axis = threadIdx.x / parts, part = threadIdx.x % parts;
    double sum = 0.0;
    auto make = [&](const Factors& factors, unsigned slot, unsigned i) {
        factors.store(ARM, slot, widened(pairs[team.part(i)].moved));
    };
    auto add = [&](const Factors& factors, unsigned length) {
        if (axis >= 3) return;
        const double* row = factors.row(ARM + axis);
#pragma unroll 8
        for (unsigned i = part; i < length; i += parts) sum += row[i];
    };
    for_tiles(team, team.own_of(count), make, add);
    if (axis < 3) team.tell(&workspace.moved[axis][team.part(part)], sum);
}

// The sum of the running sums, one after another.
__device__ __forceinline__ double total(const double (&parts)[PARTS]) {
    double whole = 0.0;
    for (unsigned k = 0; k < PARTS; ++k) whole += parts[k];
    return whole;
}

// The mean of the moved samples of all pairs.
__device__ Vector centre_of(const Workspace& workspace, unsigned count) {
    double pairs = count;
    return {total(workspace.moved[0]) / pairs, total(workspace.moved[1]) / pairs, total(workspace.moved[2]) / pairs};
}

// The term that this thread sums up where the block has so many running sums of each: TERMS stands for the longest arm, and
// what is above it for none.
__device__ unsigned term_of_thread(unsigned parts) {
    if (threadIdx.x >= FIRST_FOR_RADIUS) return TERMS + (threadIdx.x - FIRST_FOR_RADIUS) / parts;
    unsigned term = threadIdx.x / parts;
    return term < TERMS ? term : TERMS + 1;
}

// Tells all blocks this block's running sums of all terms, and its longest arms. Each thread adds up one term of the pairs
// of one running sum, in their order, which is that of the host's sums.
__device__ void sum_terms(const Team& team, const Pairs& pairs, unsigned count, Workspace& workspace) {
    Vector centre = {};
    if (threadIdx.x >= FIRST_WITH_FACTORS) centre = centre_of(workspace, count);
    if (threadIdx.x == FIRST_WITH_FACTORS) {
        workspace.centre[0] = centre.x;
        workspace.centre[1] = centre.y;
        workspace.centre[2] = centre.z;
    }
    unsigned parts = team.own_parts(), part = threadIdx.x % parts, term = term_of_thread(parts);
    unsigned one = ONE, other = ONE;
    if (term < TERMS) factors_of(term, one, other);
    double sum = 0.0;
    auto make = [&](const Factors& factors, unsigned slot, unsigned i) {
        store_factors(factors, slot, pairs[team.part(i)], centre);
    };
    auto add = [&](const Factors& factors, unsigned length) {
        const double *weights = factors.row(WEIGHT), *arms = factors.row(LENGTH);
        const double *ones = factors.row(one), *others = factors.row(other);
        if (term < TERMS) {
#pragma unroll 4
            for (unsigned i = part; i < length; i += parts) sum += weights[i] * ones[i] * others[i];
        } else if (term == TERMS) {
            for (unsigned i = part; i < length; i += parts) sum = fmax(sum, arms[i]);
        }
    };
    for_tiles(team, team.own_of(count), make, add);
    if (term <= TERMS) team.tell(&workspace.parts[term][team.part(part)], sum);
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

// An entry of the normal equations; the row behind their matrix is the right side.
__device__ double equation_entry(const double* sums, double point_share, unsigned row, unsigned column) {
    if (row < 6) return sums[MATRIX + lower(row, column)] + point_share * point_entry(sums, row, column);
    double part = column < 3 ? sums[TURNS + column] : sums[OFFSETS + column - 3];
    return -(sums[VECTOR + column] + point_share * part);
}

// Puts the sums over all pairs together from the running sums, and then the equations, by a warp. Called as well.
__device__ __noinline__ void set_up_equations(Workspace& workspace) {
    for (unsigned term = lane_number(); term < TERMS; term += WARP) workspace.sums[term] = total(workspace.parts[term]);
    if (lane_number() == 0) {
        double radius = 0.0;
        for (unsigned k = 0; k < PARTS; ++k) radius = fmax(radius, workspace.parts[TERMS][k]);
        workspace.sums[TERMS] = radius;
    }
    __syncwarp();
    unsigned row, column;
    if (lane_number() < 27) {
        row_and_column(lane_number(), row, column);
        workspace.equations[lane_number()] = equation_entry(workspace.sums, workspace.point_share, row, column);
    }
    __syncwarp();
}

// Cholesky's method, in place; false where the equations are singular.
//
// Each lane of the warp has a row, and column after column is divided by its pivot and taken from those behind it: every
// entry sees the operations of the host's in the host's order. The right side goes along as the last row, and is what it
// is after the first substitution then. All loops are unrolled, so that a row lies in registers.
__device__ bool factorise(double* equations) {
    unsigned row = min(lane_number(), 6u);
    double entries[6];
#pragma unroll
    for (unsigned k = 0; k < 6; ++k) entries[k] = k <= row ? equations[lower(row, k)] : 1.0;
    // All lanes have read their rows.
    __syncwarp();
#pragma unroll
    for (unsigned k = 0; k < 6; ++k) {
        double pivot = __shfl_sync(ALL_LANES, entries[k], k);
        if (!(pivot > 0.0)) return false;
        double root = sqrt(pivot);
        // Rows before the pivot's are done with, and take part as ones.
        double quotient = (row > k ? entries[k] : root) / root;
        double column = row == k ? root : quotient;
        if (lane_number() == row && row >= k) equations[lower(row, k)] = column;
#pragma unroll
        for (unsigned i = k + 1; i < 6; ++i) {
            double updated = entries[i] - column * __shfl_sync(ALL_LANES, column, i);
            if (row >= i) entries[i] = updated;
        }
    }
    __syncwarp();
    return true;
}

// The turn and the shift that solve the factorised equations. All lanes do the same.
__device__ void substitute(const double* factor, double (&x)[6]) {
#pragma unroll
    for (int i = 5; i >= 0; --i) {
        double rest = factor[lower(6, i)];
#pragma unroll
        for (int k = i + 1; k < 6; ++k) rest -= factor[lower(k, i)] * x[k];
        x[i] = rest / factor[lower(i, i)];
    }
}

// The rows of the rotation about the axis `turn` by its length, which is at most 1, by a warp.
__device__ void rotation_of(Vector turn, double (&rotation)[3][3]) {
    double x = turn.x, y = turn.y, z = turn.z;
    double square = dot(turn, turn);
    // Power series instead of functions that each device rounds in its own way: even lanes have that of the sine, odd ones,
    // whose numbers are larger by one, that of the cosine.
    double series = 1.0, odd = lane_number() % 2;
    for (int k = 9; k > 0; --k) {
        double n = 2 * k + odd;
        series = 1.0 - series * square / (n * (n + 1.0));
    }
    double sine = __shfl_sync(ALL_LANES, series, 0), cosine = __shfl_sync(ALL_LANES, series, 1);
    cosine *= 0.5;
    double xy = cosine * x * y, xz = cosine * x * z, yz = cosine * y * z;
    double rows[3][3] = {{1.0 - cosine * (y * y + z * z), xy - sine * z, xz + sine * y},
                         {xy + sine * z, 1.0 - cosine * (x * x + z * z), yz - sine * x},
                         {xz - sine * y, yz + sine * x, 1.0 - cosine * (x * x + y * y)}};
#pragma unroll
    for (unsigned i = 0; i < 9; ++i)
        if (lane_number() == i) rotation[i / 3][i % 3] = rows[i / 3][i % 3];
    __syncwarp();
}

__device__ __forceinline__ double product_of_row(const double (&row)[3], double x, double y, double z) {
    return row[0] * x + row[1] * y + row[2] * z;
}

// Turns the pose about the centre of the pairs, then shifts it, by a warp: a lane for each of the pose's numbers.
__device__ void move_pose(Workspace& workspace) {
    const float *r = workspace.pose.r, *t = workspace.pose.t;
    const double *centre = workspace.centre, *shift = workspace.shift;
    unsigned lane = min(lane_number(), 11u), row = lane < 9 ? lane / 3 : lane - 9, column = lane % 3;
    const double(&turned)[3] = workspace.rotation[row];
    double moved;
    if (lane < 9) moved = product_of_row(turned, r[column], r[3 + column], r[6 + column]);
    else moved = product_of_row(turned, t[0] - centre[0], t[1] - centre[1], t[2] - centre[2]) + centre[row] + shift[row];
    // All lanes have read the old pose.
    __syncwarp();
    if (lane < 9) workspace.pose.r[lane] = static_cast<float>(moved);
    else if (lane == lane_number()) workspace.pose.t[row] = static_cast<float>(moved);
}

// Applies to the pose the step that all running sums ask for, if it is a small one; whether it is. By a warp, all of whose
// lanes do the same where they do not share the work. It is called instead of being a part of the kernel's code, for which
// there would be too few registers.
__device__ __noinline__ bool step(Workspace& workspace) {
    set_up_equations(workspace);
    if (!factorise(workspace.equations)) return false;
    double x[6];
    substitute(workspace.equations, x);
    bool small = true;
#pragma unroll
    for (unsigned i = 0; i < 6; ++i) small = small && fabs(x[i]) < INFINITY;
    Vector turn = {x[0], x[1], x[2]}, shift = {x[3], x[4], x[5]};
    double angle = sqrt(dot(turn, turn));
    if (!(small && angle <= 1.0)) return false;
    if (lane_number() == 0) {
        workspace.furthest = angle * workspace.sums[TERMS] + sqrt(dot(shift, shift));
        workspace.shift[0] = shift.x;
        workspace.shift[1] = shift.y;
        workspace.shift[2] = shift.z;
    }
    rotation_of(turn, workspace.rotation);
    move_pose(workspace);
    return true;
}

// One round by all blocks, all of which come to the same; whether it moved the pose.
__device__ bool refine_once(const Team& team, const Samples& source, const Target& target, const Share& share, float reach,
                            bool is_first, Workspace& workspace) {
    find_pairs(source, share, target, workspace.pose, reach, is_first);
    unsigned kept = drop_unpaired(share.pairs + share.first, share.count);
    if (threadIdx.x == 0) team.tell(&workspace.counts[team.rank], kept);
    team.sync();
    unsigned count = 0;
    for (unsigned block = 0; block < team.blocks; ++block) count += workspace.counts[block];
    if (count < LEAST_PAIRS) return false;
    Pairs pairs = {share.pairs, share.length, workspace.counts};
    sum_moved(team, pairs, count, workspace);
    team.sync();
    sum_terms(team, pairs, count, workspace);
    team.sync();
    if (warp_number() == 0) {
        bool has_moved = step(workspace);
        if (lane_number() == 0) workspace.has_moved = has_moved;
    }
    __syncthreads();
    return workspace.has_moved;
}

// How far pairs may be apart, round by round up to the one from which on it is the same.
struct Reaches {
    float of_round[MOST_REACHES];
};

// refined[b] = poses[b] after up to `rounds` rounds, of which those from `settled` on have the same reach; from there on it
// ends when a step is negligible. `blocks` blocks refine a pose, a cluster where they are several, and stop when that is
// done; they divide MOST_BLOCKS. `pairs` and `nearest` hold `samples` entries for each pose. The dynamic shared memory is
// for the factors of two tiles.
//
// Each block searches for a part of the samples, and sums up the pairs of a part of the running sums. What bounds it is how
// long one thing takes that follows from another: a search waits for cells and then for their points in the caches, so a
// block has 64 of them under way and looks ahead for each, and none looks further than to the point that was nearest
// before; a running sum adds an eighth of all pairs one by one; the equations are solved by one warp of each block, which
// all find the same.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
refine_poses(const Point* source_points, const Point* source_normals, const unsigned* places, unsigned samples,
             const Point* target_points, const Point* target_normals, const float* columns, unsigned stride,
             const unsigned* cell_start, Grid grid, Errors source_errors, Errors target_errors, Reaches reaches, unsigned rounds,
             unsigned settled, double negligible, double point_share, unsigned blocks, const Pose* poses, Pair* pairs,
             unsigned* nearest, Pose* refined) {
    __shared__ Workspace workspace;
    // Here because there would be too few registers for it.
    __shared__ Share share;
    Samples source = {source_points, source_normals, places, source_errors};
    Target target = {target_points, target_normals, columns, stride, cell_start, grid, target_errors};
    unsigned number = blockIdx.x / blocks;
    Team team = {blocks, blockIdx.x % blocks};
    size_t first = static_cast<size_t>(number) * samples;
    if (threadIdx.x == 0) {
        workspace.pose = poses[number];
        workspace.point_share = point_share;
        share = share_of(team, samples, pairs + first, nearest + first);
    }
    // Before anything is told to a block it has to be there. None is told anything after the last meeting of a round, so
    // all may leave at its end.
    team.sync();
    for (unsigned round = 0; round < rounds; ++round) {
        float reach = reaches.of_round[min(round, settled)];
        if (!refine_once(team, source, target, share, reach, round == 0, workspace)) break;
        // Before the reach is the last one, a step that moves nothing is no reason to stop.
        if (round >= settled && workspace.furthest < negligible) break;
    }
    if (threadIdx.x == 0 && team.rank == 0) refined[number] = workspace.pose;
}
