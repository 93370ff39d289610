// Where a cloud was seen from, and how far it was seen. See src/stages/viewpoint/.
// spills: allowed, at most 80 bytes of what the searching threads need once a step; their blocks are as large as can be.
//
// The search takes the position from which the cloud looks most even, and evenness jumps where points move from one cell
// to the next. So all is computed as on the host, operation by operation, sums in the same order; then every step of the
// search, and its end, is the same.
#include "cluster.cuh"
#include "cube.cuh"
#include "geometry.cuh"

constexpr unsigned THREADS = 512;
constexpr unsigned WARPS = THREADS / WARP;

// Points that a thread has in the coarse search, in the pattern searches and in the last of them: with THREADS of them,
// the numbers of points that the host has chosen.
constexpr unsigned COARSE = 2, SEARCH = 5, FINE = 12;
// What follows is as on the host, too.
constexpr unsigned STEPS = 6;
constexpr float MARGIN = 0.5f;
constexpr unsigned SHELLS = 3, DIRECTIONS = 30;
__constant__ const float AROUND[SHELLS] = {2.0f, 4.0f, 8.0f};
constexpr unsigned OFFSETS = 4;
__constant__ const float NEAR_OFFSETS[OFFSETS] = {0.02f, 0.06f, 0.15f, 0.35f};
constexpr unsigned LATTICE_STARTS = STEPS * STEPS * STEPS, SHELL_STARTS = SHELLS * DIRECTIONS, NEAR_STARTS = 6 * OFFSETS;
constexpr unsigned STARTS = LATTICE_STARTS + SHELL_STARTS + NEAR_STARTS + 1;
// Starts of pattern searches.
constexpr unsigned BEST = 4;
constexpr unsigned HALVINGS = 4, ROUNDS = 3;
constexpr float CELLS = 500.0f, FEWEST_FACE_CELLS = 4.0f, MOST_FACE_CELLS = 128.0f;
constexpr float NARROW_VIEW = 0.3f;
constexpr float SPHERE = 4.0f * 3.14159265f;

// Where a search starts and how far it steps along each axis.
struct Start {
    Point position;
    Point step;
};

// Where a search ended, as the host has it.
struct Found {
    Point position;
    // Of its start.
    Point step;
    float unevenness;
    float narrowness;
    // Unevenness from the opposite side, once it is known.
    float opposite;
    // Cells along the edge of a face of the range image from there, once it is chosen.
    unsigned edge;
};

__device__ __forceinline__ Point scaled(Point p, float factor) { return {p.x * factor, p.y * factor, p.z * factor}; }

__device__ __forceinline__ Point moved_along(Point p, unsigned axis, float by) {
    if (axis == 0) p.x += by;
    if (axis == 1) p.y += by;
    if (axis == 2) p.z += by;
    return p;
}

// A cloud and the points that are looked at: `count` of its `length` points, or the points themselves where that is all. As
// the host has it. Clouds are looked at side by side, since a search alone leaves most of a device idle.
struct Selection {
    const Point* points;
    Point* chosen;
    unsigned length, count;
};

// chosen[i] = the point that a fixed hash of `i` picks, as on the host. A cloud for each row of blocks.
extern "C" __global__ void select_points(const Selection* clouds) {
    const auto [points, chosen, length, count] = clouds[blockIdx.y];
    unsigned i = thread_number();
    if (i >= count || count == length) return;
    unsigned long long hash = i * 0x9E3779B97F4A7C15ull;
    hash = (hash << 29 | hash >> 35) * 0xBF58476D1CE4E5B9ull;
    chosen[i] = points[__umul64hi(hash, length)];
}

// Sums in lanes.

// Lanes that are summed up side by side, as on the host, and all lanes of three sums.
constexpr unsigned LANES = 16;
constexpr unsigned CHAINS = 3 * LANES;
// Off by half of the memory banks, so that chains of different values do not meet.
constexpr unsigned TILE_STRIDE = THREADS + LANES;

// Sums of three values per point in the host's order: in sixteen lanes, each in the order of the points, then over the
// lanes. One thread follows each lane of each value through the tiles, at a few cycles per addition.
struct LaneSums {
    float tiles[2][3][TILE_STRIDE];
    float lanes[3][LANES];
    float totals[3];
};

