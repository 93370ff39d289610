// The hypotheses of matches. See src/stages/pose/.
#include "common.cuh"

// A rotation, row-major.
struct Rotation {
    float r[9];
};

__device__ __forceinline__ float inner_product(const float* a, const float* b) {
    return (a[0] * b[0] + a[1] * b[1]) + a[2] * b[2];
}

// R_t * R_z(angle).
__device__ __forceinline__ Rotation turned(const Rotation& target, float angle) {
    // Rounded from double: so this device and the host have the same bits for nearly every angle.
    float sine = static_cast<float>(sin(static_cast<double>(angle)));
    float cosine = static_cast<float>(cos(static_cast<double>(angle)));
    Rotation result;
#pragma unroll
    for (unsigned row = 0; row < 3; ++row) {
        const float* t = &target.r[3 * row];
        result.r[3 * row] = t[0] * cosine + t[1] * sine;
        result.r[3 * row + 1] = t[1] * cosine - t[0] * sine;
        result.r[3 * row + 2] = t[2];
    }
    return result;
}

// For every match R = R_t * R_z(angle) * R_s^T and t = p_t - R * p_s, and both keypoints. One thread each; what it
// reads and writes bounds it.
extern "C" __global__ void recover_poses(const Point* source_keypoints, const Rotation* source_frames,
                                         const Point* target_keypoints, const Rotation* target_frames,
                                         const uint2* matches, const float* angles, unsigned count, Pose* poses,
                                         Point* source, Point* target) {
    unsigned i = thread_number();
    if (i >= count) return;
    uint2 match = matches[i];
    Rotation from = source_frames[match.x], to = turned(target_frames[match.y], angles[i]);
    Point start = source_keypoints[match.x], end = target_keypoints[match.y];
    const float from_point[3] = {start.x, start.y, start.z}, to_point[3] = {end.x, end.y, end.z};
    Pose pose;
#pragma unroll
    for (unsigned row = 0; row < 3; ++row) {
#pragma unroll
        for (unsigned column = 0; column < 3; ++column)
            pose.r[3 * row + column] = inner_product(&to.r[3 * row], &from.r[3 * column]);
        pose.t[row] = to_point[row] - inner_product(&pose.r[3 * row], from_point);
    }
    poses[i] = pose;
    source[i] = start;
    target[i] = end;
}

// Hypotheses as they are, and which ones of all they will be.
struct Part {
    const Pose* poses;
    const Point *source, *target;
    unsigned count, first;
};

// The hypotheses of up to four parts in their places among those of all; a row of blocks for each part.
extern "C" __global__ void join_hypotheses(Part one, Part two, Part three, Part four, Pose* poses, Point* source, Point* target) {
    Part part = one;
    if (blockIdx.y == 1) part = two;
    if (blockIdx.y == 2) part = three;
    if (blockIdx.y == 3) part = four;
    unsigned i = thread_number();
    if (i >= part.count) return;
    poses[part.first + i] = part.poses[i];
    source[part.first + i] = part.source[i];
    target[part.first + i] = part.target[i];
}
