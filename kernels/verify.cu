// What two clouds say about a pose. See src/stages/verify/.
#include "cube.cuh"
#include "eigen.cuh"
#include "geometry.cuh"
#include "surface.cuh"
#include "verdict.cuh"

// Threads of a block, each of which looks at one sample, as on the host.
constexpr unsigned THREADS = 256;
constexpr unsigned WARPS = THREADS / WARP;

// Normals agree when they differ by at most 45 degrees, as on the host.
constexpr float LEAST_COSINE = 0.7f;
// Relative range error that an uncertain viewpoint may cause, as on the host.
constexpr float RANGE_SLACK = 0.03f;

// A point of one cloud that lies on the other's surface.
struct Contact {
    Point point;
    Point normal;
    // The normal less the point's own, which is turned over where the two point apart.
    Point difference;
    // Along the normal, signed.
    float distance;
    // Whether there is one; the rest is zero where not.
    unsigned exists;
};

// What a block's contacts are summed up to: products of two of these for each, the last of which are squared.
constexpr unsigned NORMAL_AND_DISTANCE = 4;
constexpr unsigned CONTACT_SUMS = 7;
constexpr unsigned SQUARED_DISTANCES = 6;

// How a block's samples agree under one pose.
struct Tally {
    // Over the contacts: `n nᵀ` of the normals, and squared distances along them.
    double sums[CONTACT_SUMS];
    unsigned overlapping;
    unsigned in_front;
    unsigned viewed;
    unsigned padding;
};

// As the host has it.
struct Observation {
    double normal_matrix[36], difference_matrix[36], common_matrix[36];
    double centre[3];
    double radius;
    double squares;
    double common_variance;
    double count;
    Pose pose;
};

// The sum over the threads of a block, for all of them. `of_warps` may be used again at once.
template <class Number>
__device__ Number sum_of_block(Number value, Number* of_warps) {
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    if (lane_number() == 0) of_warps[warp_number()] = value;
    __syncthreads();
    Number sum = 0;
    for (unsigned warp = 0; warp < WARPS; ++warp) sum += of_warps[warp];
    __syncthreads();
    return sum;
}

// A sample at `point`, with its normal in `turned`, on the fixed surface: within `reach` of a point whose normal agrees.
__device__ Contact contact(Point point, Point turned, const Point* points, const Point* normals, const unsigned* cell_start,
                           const Grid& grid, float reach) {
    unsigned i = nearest_point(grid, cell_start, points, point, reach).index;
    if (i == NO_POINT) return {};
    Point normal = normals[i];
    float cosine = dot(turned, normal);
    if (!(fabsf(cosine) >= LEAST_COSINE)) return {};
    Point own = cosine < 0.0f ? Point{-turned.x, -turned.y, -turned.z} : turned;
    return {point, normal, normal - own, dot(point - points[i], normal), 1};
}

// A cloud as the host has it: its surface, how many of its samples take part and in how many chunks, and what was seen of it.
struct Scene {
    const Point *points, *normals;
    const unsigned *places, *cell_start;
    const float* nearest_ranges;
    Grid grid;
    Point eye;
    unsigned edge, samples, chunks;
};

// The sums over a warp's contacts that are `present`, by its first lanes.
__device__ __forceinline__ void sum_contacts(const float (*contacts)[NORMAL_AND_DISTANCE], unsigned present, double* sums) {
    __syncwarp();
    unsigned lane = lane_number();
    if (lane >= CONTACT_SUMS) return;
    // xx, xy, xz, yy, yz, zz of the normals, and the squared distance.
    unsigned one = lane < 3 ? 0 : lane < 5 ? 1 : lane - 3, other = lane < 3 ? lane : lane < 5 ? lane - 2 : lane - 3;
    double sum = 0.0;
    for (; present; present &= present - 1) {
        const float* contact = contacts[__ffs(present) - 1];
        sum += static_cast<double>(contact[one]) * contact[other];
    }
    sums[lane] = sum;
}