// Adds the values of the next THREADS points, the first `count` of which exist, to the thread's lane. There are two
// tiles, used in turn, so one barrier suffices: a tile is written again only after the barrier of the other one.
__device__ __forceinline__ void add_tile(LaneSums& sums, unsigned round, Point value, unsigned count, float& sum) {
    float (*tile)[TILE_STRIDE] = sums.tiles[round % 2];
    tile[0][threadIdx.x] = value.x;
    tile[1][threadIdx.x] = value.y;
    tile[2][threadIdx.x] = value.z;
    __syncthreads();
    if (threadIdx.x >= CHAINS) return;
    const float* values = tile[threadIdx.x / LANES] + threadIdx.x % LANES;
#pragma unroll 16
    for (unsigned i = 0; i < count; i += LANES) sum += values[i];
}

// The sums over all lanes, for the whole block.
__device__ Point total(LaneSums& sums, float sum) {
    if (threadIdx.x < CHAINS) sums.lanes[threadIdx.x / LANES][threadIdx.x % LANES] = sum;
    __syncthreads();
    if (threadIdx.x < 3) {
        float all = 0.0f;
        for (unsigned lane = 0; lane < LANES; ++lane) all += sums.lanes[threadIdx.x][lane];
        sums.totals[threadIdx.x] = all;
    }
    __syncthreads();
    return {sums.totals[0], sums.totals[1], sums.totals[2]};
}

// Of `count` points, those in the tile that begins with the `first`.
__device__ __forceinline__ unsigned in_tile(unsigned first, unsigned count) {
    return first < count ? min(count - first, THREADS) : 0;
}

__device__ __forceinline__ Point unit_direction(Point p, Point eye) {
    Point d = p - eye;
    return scaled(d, 1.0f / sqrtf(fmaxf(d.x * d.x + d.y * d.y + d.z * d.z, LEAST_POSITIVE)));
}

__device__ __forceinline__ Point mean_of(Point sum, unsigned count) {
    float number = static_cast<float>(max(count, 1u));
    return {sum.x / number, sum.y / number, sum.z / number};
}

// The view from a place.

// Solid angle of a cap with this mean direction.
__device__ __forceinline__ float solid_angle(Point mean) { return SPHERE * (1.0f - sqrtf(dot(mean, mean))); }

// Cells along a cube face's edge so that `solid_angle` holds about `cells` of them.
__device__ __forceinline__ float face_edge(float solid_angle, float cells, float fewest, float most) {
    return floorf(fminf(fmaxf(sqrtf(SPHERE / fmaxf(solid_angle, 1e-6f) * cells / 6.0f), fewest), most));
}

// Of an image: across, up and ahead.
struct Axes {
    Point across, up, ahead;
};

// What the view from a place is like.
struct Look {
    // Without the logarithm.
    float unevenness;
    float narrowness;
};

// Axes of which one is `ahead`.
__device__ Axes axes_along(Point ahead) {
    float x = fabsf(ahead.x), y = fabsf(ahead.y), z = fabsf(ahead.z);
    unsigned least = y < x ? 1 : 0;
    if (z < (least == 1 ? y : x)) least = 2;
    float component = least == 0 ? ahead.x : least == 1 ? ahead.y : ahead.z;
    Point across = normalised({(least == 0 ? 1.0f : 0.0f) - component * ahead.x, (least == 1 ? 1.0f : 0.0f) - component * ahead.y,
                               (least == 2 ? 1.0f : 0.0f) - component * ahead.z});
    return {across, cross(ahead, across), ahead};
}

// Sine and cosine of half the angle of (x, y).
__device__ void half_angle(float x, float y, float& sine, float& cosine) {
    float length = sqrtf(x * x + y * y);
    if (!(length > 0.0f)) {
        sine = 0.0f;
        cosine = 1.0f;
    } else if (x >= 0.0f) {
        cosine = sqrtf(0.5f + 0.5f * (x / length));
        sine = 0.5f * (y / length) / cosine;
    } else {
        sine = copysignf(sqrtf(0.5f - 0.5f * (x / length)), y);
        cosine = 0.5f * (y / length) / sine;
    }
}

