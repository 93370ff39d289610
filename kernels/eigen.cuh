// Eigenvalues of a symmetric 3×3 matrix: `least_eigenvector` of src/geometry.rs, where it is explained, operation by
// operation. The results are equal but for the last bits of acos, cos and hypot.
#pragma once
#include "common.cuh"

// xx, xy, xz, yy, yz, zz.
struct Symmetric {
    double xx, xy, xz, yy, yz, zz;
};

struct Vector {
    double x, y, z;
};

__device__ __forceinline__ Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }

__device__ __forceinline__ Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }

__device__ __forceinline__ Vector operator*(Vector a, double factor) { return {a.x * factor, a.y * factor, a.z * factor}; }

__device__ __forceinline__ double dot(Vector a, Vector b) { return (a.x * b.x + a.y * b.y) + a.z * b.z; }

__device__ __forceinline__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

__device__ __forceinline__ Vector normalised(Vector a) {
    double length = sqrt(dot(a, a));
    return {a.x / length, a.y / length, a.z / length};
}

// Eigenvalues in ascending order and a unit eigenvector of the least one.
struct LeastEigenvector {
    // Not where no direction differs from the others to rounding; then the rest is zero.
    bool found;
    double values[3];
    Vector vector;
};

__device__ inline double determinant(const Symmetric& m) {
    return m.xx * (m.yy * m.zz - m.yz * m.yz) - m.xy * (m.xy * m.zz - m.yz * m.xz) + m.xz * (m.xy * m.yz - m.yy * m.xz);
}

__device__ __forceinline__ Vector longer(Vector a, Vector b) { return dot(b, b) > dot(a, a) ? b : a; }

// The unit vector to an eigenvalue that lies apart: the longest cross product of two rows of `M - value`.
__device__ inline Vector eigenvector(const Symmetric& m, double value) {
    Vector x = {m.xx - value, m.xy, m.xz};
    Vector y = {m.xy, m.yy - value, m.yz};
    Vector z = {m.xz, m.yz, m.zz - value};
    return normalised(longer(longer(cross(x, y), cross(x, z)), cross(y, z)));
}

__device__ __forceinline__ Vector product(const Symmetric& m, Vector d) {
    return {m.xx * d.x + m.xy * d.y + m.xz * d.z, m.xy * d.x + m.yy * d.y + m.yz * d.z, m.xz * d.x + m.yz * d.y + m.zz * d.z};
}

// The two eigenvalues, ascending, in the plane across the eigenvector `normal`, and the vector of the lower one.
__device__ inline Vector least_across(const Symmetric& m, Vector normal, double& least, double& middle) {
    Vector across = fabs(normal.x) > fabs(normal.y) ? Vector{-normal.z, 0.0, normal.x} : Vector{0.0, normal.z, -normal.y};
    Vector u = normalised(across);
    Vector v = cross(normal, u);
    Vector of_u = product(m, u), of_v = product(m, v);
    double uu = dot(u, of_u), uv = dot(u, of_v), vv = dot(v, of_v);
    double mean = (uu + vv) / 2.0, half = (uu - vv) / 2.0;
    double apart = hypot(half, uv);
    least = mean - apart;
    middle = mean + apart;
    if (!(apart > 0.0)) return u;
    // Of the two ways to write the vector, the one without cancellation.
    return normalised(half < 0.0 ? u * (apart - half) - v * uv : v * (apart + half) - u * uv);
}

// `geometry::least_eigenvector`.
__device__ inline LeastEigenvector least_eigenvector(const Symmetric& m) {
    constexpr double EPSILON = 2.220446049250313e-16;
    constexpr double THIRD_OF_A_TURN = 6.283185307179586 / 3.0;
    double mean = (m.xx + m.yy + m.zz) / 3.0;
    double a = m.xx - mean, b = m.yy - mean, c = m.zz - mean;
    double off = m.xy * m.xy + m.xz * m.xz + m.yz * m.yz;
    double spread = sqrt((a * a + b * b + c * c + 2.0 * off) / 6.0);
    // The second condition is false for NaN, too.
    if (spread <= EPSILON * fabs(mean) || !(spread < INFINITY)) return {};
    // (M - mean) / spread, whose eigenvalues are 2 cos of an angle and of that angle plus thirds of a turn.
    Symmetric n = {a / spread, m.xy / spread, m.xz / spread, b / spread, m.yz / spread, c / spread};
    double half = fmin(fmax(determinant(n) / 2.0, -1.0), 1.0);
    double angle = acos(half) / 3.0;
    double largest = 2.0 * cos(angle), middle, least;
    Vector vector;
    if (half < 0.0) {
        least = 2.0 * cos(angle + THIRD_OF_A_TURN);
        middle = -least - largest;
        vector = eigenvector(n, least);
    } else {
        vector = least_across(n, eigenvector(n, largest), least, middle);
    }
    return {true, {mean + spread * least, mean + spread * middle, mean + spread * largest}, vector};
}

// `geometry::least_eigenvalue`.
__device__ inline double least_eigenvalue(const Symmetric& m) {
    LeastEigenvector least = least_eigenvector(m);
    return least.found ? least.values[0] : (m.xx + m.yy + m.zz) / 3.0;
}