// For each cloud tallies[pose * chunks + chunk] = how the chunk's samples of the cloud lie on the other's surface, and in
// front of what was seen of it; THREADS samples are a chunk, and a block looks at one chunk under one pose. The blocks of
// the first row take the source, those of the second the target, under the inverse of the pose.
//
// Every warp sums up the products of its own contacts, and each of its lanes one of the products.
//
// One sample a thread: a query walks a few dozen points of neighbouring cells, which lie in the caches, so the time is
// that of their latency, and many threads hide it best.
extern "C" __global__ void __launch_bounds__(THREADS)
tally_agreement(Scene source, Scene target, const Pose* poses, unsigned count, float reach, float margin, Tally* of_source,
                Tally* of_target) {
    __shared__ float contacts[THREADS][NORMAL_AND_DISTANCE];
    __shared__ double of_warps[WARPS][CONTACT_SUMS];
    bool back = blockIdx.y == 1;
    Scene moving = source, fixed = target;
    if (back) moving = target, fixed = source;
    if (blockIdx.x >= count * moving.chunks) return;
    unsigned sample = blockIdx.x % moving.chunks * THREADS + threadIdx.x;
    Pose pose = poses[blockIdx.x / moving.chunks];
    if (back) pose = inverse(pose);
    Contact found = {};
    bool in_front = false, viewed = false;
    if (sample < moving.samples) {
        unsigned place = moving.places[sample];
        Point point = apply(pose, moving.points[place]);
        found = contact(point, rotate(pose, moving.normals[place]), fixed.points, fixed.normals, fixed.cell_start, fixed.grid, reach);
        Point ray = point - fixed.eye;
        float seen = fixed.nearest_ranges[cube_cell(ray, static_cast<float>(fixed.edge))];
        viewed = seen < INFINITY;
        in_front = viewed && sqrtf(dot(ray, ray)) + margin + RANGE_SLACK * seen < seen;
    }
    float* own = contacts[threadIdx.x];
    own[0] = found.normal.x, own[1] = found.normal.y, own[2] = found.normal.z, own[3] = found.distance;
    sum_contacts(contacts + warp_number() * WARP, __ballot_sync(ALL_LANES, found.exists), of_warps[warp_number()]);
    unsigned overlapping = __syncthreads_count(found.exists), front = __syncthreads_count(in_front);
    unsigned views = __syncthreads_count(viewed);
    Tally& tally = (back ? of_target : of_source)[blockIdx.x];
    if (threadIdx.x == 0) tally.overlapping = overlapping, tally.in_front = front, tally.viewed = views;
    if (threadIdx.x < CONTACT_SUMS) {
        double sum = 0.0;
        for (unsigned warp = 0; warp < WARPS; ++warp) sum += of_warps[warp][threadIdx.x];
        tally.sums[threadIdx.x] = sum;
    }
}

__device__ Tally total(const Tally* tallies, unsigned chunks) {
    Tally sum = {};
    for (unsigned chunk = 0; chunk < chunks; ++chunk) {
        Tally tally = tallies[chunk];
        sum.overlapping += tally.overlapping;
        sum.in_front += tally.in_front;
        sum.viewed += tally.viewed;
        for (unsigned k = 0; k < CONTACT_SUMS; ++k) sum.sums[k] += tally.sums[k];
    }
    return sum;
}

__device__ __forceinline__ float share(unsigned count, unsigned samples) {
    return static_cast<float>(count) / static_cast<float>(max(samples, 1u));
}

// The least eigenvalue of the mean product of normals over all samples.
__device__ float hold(const Tally& tally, unsigned samples) {
    double m[CONTACT_SUMS];
    for (unsigned k = 0; k < CONTACT_SUMS; ++k) m[k] = tally.sums[k] / static_cast<double>(max(samples, 1u));
    return static_cast<float>(fmax(least_eigenvalue({m[0], m[1], m[2], m[3], m[4], m[5]}), 0.0));
}