__device__ __forceinline__ Point combined(float a, Point p, float b, Point q) {
    return {a * p.x + b * q.x, a * p.y + b * q.y, a * p.z + b * q.z};
}

// The axes turned so that the spread across is largest, where `moments` are the sums of x^2, x y and y^2.
__device__ Axes turned(const Axes& axes, Point moments) {
    float sine, cosine;
    half_angle(moments.x - moments.z, 2.0f * moments.y, sine, cosine);
    return {combined(cosine, axes.across, sine, axes.up), combined(-sine, axes.across, cosine, axes.up), axes.ahead};
}

// Cells with their counts, in a hash table with open addressing: most of a narrow view's cells are empty, and all of them
// would not fit. An entry is one more than the cell and, in its lowest bits, the count, which no number of points exceeds.
constexpr unsigned COUNT_BITS = 13;
static_assert(FINE * THREADS < 1u << COUNT_BITS, "counts fit");

// Counts a point in its cell; how many were there before. The table has more slots than there are points.
template <unsigned SLOTS>
__device__ unsigned count_in_cell(unsigned* table, unsigned cell) {
    for (unsigned slot = (cell * 2654435761u >> 16) % SLOTS;; slot = (slot + 1) % SLOTS) {
        unsigned entry = atomicCAS(&table[slot], 0u, (cell + 1) << COUNT_BITS | 1u);
        if (entry == 0) return 0;
        if (entry >> COUNT_BITS == cell + 1) return atomicAdd(&table[slot], 1u) & ((1u << COUNT_BITS) - 1);
    }
}

constexpr unsigned slots_for(unsigned points) {
    unsigned slots = 1;
    while (slots * 3 < points * 4) slots *= 2;
    return slots;
}

// A block that looks at up to POINTS * THREADS points from one place after another; every thread keeps the directions to
// its points in registers. A look is bound by the sums in lanes and, with many points, by the arithmetic.
template <unsigned POINTS>
struct Observer {
    static constexpr unsigned SLOTS = slots_for(POINTS * THREADS);

    struct Shared {
        LaneSums sums;
        unsigned table[SLOTS];
        unsigned occupied[WARPS];
        unsigned pairs[WARPS];
    };

    Shared& shared;
    const Point* points;
    // A multiple of LANES.
    unsigned count;
    Point directions[POINTS];

    // Looks at the first points of the selection.
    __device__ Observer(Shared& shared, const Selection& cloud)
        : shared(shared), points(cloud.chosen), count(min(cloud.count, POINTS * THREADS) / LANES * LANES) {}

    // The mean direction to the points; takes note of all directions.
    __device__ Point mean_direction(Point eye) {
        float sum = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            unsigned i = threadIdx.x + k * THREADS;
            directions[k] = i < count ? unit_direction(points[i], eye) : Point{0.0f, 0.0f, 0.0f};
            add_tile(shared.sums, k, directions[k], in_tile(k * THREADS, count), sum);
        }
        return mean_of(total(shared.sums, sum), count);
    }

    // Sums of x^2, x y and y^2 of the directions' coordinates across and up.
    __device__ Point second_moments(const Axes& axes) {
        float sum = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            float x = dot(axes.across, directions[k]), y = dot(axes.up, directions[k]);
            add_tile(shared.sums, k, {x * x, x * y, y * y}, in_tile(k * THREADS, count), sum);
        }
        return total(shared.sums, sum);
    }

    __device__ Axes image_axes(Point mean) {
        float length = sqrtf(dot(mean, mean));
        if (length < NARROW_VIEW) return {{1.0f, 0.0f, 0.0f}, {0.0f, 1.0f, 0.0f}, {0.0f, 0.0f, 1.0f}};
        Axes axes = axes_along({mean.x / length, mean.y / length, mean.z / length});
        return turned(axes, second_moments(axes));
    }

    // How unevenly the directions from `eye` fill cells, and how narrow the view is, for the whole block.
    __device__ Look look(Point eye) {
        // The barriers of the sums lie between this and the counting.
        for (unsigned slot = threadIdx.x; slot < SLOTS; slot += THREADS) shared.table[slot] = 0;
        Point mean = mean_direction(eye);
        float edge = face_edge(solid_angle(mean), CELLS, FEWEST_FACE_CELLS, MOST_FACE_CELLS);
        Axes axes = image_axes(mean);
        // The sum of c (c - 1) over the counts is twice the sum, over the points, of how many came before in the cell.
        unsigned occupied = 0, pairs = 0;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            if (threadIdx.x + k * THREADS >= count) continue;
            Point d = directions[k];
            unsigned cell = cube_cell({dot(axes.across, d), dot(axes.up, d), dot(axes.ahead, d)}, edge);
            unsigned before = count_in_cell<SLOTS>(shared.table, cell);
            occupied += before == 0;
            pairs += 2 * before;
        }
        sum_up(occupied, pairs);
        float n = static_cast<float>(count);
        float unevenness = static_cast<float>(occupied) * static_cast<float>(max(pairs, 1u)) / (n * fmaxf(n - 1.0f, 1.0f));
        return {unevenness, sqrtf(dot(mean, mean))};
    }

    // Both numbers summed over the block.
    __device__ void sum_up(unsigned& occupied, unsigned& pairs) {
        occupied = __reduce_add_sync(ALL_LANES, occupied);
        pairs = __reduce_add_sync(ALL_LANES, pairs);
        if (lane_number() == 0) {
            shared.occupied[warp_number()] = occupied;
            shared.pairs[warp_number()] = pairs;
        }
        __syncthreads();
        occupied = pairs = 0;
        for (unsigned warp = 0; warp < WARPS; ++warp) {
            occupied += shared.occupied[warp];
            pairs += shared.pairs[warp];
        }
    }
};

