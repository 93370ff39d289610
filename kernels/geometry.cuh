// Small arithmetic on points and poses: src/geometry.rs, operation by operation, so that both sides round alike.
#pragma once
#include "common.cuh"

__device__ __forceinline__ float dot(Point a, Point b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

__device__ __forceinline__ Point cross(Point a, Point b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

// To unit length; zero stays zero.
__device__ __forceinline__ Point normalised(Point a) {
    float length = sqrtf(dot(a, a));
    return length > 0.0f ? Point{a.x / length, a.y / length, a.z / length} : a;
}

// R d, for directions.
__device__ __forceinline__ Point rotate(const Pose& pose, Point d) {
    const float* r = pose.r;
    return {r[0] * d.x + r[1] * d.y + r[2] * d.z, r[3] * d.x + r[4] * d.y + r[5] * d.z, r[6] * d.x + r[7] * d.y + r[8] * d.z};
}

// R p + t.
__device__ __forceinline__ Point apply(const Pose& pose, Point p) {
    Point turned = rotate(pose, p);
    return {turned.x + pose.t[0], turned.y + pose.t[1], turned.z + pose.t[2]};
}

// The pose back.
__device__ __forceinline__ Pose inverse(const Pose& pose) {
    const float *r = pose.r, *t = pose.t;
    return {{r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]},
            {-(r[0] * t[0] + r[3] * t[1] + r[6] * t[2]), -(r[1] * t[0] + r[4] * t[1] + r[7] * t[2]),
             -(r[2] * t[0] + r[5] * t[1] + r[8] * t[2])}};
}