// agreements[pose] = the tallies of both clouds, summed up.
extern "C" __global__ void conclude_agreement(const Tally* of_source, unsigned source_samples, unsigned source_chunks,
                                              const Tally* of_target, unsigned target_samples, unsigned target_chunks,
                                              unsigned poses, Agreement* agreements) {
    unsigned pose = thread_number();
    if (pose >= poses) return;
    Tally source = total(of_source + pose * source_chunks, source_chunks);
    Tally target = total(of_target + pose * target_chunks, target_chunks);
    agreements[pose] = {share(source.overlapping, source_samples),
                        share(target.overlapping, target_samples),
                        hold(source, source_samples),
                        hold(target, target_samples),
                        static_cast<float>(sqrt(source.sums[SQUARED_DISTANCES] / static_cast<double>(max(source.overlapping, 1u)))),
                        share(source.in_front, source_samples),
                        share(target.in_front, target_samples),
                        share(source.viewed, source_samples),
                        share(target.viewed, target_samples)};
}

// Sums over a chunk's contacts.
struct Sums {
    double point[3];
    double count;
};

// The samples of the moving cloud that lie on the fixed surface, and the sums over every block's.
extern "C" __global__ void __launch_bounds__(THREADS)
find_contacts(const Point* moving_points, const Point* moving_normals, const unsigned* places, unsigned samples, const Point* points,
              const Point* normals, const unsigned* cell_start, Grid grid, const Pose* pose, float reach, Contact* contacts, Sums* sums) {
    __shared__ double of_warps[WARPS];
    unsigned sample = thread_number();
    Contact found = {};
    if (sample < samples) {
        unsigned place = places[sample];
        Point point = apply(*pose, moving_points[place]), turned = rotate(*pose, moving_normals[place]);
        found = contact(point, turned, points, normals, cell_start, grid, reach);
        contacts[sample] = found;
    }
    double x = sum_of_block<double>(found.point.x, of_warps), y = sum_of_block<double>(found.point.y, of_warps);
    double z = sum_of_block<double>(found.point.z, of_warps), count = sum_of_block<double>(found.exists, of_warps);
    if (threadIdx.x == 0) sums[blockIdx.x] = {{x, y, z}, count};
}

// The mean of all contacts and their number, by the first four threads of a block for all of it.
__device__ const Sums& mean_contact(const Sums* sums, unsigned chunks) {
    __shared__ Sums mean;
    __shared__ double totals[4];
    const double* terms = reinterpret_cast<const double*>(sums);
    if (threadIdx.x < 4) {
        double sum = 0.0;
        for (unsigned chunk = 0; chunk < chunks; ++chunk) sum += terms[4 * chunk + threadIdx.x];
        totals[threadIdx.x] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double scale = fmax(totals[3], 1.0);
        mean = {{totals[0] / scale, totals[1] / scale, totals[2] / scale}, totals[3]};
    }
    __syncthreads();
    return mean;
}

// Entries of a Jacobian.
constexpr unsigned JACOBIAN = 6;
// What a contact brings to the observation: products of two entries of a row. It begins with the contact's Jacobian and by
// how much that differs from the Jacobian of the point's own normal.
constexpr unsigned DIFFERENCE = JACOBIAN, DISTANCE = 2 * JACOBIAN, SQUARED_ARM = DISTANCE + 1, ONE = DISTANCE + 2;
constexpr unsigned ROW = DISTANCE + 3;
// Products that are summed: the lower triangles of the normal matrix and of the difference matrix, squared distances and
// squared arms.
constexpr unsigned TRIANGLE = 21, TRIANGLES = 2 * TRIANGLE;
constexpr unsigned SQUARES = TRIANGLES, SQUARED_ARMS = TRIANGLES + 1, PRODUCTS = TRIANGLES + 2;

// (arm × along, along).
__device__ __forceinline__ void fill_jacobian(double* row, const double* arm, const Point& direction) {
    double along[3] = {direction.x, direction.y, direction.z};
    for (unsigned k = 0; k < 3; ++k) {
        row[k] = arm[(k + 1) % 3] * along[(k + 2) % 3] - arm[(k + 2) % 3] * along[(k + 1) % 3];
        row[3 + k] = along[k];
    }
}