// The search.

// Points that the starts are found from, at most, and rows of terms that are summed up over them.
constexpr unsigned START_POINTS = COARSE * THREADS;
constexpr unsigned TERMS = 6;
// Values of a row that a thread fetches at once, by four.
constexpr unsigned FETCHED = 16;
static_assert(START_POINTS % FETCHED == 0, "rows end with what is fetched at once");

// Aligned for vectors of four.
struct alignas(16) Terms {
    // Zero beyond the points. Rows in different memory banks.
    float rows[TERMS][START_POINTS + 4];
    float sums[TERMS];
};

// FETCHED values in registers.
struct Fetched {
    float4 values[FETCHED / 4];

    __device__ explicit Fetched(const float* from) {
#pragma unroll
        for (unsigned i = 0; i < FETCHED / 4; ++i) values[i] = reinterpret_cast<const float4*>(from)[i];
    }

    __device__ float added_to(float sum) const {
#pragma unroll
        for (unsigned i = 0; i < FETCHED / 4; ++i) sum = (((sum + values[i].x) + values[i].y) + values[i].z) + values[i].w;
        return sum;
    }
};

// Sums every row in the order of the points, for the whole block. An addition waits for the last one, and for nothing else:
// values are fetched while those before are added. Zeros at the end change no sum.
__device__ void sum_rows(Terms& terms, unsigned count) {
    __syncthreads();
    if (threadIdx.x < TERMS) {
        const float* row = terms.rows[threadIdx.x];
        float sum = 0.0f;
        Fetched next(row);
        for (unsigned i = 0; i < count; i += FETCHED) {
            Fetched current = next;
            next = Fetched(row + min(i + FETCHED, START_POINTS - FETCHED));
            sum = current.added_to(sum);
        }
        terms.sums[threadIdx.x] = sum;
    }
    __syncthreads();
}

// What the starts are made of.
struct Shape {
    Point low, high;
    // Root mean square distance from the origin.
    float radius;
    // The geometric median, and the mean distance from it.
    Point median;
    float mean_distance;
};

// Some of the points, as many as a thread has.
struct Own {
    Point points[COARSE];
    unsigned count;

    __device__ Own(const Point* from, unsigned length) : count(0) {
        for (unsigned i = threadIdx.x; i < length; i += THREADS) points[count++] = from[i];
    }
};

