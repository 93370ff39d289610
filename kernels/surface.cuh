// Queries in the grid of a surface, for kernels of any stage. See src/stages/surface/.
#pragma once
#include "common.cuh"

// No point is near enough.
constexpr unsigned NO_POINT = 0xffffffffu;

// The grid of a surface, as the host has it.
struct Grid {
    Point low;
    float cell;
    unsigned size[3];
};

// `lanes::floor` of the host, also for what it makes of numbers beyond 2^22.
__device__ __forceinline__ unsigned floor_of(float x) {
    constexpr float SHIFT = 8388608.0f;
    float shifted = x + SHIFT;
    return __float_as_uint(shifted) - __float_as_uint(SHIFT) - (shifted - SHIFT > x ? 1u : 0u);
}

// The cell along one axis that a position lies in: the first one for what lies before it, the last one for what lies beyond.
__device__ __forceinline__ unsigned cell_along(float position, float low, float cell, unsigned size) {
    float cells = (position - low) * (1.0f / cell);
    return floor_of(fminf(fmaxf(cells, 0.0f), static_cast<float>(size - 1)));
}

__device__ __forceinline__ unsigned cell_along_x(const Grid& grid, float x) { return cell_along(x, grid.low.x, grid.cell, grid.size[0]); }

__device__ __forceinline__ unsigned cell_along_y(const Grid& grid, float y) { return cell_along(y, grid.low.y, grid.cell, grid.size[1]); }

__device__ __forceinline__ unsigned cell_along_z(const Grid& grid, float z) { return cell_along(z, grid.low.z, grid.cell, grid.size[2]); }

// The first cell of a row along x.
__device__ __forceinline__ unsigned row_of_cells(const Grid& grid, unsigned y, unsigned z) {
    return (z * grid.size[1] + y) * grid.size[0];
}

__device__ __forceinline__ unsigned cell_of(const Grid& grid, Point p) {
    return row_of_cells(grid, cell_along_y(grid, p.y), cell_along_z(grid, p.z)) + cell_along_x(grid, p.x);
}

__device__ __forceinline__ bool lies_outside(float position, float low, float cell, unsigned size, float reach) {
    float from_low = position - low;
    return from_low < -reach || from_low > static_cast<float>(size) * cell + reach;
}

// Calls `visit(first, last)` with every run of points, ascending and not empty, in the cells that the cube of half edge
// `reach` about `p` touches.
template <class Visit>
__device__ __forceinline__ void for_runs(const Grid& grid, const unsigned* cell_start, Point p, float reach, Visit visit) {
    if (lies_outside(p.x, grid.low.x, grid.cell, grid.size[0], reach) || lies_outside(p.y, grid.low.y, grid.cell, grid.size[1], reach) ||
        lies_outside(p.z, grid.low.z, grid.cell, grid.size[2], reach))
        return;
    unsigned x0 = cell_along_x(grid, p.x - reach), x1 = cell_along_x(grid, p.x + reach);
    unsigned y0 = cell_along_y(grid, p.y - reach), y1 = cell_along_y(grid, p.y + reach);
    unsigned z0 = cell_along_z(grid, p.z - reach), z1 = cell_along_z(grid, p.z + reach);
    for (unsigned z = z0; z <= z1; ++z) {
        for (unsigned y = y0; y <= y1; ++y) {
            unsigned row = row_of_cells(grid, y, z);
            unsigned first = cell_start[row + x0], last = cell_start[row + x1 + 1];
            if (first < last) visit(first, last);
        }
    }
}

struct Nearest {
    // Or NO_POINT.
    unsigned index;
    float squared_distance;
};

// `Surface::nearest` of the host, by one thread: the point nearest to `p` within `limit`, which is best no more than a
// cell. Runs come in ascending order, so the lowest index wins a tie.
__device__ inline Nearest nearest_point(const Grid& grid, const unsigned* cell_start, const Point* points, Point p, float limit) {
    Nearest best = {NO_POINT, limit * limit};
    for_runs(grid, cell_start, p, limit, [&](unsigned first, unsigned last) {
        for (unsigned i = first; i < last; ++i) {
            float squared = squared_length(points[i] - p);
            if (squared < best.squared_distance) best = {i, squared};
        }
    });
    return best;
}
