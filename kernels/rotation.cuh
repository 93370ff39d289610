// The rotation nearest to a 3×3 matrix: src/stages/estimate/rotation.rs, where it is explained, operation by operation.
#pragma once
#include "eigen.cuh"

// As on the host.
constexpr unsigned SWEEPS = 12;
constexpr double RIGHT_ANGLE = 1e-15;
constexpr double LINE = 1e-6;

// Columns `i` and `j` turned about each other.
__device__ __forceinline__ void turn(Vector& i, Vector& j, double cosine, double sine) {
    Vector a = i, b = j;
    i = a * cosine - b * sine;
    j = a * sine + b * cosine;
}

// Whether the cosine `product / sqrt(product_of_squares)` is more than rounding: |product| > RIGHT_ANGLE * the root. The
// squares mostly tell without the root, whose latency counts here.
__device__ __forceinline__ bool is_aslant(double product, double product_of_squares) {
    double square = product * product, limit = RIGHT_ANGLE * RIGHT_ANGLE * product_of_squares;
    if (square > 4.0 * limit) return true;
    if (square < 0.25 * limit) return false;
    // False for what is no number, too.
    return fabs(product) > RIGHT_ANGLE * sqrt(product_of_squares);
}

// Turns columns `i` and `j` of both matrices about each other until those of `image` are perpendicular; whether that took
// a turn.
__device__ inline bool make_perpendicular(Vector (&image)[3], Vector (&turned)[3], unsigned i, unsigned j) {
    double a = dot(image[i], image[i]), b = dot(image[j], image[j]);
    double product = dot(image[i], image[j]);
    if (!is_aslant(product, a * b)) return false;
    double ratio = (b - a) / (2.0 * product);
    double root = fabs(ratio) + sqrt(1.0 + ratio * ratio);
    double size = 1.0 / root, tangent = ratio < 0.0 ? -size : size;
    double cosine = 1.0 / sqrt(1.0 + tangent * tangent);
    double sine = cosine * tangent;
    turn(image[i], image[j], cosine, sine);
    turn(turned[i], turned[j], cosine, sine);
    return true;
}

// The rotation `R` (rows) that maximises `trace(R^T M)`, if there is only one, and whether there is; singular values up to
// `least` are zero. `image` holds the columns of `M`; they are overwritten.
__device__ inline bool nearest_rotation(Vector (&image)[3], double least, Vector (&rows)[3]) {
    Vector turned[3] = {{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}};
    for (unsigned sweep = 0; sweep < SWEEPS; ++sweep) {
        bool any = make_perpendicular(image, turned, 0, 1);
        any |= make_perpendicular(image, turned, 0, 2);
        any |= make_perpendicular(image, turned, 1, 2);
        if (!any) break;
    }
    double squares[3] = {dot(image[0], image[0]), dot(image[1], image[1]), dot(image[2], image[2])};
    unsigned smallest = squares[1] < squares[0] ? 1 : 0;
    if (squares[2] < squares[smallest]) smallest = 2;
    unsigned a = (smallest + 1) % 3, b = (smallest + 2) % 3;
    unsigned first = squares[b] > squares[a] ? b : a, second = first == a ? b : a;
    double largest = sqrt(squares[first]), middle = sqrt(squares[second]);
    // False for what is no number, too.
    bool unique = middle > least && middle > LINE * largest && largest < INFINITY;
    if (!unique) return false;
    Vector u = image[first] * (1.0 / largest), v = image[second] * (1.0 / middle), w = cross(u, v);
    Vector across = cross(turned[first], turned[second]);
    rows[0] = turned[first] * u.x + turned[second] * v.x + across * w.x;
    rows[1] = turned[first] * u.y + turned[second] * v.y + across * w.y;
    rows[2] = turned[first] * u.z + turned[second] * v.z + across * w.z;
    return true;
}