// Their bounds, for the whole block: the least and the largest coordinates need no order.
__device__ void find_bounds(const Own& own, Shape& shape) {
    // Of each warp, the lowest coordinates and the highest ones with the other sign.
    __shared__ float of_warps[6][WARPS];
    float least[6] = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};
    for (unsigned k = 0; k < own.count; ++k) {
        Point p = own.points[k];
        const float both[6] = {p.x, p.y, p.z, -p.x, -p.y, -p.z};
        for (unsigned i = 0; i < 6; ++i) least[i] = fminf(least[i], both[i]);
    }
    for (unsigned i = 0; i < 6; ++i) {
        for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
            least[i] = fminf(least[i], __shfl_xor_sync(ALL_LANES, least[i], distance));
        if (lane_number() == 0) of_warps[i][warp_number()] = least[i];
    }
    __syncthreads();
    for (unsigned i = 0; i < 6; ++i)
        for (unsigned warp = 0; warp < WARPS; ++warp) least[i] = fminf(least[i], of_warps[i][warp]);
    shape.low = {least[0], least[1], least[2]};
    shape.high = {-least[3], -least[4], -least[5]};
}

// Radius, median and mean distance from it, for the whole block. The median by Weiszfeld's iteration; the radius is summed up
// beside it.
__device__ void find_median(Terms& terms, const Own& own, unsigned count, Shape& shape) {
    for (unsigned i = count + threadIdx.x; i < START_POINTS; i += THREADS)
        for (unsigned term = 0; term < TERMS; ++term) terms.rows[term][i] = 0.0f;
    Point centre = {0.0f, 0.0f, 0.0f};
    for (unsigned round = 0; round < 10; ++round) {
#pragma unroll
        for (unsigned k = 0; k < COARSE; ++k) {
            if (k >= own.count) break;
            unsigned i = threadIdx.x + k * THREADS;
            Point p = own.points[k], d = p - centre;
            float distance = sqrtf(dot(d, d)), weight = 1.0f / fmaxf(distance, 1e-6f);
            terms.rows[0][i] = weight * p.x;
            terms.rows[1][i] = weight * p.y;
            terms.rows[2][i] = weight * p.z;
            terms.rows[3][i] = weight;
            terms.rows[4][i] = distance;
            terms.rows[5][i] = dot(p, p);
        }
        sum_rows(terms, count);
        const float* sums = terms.sums;
        centre = {sums[0] / sums[3], sums[1] / sums[3], sums[2] / sums[3]};
    }
    float number = static_cast<float>(count);
    shape.median = centre;
    shape.mean_distance = terms.sums[4] / number;
    shape.radius = sqrtf(terms.sums[5] / number);
}

// The `i`-th start: on a lattice in and around the cloud, on shells around it, or near the densest place.
__device__ Start start_of(unsigned i, const Shape& shape, const Point* directions) {
    if (i < LATTICE_STARTS) {
        Point extent = shape.high - shape.low;
        Point step = {extent.x * (1.0f + 2.0f * MARGIN) / (STEPS - 1), extent.y * (1.0f + 2.0f * MARGIN) / (STEPS - 1),
                      extent.z * (1.0f + 2.0f * MARGIN) / (STEPS - 1)};
        Point first = shape.low - scaled(extent, MARGIN);
        return {{first.x + step.x * (i % STEPS), first.y + step.y * (i / STEPS % STEPS), first.z + step.z * (i / STEPS / STEPS)}, step};
    }
    i -= LATTICE_STARTS;
    if (i < SHELL_STARTS) {
        float distance = AROUND[i / DIRECTIONS] * shape.radius, step = 0.4f * distance;
        return {scaled(directions[i % DIRECTIONS], distance), {step, step, step}};
    }
    i -= SHELL_STARTS;
    if (i < NEAR_STARTS) {
        float share = NEAR_OFFSETS[i / 6], step = 0.5f * share * shape.mean_distance;
        float offset = (i % 2 == 0 ? share : -share) * shape.mean_distance;
        return {moved_along(shape.median, i % 6 / 2, offset), {step, step, step}};
    }
    float step = 0.02f * shape.mean_distance;
    return {shape.median, {step, step, step}};
}

// A block for each cloud: the starts of the search, from at most START_POINTS points. `directions` point all around.
extern "C" __global__ void __launch_bounds__(THREADS)
find_starts(const Selection* clouds, const Point* directions, Start* starts) {
    __shared__ Terms terms;
    const Selection& cloud = clouds[blockIdx.x];
    unsigned count = min(cloud.count, START_POINTS);
    Shape shape = {};
    Own own(cloud.chosen, count);
    find_bounds(own, shape);
    find_median(terms, own, count, shape);
    if (threadIdx.x < STARTS) starts[blockIdx.x * STARTS + threadIdx.x] = start_of(threadIdx.x, shape, directions);
}
static_assert(STARTS <= THREADS, "every start has a thread");