__device__ void fill_row(double* row, const Contact& contact, const double* centre) {
    double arm[3] = {contact.point.x - centre[0], contact.point.y - centre[1], contact.point.z - centre[2]};
    fill_jacobian(row, arm, contact.normal);
    fill_jacobian(row + DIFFERENCE, arm, contact.difference);
    row[DISTANCE] = contact.distance;
    row[SQUARED_ARM] = arm[0] * arm[0] + arm[1] * arm[1] + arm[2] * arm[2];
    row[ONE] = 1.0;
}

// The place of the `number`-th entry of a lower triangle.
__device__ void place_in_triangle(unsigned number, unsigned& row, unsigned& column) {
    row = 0;
    for (; number > row; ++row) number -= row + 1;
    column = number;
}

// The entries of a row whose product is the `number`-th.
__device__ void factors(unsigned number, unsigned& one, unsigned& other) {
    if (number < TRIANGLES) {
        unsigned first = number < TRIANGLE ? 0 : DIFFERENCE;
        place_in_triangle(number % TRIANGLE, one, other);
        one += first, other += first;
    } else {
        one = number == SQUARES ? DISTANCE : SQUARED_ARM;
        other = number == SQUARES ? DISTANCE : ONE;
    }
}

// products[PRODUCTS * block + k] = the sum of the k-th product over the block's contacts. Every warp sums up its own contacts,
// and each of its lanes one or two of the products.
extern "C" __global__ void __launch_bounds__(THREADS)
sum_products(const Contact* contacts, unsigned samples, const Sums* sums, unsigned chunks, double* products) {
    __shared__ double rows[THREADS][ROW];
    __shared__ double of_warps[WARPS][PRODUCTS];
    const Sums& mean = mean_contact(sums, chunks);
    unsigned sample = thread_number();
    bool exists = sample < samples && contacts[sample].exists;
    if (exists) fill_row(rows[threadIdx.x], contacts[sample], mean.point);
    unsigned present = __ballot_sync(ALL_LANES, exists);
    __syncwarp();
    for (unsigned number = lane_number(); number < PRODUCTS; number += WARP) {
        unsigned one, other;
        factors(number, one, other);
        double sum = 0.0;
        for (unsigned left = present; left; left &= left - 1) {
            const double* row = rows[warp_number() * WARP + __ffs(left) - 1];
            sum += row[one] * row[other];
        }
        of_warps[warp_number()][number] = sum;
    }
    __syncthreads();
    if (threadIdx.x < PRODUCTS) {
        double sum = 0.0;
        for (unsigned warp = 0; warp < WARPS; ++warp) sum += of_warps[warp][threadIdx.x];
        products[PRODUCTS * blockIdx.x + threadIdx.x] = sum;
    }
}

// The sum of a product over all chunks.
__device__ double total_product(const double* products, unsigned chunks, unsigned number) {
    double sum = 0.0;
    for (unsigned chunk = 0; chunk < chunks; ++chunk) sum += products[PRODUCTS * chunk + number];
    return sum;
}

// Groups of contacts, three to a block of space; see `GROUPS` in `verify/mod.rs`.
constexpr unsigned AXES = 3, GROUPS = 64 * AXES;

// The edge of the cubes that blocks of space are made of; 0 where all contacts are one point.
__device__ double space_block_edge(double radius) { return radius > 0.0 ? ldexp(1.0, ilogb(radius / 2.0)) : 0.0; }

__device__ unsigned space_block(const Point& point, double edge) {
    if (!(edge > 0.0)) return 0;
    double along[3] = {floor(point.x / edge), floor(point.y / edge), floor(point.z / edge)};
    unsigned block = 0;
    for (unsigned k = 3; k-- > 0;) block = 4 * block + static_cast<unsigned>(static_cast<long long>(along[k]) & 3);
    return block;
}

// The axis along which a normal points most, the first of several.
__device__ unsigned facing(const Point& normal) {
    float x = fabsf(normal.x), y = fabsf(normal.y), z = fabsf(normal.z);
    if (y > x) return z > y ? 2 : 1;
    return z > x ? 2 : 0;
}

