// Directions as cells on the faces of a cube. See src/stages/viewpoint/.
#pragma once
#include "common.cuh"

constexpr float LEAST_POSITIVE = 1.17549435e-38f;

// Cell of a direction on a cube whose faces have `edge` x `edge` cells: `cube_cell` of the host, for any numbers.
__device__ inline unsigned cube_cell(Point d, float edge) {
    float ax = fabsf(d.x), ay = fabsf(d.y), az = fabsf(d.z);
    float largest = fmaxf(fmaxf(ax, ay), az);
    bool along_x = ax == largest, along_z = az == largest && ax != largest && ay != largest;
    float main = along_x ? d.x : along_z ? d.z : d.y;
    float u = along_x ? d.y : d.x, v = along_z ? d.y : d.z;
    unsigned face = (along_x ? 0u : along_z ? 4u : 2u) + (main < 0.0f ? 1u : 0u);
    float scale = 0.5f * edge / fmaxf(largest, LEAST_POSITIVE);
    // fmaxf turns what is not a number to zero, so the cell always exists.
    unsigned row = static_cast<unsigned>(fminf(fmaxf(u * scale + 0.5f * edge, 0.0f), edge - 1.0f));
    unsigned column = static_cast<unsigned>(fminf(fmaxf(v * scale + 0.5f * edge, 0.0f), edge - 1.0f));
    unsigned cells = static_cast<unsigned>(edge);
    return (face * cells + row) * cells + column;
}