// How uneven the view from each start is; a row of blocks for each cloud, and a block for each of its starts.
extern "C" __global__ void __launch_bounds__(THREADS)
rate_starts(const Selection* clouds, const Start* starts, float* ratings) {
    __shared__ Observer<COARSE>::Shared shared;
    Observer<COARSE> observer(shared, clouds[blockIdx.y]);
    unsigned start = blockIdx.y * STARTS + blockIdx.x;
    float rating = observer.look(starts[start].position).unevenness;
    if (threadIdx.x == 0) ratings[start] = rating;
}

// Both ways along each axis.
constexpr unsigned WAYS = 6;

// The way along which the view from `position` is to be tried, `scale` steps far.
__device__ __forceinline__ Point moved_some_way(Point position, Point step, float scale, unsigned way) {
    float along = way / 2 == 0 ? step.x : way / 2 == 1 ? step.y : step.z;
    return moved_along(position, way / 2, (way % 2 == 0 ? scale : -scale) * along);
}

// Who looks from the places around one. A search takes the first way that makes the view more even, and goes on with the
// ways after that one from there.
//
// A single block looks from one place after another.
template <unsigned POINTS>
struct Alone {
    Observer<POINTS>& observer;

    // The first of the ways from `first` on whose view is more even than `best`, which becomes that view; WAYS if none is.
    __device__ unsigned first_better(Point position, Point step, float scale, unsigned first, Look& best) {
        for (unsigned way = first; way < WAYS; ++way) {
            Look look = observer.look(moved_some_way(position, step, scale, way));
            if (look.unevenness < best.unevenness) {
                best = look;
                return way;
            }
        }
        return WAYS;
    }
};

#ifdef HAS_CLUSTERS

// A cluster looks from all of them at once, a block from each.
template <unsigned POINTS>
struct Together {
    Observer<POINTS>& observer;
    // Two sets, used in turn: a block may be a step ahead of another.
    Look (*looks)[WAYS];
    unsigned round;

    __device__ unsigned first_better(Point position, Point step, float scale, unsigned first, Look& best) {
        unsigned own = cluster_rank();
        Look* current = looks[round++ % 2];
        if (own >= first) {
            Look look = observer.look(moved_some_way(position, step, scale, own));
            if (threadIdx.x < WAYS) *in_block(&current[own], threadIdx.x) = look;
        }
        cluster_sync();
        for (unsigned way = first; way < WAYS; ++way) {
            if (current[way].unevenness < best.unevenness) {
                best = current[way];
                return way;
            }
        }
        return WAYS;
    }
};

#endif

// Moves along the axes while that makes the view more even, with steps halved `first` to `last` times.
template <unsigned POINTS, class Team>
__device__ Found pattern_search(Observer<POINTS>& observer, Team team, const Start& start, unsigned first, unsigned last) {
    Point position = start.position;
    Look best = observer.look(position);
    for (unsigned halving = first; halving <= last; ++halving) {
        float scale = 1.0f / static_cast<float>(1u << halving);
        for (unsigned round = 0; round < ROUNDS; ++round) {
            float before = best.unevenness;
            for (unsigned way = 0; way < WAYS; ++way) {
                way = team.first_better(position, start.step, scale, way, best);
                if (way < WAYS) position = moved_some_way(position, start.step, scale, way);
            }
            if (best.unevenness >= before) break;
        }
    }
    return {position, start.step, best.unevenness, best.narrowness, 0.0f, 0};
}

// The start whose rating is the `rank`-th lowest, the lower index first on ties, for the whole block. Ratings are not
// negative, so their bits are in the order of their values.
__device__ unsigned start_of_rank(const float* ratings, unsigned rank) {
    __shared__ unsigned chosen;
    if (threadIdx.x < STARTS) {
        unsigned own = __float_as_uint(ratings[threadIdx.x]), before = 0;
        for (unsigned i = 0; i < STARTS; ++i) {
            unsigned other = __float_as_uint(ratings[i]);
            before += other < own || (other == own && i < threadIdx.x);
        }
        if (before == rank) chosen = threadIdx.x;
    }
    __syncthreads();
    return chosen;
}