// Sums over a group's contacts, whose normals are turned so that the largest coordinate is positive.
struct Group {
    double jacobian[JACOBIAN];
    double distance;
    double count;
};

// A thread block for every group.
extern "C" __global__ void __launch_bounds__(THREADS)
sum_groups(const Contact* contacts, unsigned samples, const Sums* sums, const double* products, unsigned chunks, Group* groups) {
    __shared__ double of_warps[WARPS];
    __shared__ double edge;
    const Sums& mean = mean_contact(sums, chunks);
    if (threadIdx.x == 0) {
        double arms = total_product(products, chunks, SQUARED_ARMS);
        edge = space_block_edge(sqrt(arms / fmax(mean.count, 1.0)));
    }
    __syncthreads();
    unsigned block = blockIdx.x / AXES, axis = blockIdx.x % AXES;
    Group group = {};
    for (unsigned sample = threadIdx.x; sample < samples; sample += THREADS) {
        Contact found = contacts[sample];
        if (!found.exists || facing(found.normal) != axis || space_block(found.point, edge) != block) continue;
        double row[ROW];
        fill_row(row, found, mean.point);
        float along = axis == 0 ? found.normal.x : axis == 1 ? found.normal.y : found.normal.z;
        double sign = along < 0.0f ? -1.0 : 1.0;
        for (unsigned k = 0; k < JACOBIAN; ++k) group.jacobian[k] += sign * row[k];
        group.distance += sign * row[DISTANCE];
        group.count += 1.0;
    }
    for (double& entry : group.jacobian) entry = sum_of_block<double>(entry, of_warps);
    group.distance = sum_of_block<double>(group.distance, of_warps);
    group.count = sum_of_block<double>(group.count, of_warps);
    if (threadIdx.x == 0) groups[blockIdx.x] = group;
}

// The sum over all groups of the product of two entries of their Jacobians.
__device__ double total_common(const Group* groups, unsigned one, unsigned other) {
    double sum = 0.0;
    for (unsigned group = 0; group < GROUPS; ++group) sum += groups[group].jacobian[one] * groups[group].jacobian[other];
    return sum;
}

// The mean product of the distances of two contacts of a group, where it is more than zero.
__device__ double common_variance(const Group* groups, double squares) {
    double products = 0.0, pairs = 0.0;
    for (unsigned k = 0; k < GROUPS; ++k) {
        Group group = groups[k];
        products += group.distance * group.distance;
        pairs += group.count * (group.count - 1.0);
    }
    return fmax((products - squares) / fmax(pairs, 1.0), 0.0);
}

// An entry of a symmetric matrix.
__device__ __forceinline__ void set_symmetric(double* matrix, unsigned row, unsigned column, double value) {
    matrix[6 * row + column] = value;
    matrix[6 * column + row] = value;
}

// One warp: the observation from the sums of all blocks, of which each lane takes one or two.
extern "C" __global__ void __launch_bounds__(WARP)
conclude_observation(const Sums* sums, const double* products, unsigned chunks, const Group* groups, const Pose* pose,
                     Observation* observation) {
    const Sums& mean = mean_contact(sums, chunks);
    for (unsigned number = lane_number(); number < PRODUCTS; number += WARP) {
        double sum = total_product(products, chunks, number);
        if (number < 3) observation->centre[number] = mean.point[number];
        if (number == 3) observation->count = mean.count;
        if (number == 4) observation->pose = *pose;
        if (number == SQUARES) {
            observation->squares = sum;
            observation->common_variance = common_variance(groups, sum);
        }
        if (number == SQUARED_ARMS) observation->radius = sqrt(sum / fmax(mean.count, 1.0));
        if (number >= TRIANGLES) continue;
        unsigned row, column;
        place_in_triangle(number % TRIANGLE, row, column);
        if (number < TRIANGLE) {
            set_symmetric(observation->normal_matrix, row, column, sum);
            set_symmetric(observation->common_matrix, row, column, total_common(groups, row, column));
        } else {
            set_symmetric(observation->difference_matrix, row, column, sum);
        }
    }
}