// The end of the search from the start of this rank among the cloud's.
template <class Team>
__device__ Found search_from(Observer<SEARCH>& observer, Team team, const Start* starts, const float* ratings, unsigned rank) {
    const Start* own = starts + blockIdx.y * STARTS;
    return pattern_search(observer, team, own[start_of_rank(ratings + blockIdx.y * STARTS, rank)], 0, HALVINGS);
}

// The end of the search from the best of the BEST places that were found in the cloud, with small steps on more points, and
// how uneven the cloud is from the opposite side.
template <class Team>
__device__ Found search_on_from(Observer<FINE>& observer, Team team, const Found* all_found) {
    const Found* found = all_found + blockIdx.y * BEST;
    Found best = found[0];
    for (unsigned i = 1; i < BEST; ++i)
        if (found[i].unevenness < best.unevenness) best = found[i];
    Found end = pattern_search(observer, team, {best.position, best.step}, HALVINGS - 1, HALVINGS + 1);
    end.opposite = observer.look(scaled(end.position, -1.0f)).unevenness;
    return end;
}

// The ends of the searches from the BEST best starts of each cloud, which has a row of blocks. The steps of a search follow
// one another, so a block takes as long as its some 90 looks at most; the blocks run side by side.
extern "C" __global__ void __launch_bounds__(THREADS)
search_from_best(const Selection* clouds, const Start* starts, const float* ratings, Found* found) {
    __shared__ Observer<SEARCH>::Shared shared;
    Observer<SEARCH> observer(shared, clouds[blockIdx.y]);
    Found end = search_from(observer, Alone<SEARCH>{observer}, starts, ratings, blockIdx.x);
    if (threadIdx.x == 0) found[blockIdx.y * BEST + blockIdx.x] = end;
}

// One block for each cloud: searches on from the best place.
extern "C" __global__ void __launch_bounds__(THREADS)
search_on(const Selection* clouds, const Found* found, Found* last) {
    __shared__ Observer<FINE>::Shared shared;
    Observer<FINE> observer(shared, clouds[blockIdx.y]);
    Found end = search_on_from(observer, Alone<FINE>{observer}, found);
    if (threadIdx.x == 0) last[blockIdx.y] = end;
}

// The same two with a cluster of WAYS blocks for each search. Most steps of a search find no better place and look in vain
// in all ways; a cluster takes as long for that as a block for one.
extern "C" __global__ void __launch_bounds__(THREADS)
search_from_best_in_clusters(const Selection* clouds, const Start* starts, const float* ratings, Found* found) {
#ifdef HAS_CLUSTERS
    __shared__ Observer<SEARCH>::Shared shared;
    __shared__ Look looks[2][WAYS];
    Observer<SEARCH> observer(shared, clouds[blockIdx.y]);
    // Before the first look is told to a block it has to be there.
    cluster_sync();
    Found end = search_from(observer, Together<SEARCH>{observer, looks, 0}, starts, ratings, blockIdx.x / WAYS);
    if (cluster_rank() == 0 && threadIdx.x == 0) found[blockIdx.y * BEST + blockIdx.x / WAYS] = end;
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS)
search_on_in_cluster(const Selection* clouds, const Found* found, Found* last) {
#ifdef HAS_CLUSTERS
    __shared__ Observer<FINE>::Shared shared;
    __shared__ Look looks[2][WAYS];
    Observer<FINE> observer(shared, clouds[blockIdx.y]);
    cluster_sync();
    Found end = search_on_from(observer, Together<FINE>{observer, looks, 0}, found);
    if (cluster_rank() == 0 && threadIdx.x == 0) last[blockIdx.y] = end;
#endif
}

// The range image.

// Of the block that chooses the edge, the first warps add up, and the others find directions, some for each thread and
// tile.
constexpr unsigned ADDING_THREADS = (CHAINS + WARP - 1) / WARP * WARP;
constexpr unsigned FINDING_THREADS = THREADS - ADDING_THREADS;
constexpr unsigned DIRECTIONS_PER_THREAD = 2;
constexpr unsigned DIRECTIONS_AT_ONCE = DIRECTIONS_PER_THREAD * FINDING_THREADS;
static_assert(DIRECTIONS_AT_ONCE % (2 * LANES) == 0, "tiles are whole blocks of lanes, and off by half of the memory banks");

// A block for each cloud: the number of cells along the edges of a range image from its place so that about one cell for so
// many points sees any. While one tile of directions is added up, in the host's order as above, the next one is found.
extern "C" __global__ void __launch_bounds__(THREADS)
choose_edge(const Selection* clouds, float points_per_cell, float fewest, float most, Found* places) {
    __shared__ float tiles[2][3][DIRECTIONS_AT_ONCE + LANES];
    __shared__ LaneSums sums;
    const Point* points = clouds[blockIdx.x].chosen;
    unsigned all = clouds[blockIdx.x].count, count = all / LANES * LANES;
    float cells = static_cast<float>(all) / points_per_cell;
    Found* from = places + blockIdx.x;
    const Point eye = from->position;
    bool adds = threadIdx.x < ADDING_THREADS;
    float sum = 0.0f;
    Point next[DIRECTIONS_PER_THREAD];
    auto fetch = [&](unsigned first) {
#pragma unroll
        for (unsigned k = 0; k < DIRECTIONS_PER_THREAD; ++k)
            next[k] = points[min(first + threadIdx.x - ADDING_THREADS + k * FINDING_THREADS, count - 1)];
    };
    if (!adds && count > 0) fetch(0);
    for (unsigned first = 0, round = 0; first < count; first += DIRECTIONS_AT_ONCE, ++round) {
        float (*tile)[DIRECTIONS_AT_ONCE + LANES] = tiles[round % 2];
        if (!adds) {
#pragma unroll
            for (unsigned k = 0; k < DIRECTIONS_PER_THREAD; ++k) {
                Point direction = unit_direction(next[k], eye);
                unsigned i = threadIdx.x - ADDING_THREADS + k * FINDING_THREADS;
                tile[0][i] = direction.x;
                tile[1][i] = direction.y;
                tile[2][i] = direction.z;
            }
            fetch(first + DIRECTIONS_AT_ONCE);
        }
        // A tile is written again only after the barrier of the other one.
        __syncthreads();
        if (threadIdx.x < CHAINS) {
            const float* values = tile[threadIdx.x / LANES] + threadIdx.x % LANES;
            unsigned in_tile = min(count - first, DIRECTIONS_AT_ONCE);
#pragma unroll 16
            for (unsigned i = 0; i < in_tile; i += LANES) sum += values[i];
        }
    }
    Point mean = mean_of(total(sums, sum), count);
    if (threadIdx.x == 0) from->edge = static_cast<unsigned>(face_edge(solid_angle(mean), cells, fewest, most));
}

// Lowers `nearest[c]` to the range of every point in cell `c`, as bits; these are in the order of the values.
extern "C" __global__ void see_ranges(const Point* points, unsigned count, Point eye, unsigned edge, unsigned* nearest) {
    unsigned i = thread_number();
    if (i >= count) return;
    Point ray = points[i] - eye;
    atomicMin(&nearest[cube_cell(ray, static_cast<float>(edge))], __float_as_uint(sqrtf(dot(ray, ray))));
}

// least[c] = the nearest range in cell `c` and its neighbours on the face; infinite where the cell saw nothing, which is
// where its bits are those of no finite number.
extern "C" __global__ void take_least_of_neighbours(const unsigned* nearest, unsigned edge, float* least) {
    unsigned cell = thread_number();
    if (cell >= 6 * edge * edge) return;
    constexpr unsigned INFINITE = 0x7f800000u;
    unsigned result = INFINITE;
    if (nearest[cell] < INFINITE) {
        unsigned u = cell / edge % edge, v = cell % edge;
        unsigned corner = cell - u * edge - v;
        for (unsigned row = u == 0 ? 0 : u - 1; row < min(u + 2, edge); ++row)
            for (unsigned column = v == 0 ? 0 : v - 1; column < min(v + 2, edge); ++column)
                result = min(result, nearest[corner + row * edge + column]);
    }
    least[cell] = __uint_as_float(result);
}
